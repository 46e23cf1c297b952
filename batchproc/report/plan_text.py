"""What `batchproc check` and `batchproc steps` print: the plan that a config resolves to, and the steps there are."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import asdict

from batchproc.config import Config, DownloadTable, resolved, unwise
from batchproc.errors import UsageError
from batchproc.explain.words import count, seconds, size
from batchproc.ledger import LedgerView
from batchproc.measure.hardware import usable_cores
from batchproc.redact import printable
from batchproc.sink import ImageFolder, Layout
from batchproc.sources import find_sources
from batchproc.sources.finding import may_mean_images
from batchproc.transform.steps.step import BuiltIn, keys_of


class JobPlan(Struct, frozen=True, kw_only=True):
    """What a run of a config would do. `images`: of this machine, which are the sources themselves; 0 with lists."""

    config: Config
    cores: int
    workers: Mapping[str, int]
    images: int
    unwise: Sequence[str]
    missing_files: int

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it; secrets are hidden."""
        return asdict(self) | {"config": resolved(self.config)}


def resolve_plan(config: Config) -> JobPlan:
    """The plan. Raises as `LedgerView.open_view` does."""
    cores = usable_cores()
    return JobPlan(
        config=config,
        cores=cores,
        workers={
            "download": config.download.worker_count(config.download.first_mode, cores),
            "transform": 1 if config.transform.mode == "serial" else config.transform.worker_count(cores),
        },
        images=_count_images(config),
        unwise=unwise(config, cores),
        missing_files=missing_files(config),
    )


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


def describe_plan(plan: JobPlan) -> str:
    """The plan for people."""
    config = plan.config
    job, download, transform, output = config.job, config.download, config.transform, config.output
    shown = resolved(config)  # without secrets, and with whole paths
    inputs, folder = ", ".join(shown["job"]["input"]), shown["job"]["output"]
    steps = [_step(step) for step in shown["transform"]["steps"]] or ["none: decode and encode again"]
    lines = [
        f"job         {job.name}: {inputs} -> {folder}",
        f"list        {_list_words(plan, shown['job']['root'])}",
        f"download    {_mode(download.mode)}, {_adaptive(download)}{plan.workers['download']} workers, "
        f"at most {download.per_host} per host, {size(download.max_bytes)} per image, "
        f"{seconds(download.total_timeout)} per request, {download.retries} retries",
        f"transform   {_mode(transform.mode)}, {plan.workers['transform']} workers on {plan.cores} cores, "
        f"{transform.max_pixels:,} pixels at most, quality {transform.quality}",
        *(f"  steps[{number}]  {text}" for number, text in enumerate(steps)),
        f"output      {output.format}, quality {output.quality}, durability {output.durability}",
    ]
    if output.layout != "files":
        lines.append(
            f"shards      {output.layout}, {output.shard_items:,} items each; until theirs is complete, images "
            f"wait in {folder}/images, at most {size(output.spool)}"
        )
    if download.keep_originals:
        lines.append(
            f"originals   kept in {folder}/originals, each once: as much room again as is downloaded, at most "
            f"{size(download.max_bytes)} per image"
        )
    lines.append(f"exit 3      above {job.max_failed_ratio:.0%} failed items")
    lines += [f"unwise      {sentence}" for sentence in plan.unwise]
    if plan.missing_files:
        lines.append(f"missing     {count(plan.missing_files, 'file')} of done items; run --repair makes them again")
    return "\n".join(lines)


def _list_words(plan: JobPlan, root: str) -> str:
    """How the list is read."""
    job = plan.config.job
    if plan.images:
        return f"none, but {count(plan.images, 'image')} of this machine, each known by its path from {root}"
    identity = f'known by "{job.id_column}"' if job.id_column else "known by their URL"
    cut = f'cells cut at "{printable(job.delimiter)}"' if job.delimiter else "cut by its name's ending"
    files = f", files below {job.local_root}" if job.allow_local else ""
    return f"{cut}, quoting {job.quoting}, items {identity}, duplicates {job.duplicates}{files}"


def _mode(mode: str) -> str:
    return "auto: measured and chosen in the run" if mode == "auto" else mode


def _adaptive(download: DownloadTable) -> str:
    adapts = download.workers == "auto" and download.mode != "serial"
    return "as the network answers, up to " if adapts else ""


def describe_step(step: type[BuiltIn]) -> str:
    """One step for people: what it does, its keys, an example."""
    lines = [f"{step.op}: {step.summary()}"]
    for key in keys_of(step):
        default = "required" if key.required else f"default {key.default_toml}" if key.default_toml else "optional"
        lines.append(f"    {key.name}  ({key.kind.allowed}; {default})  {key.help}")
    gil = "holds" if step.work.holds_gil else "releases"
    lines.append(f"    {gil} the GIL; costs {step.work.cost_words} per pixel")
    return "\n".join([*lines, *(f"      {line}" for line in step.example_toml().splitlines())])


def _step(step: Mapping[str, object]) -> str:
    return " ".join([str(step["op"]), *(f"{name}={value}" for name, value in step.items() if name != "op")])
