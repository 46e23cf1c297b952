"""What `batchproc check` and `batchproc steps` print: the plan that a config resolves to, and the steps there are."""

from collections.abc import Iterator
from typing import Any

from batchproc.config import Config, resolved, unwise
from batchproc.errors import UsageError
from batchproc.explain.words import count, seconds, size
from batchproc.ledger import LedgerView
from batchproc.measure.hardware import usable_cores
from batchproc.redact import printable
from batchproc.sink import ImageFolder, Layout
from batchproc.sources import find_sources
from batchproc.sources.finding import may_mean_images
from batchproc.transform.steps.table import StepDescription


def plan_facts(config: Config) -> dict[str, Any]:
    """The resolved plan as JSON-safe values."""
    cores = usable_cores()
    return {
        "config": resolved(config),
        "cores": cores,
        "workers": {
            "download": config.download.worker_count(config.download.first_mode, cores),
            "transform": 1 if config.transform.mode == "serial" else config.transform.worker_count(cores),
        },
        "images": _count_images(config),
        "unwise": unwise(config, cores),
    }


def _count_images(config: Config) -> int:
    """How many images of this machine are the sources themselves; 0 with lists, and with what a run would refuse."""
    if not any(map(may_mean_images, config.paths.inputs)):
        return 0
    try:
        return len(find_sources(config.paths.inputs).images)
    except UsageError:
        return 0


def missing_files(config: Config) -> int:
    """How many images of the job, if it ran before, have no file any more. Raises as `LedgerView.open_view` does."""
    layout = Layout(output=config.paths.output)
    if not layout.ledger_path.exists():
        return 0
    with LedgerView.open_view(layout.ledger_path) as ledger:
        return ledger.count_missing(ImageFolder(layout.output))


def describe_plan(facts: dict[str, Any]) -> str:
    """The plan for people."""
    config, workers = facts["config"], facts["workers"]
    job, download, transform, output = (config[name] for name in ("job", "download", "transform", "output"))
    steps = [" ".join(_step(step)) for step in transform["steps"]] or ["none: decode and encode again"]
    lines = [
        f"job         {job['name']}: {', '.join(job['input'])} -> {job['output']}",
        f"list        {_list_words(job, facts['images'])}",
        f"download    {_mode(download)}, {_adaptive(download)}{workers['download']} workers, "
        f"at most {download['per_host']} per host, {size(download['max_bytes'])} per image, "
        f"{seconds(download['total_timeout'])} per request, {download['retries']} retries",
        f"transform   {_mode(transform)}, {workers['transform']} workers on {facts['cores']} cores, "
        f"{transform['max_pixels']:,} pixels at most, quality {transform['quality']}",
        *(f"  steps[{number}]  {text}" for number, text in enumerate(steps)),
        f"output      {output['format']}, quality {output['quality']}, durability {output['durability']}",
        *_shard_words(job, output),
        *_original_words(job, download),
        f"exit 3      above {job['max_failed_ratio']:.0%} failed items",
        *(f"unwise      {sentence}" for sentence in facts["unwise"]),
    ]
    if missing := facts["missing_files"]:
        lines.append(f"missing     {count(missing, 'file')} of done items; run --repair makes them again")
    return "\n".join(lines)


def _original_words(job: dict[str, Any], download: dict[str, Any]) -> Iterator[str]:
    """What keeping the originals takes of the disk."""
    if download["keep_originals"]:
        yield (
            f"originals   kept in {job['output']}/originals, each once: as much room again as is downloaded, at most "
            f"{size(download['max_bytes'])} per image"
        )


def _shard_words(job: dict[str, Any], output: dict[str, Any]) -> Iterator[str]:
    """How images become shards, and what waits for that."""
    if output["layout"] != "files":
        yield (
            f"shards      {output['layout']}, {output['shard_items']:,} items each; until theirs is complete, images "
            f"wait in {job['output']}/images, at most {size(output['spool'])}"
        )


def _list_words(job: dict[str, Any], images: int) -> str:
    """How the list is read."""
    if images:
        return f"none, but {count(images, 'image')} of this machine, each known by its path from {job['root']}"
    identity = f'known by "{job["id_column"]}"' if job["id_column"] else "known by their URL"
    cut = f'cells cut at "{printable(job["delimiter"])}"' if job["delimiter"] else "cut by its name's ending"
    files = f", files below {job['local_root']}" if job["allow_local"] else ""
    return f"{cut}, quoting {job['quoting']}, items {identity}, duplicates {job['duplicates']}{files}"


def _mode(stage: dict[str, Any]) -> str:
    return "auto: measured and chosen in the run" if stage["mode"] == "auto" else str(stage["mode"])


def _adaptive(download: dict[str, Any]) -> str:
    adapts = download["workers"] == "auto" and download["mode"] != "serial"
    return "as the network answers, up to " if adapts else ""


def describe_step(step: StepDescription) -> str:
    """One step for people: what it does, its keys, an example."""
    lines = [f"{step.name}: {step.summary}"]
    for key in step.keys:
        default = "required" if key.required else f"default {key.default}" if key.default else "optional"
        lines.append(f"    {key.name}  ({key.allowed}; {default})  {key.help}")
    lines.append(f"    {'holds' if step.holds_gil else 'releases'} the GIL; costs {step.cost} per pixel")
    return "\n".join([*lines, *(f"      {line}" for line in step.example.splitlines())])


def _step(step: dict[str, Any]) -> list[str]:
    return [str(step["op"]), *(f"{name}={value}" for name, value in step.items() if name != "op")]
