"""`batchproc rebuild`: a ledger made anew from the list, the manifests and the files, after the old one was damaged.

Which plan made the images is not in metadata.jsonl, and two plans must not mix unnoticed. The rule: a run that ends
without exit code 5 has written both manifests before its run.json, and whatever another plan made is no longer `done`
by then. So the last run.json with another exit code tells the plan of every row, if neither manifest was written after
it. It has to be of this version of the program, and without steps of the user's own, whose version at that time
is not known. In all other cases the user has to say it (`--same-plan`), or nothing is touched. The plan that was found
goes into the ledger as it was: when the config has changed since, the next run asks for `--accept-config-change`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from batchproc.config import STDIN, Config
from batchproc.errors import ExitCode, Problem, UsageError
from batchproc.explain.words import count
from batchproc.ledger import Ledger, Restored, RestoreRules, ShardTable, is_whole, put_in_place, replacement
from batchproc.lock import RunLock
from batchproc.pipeline.import_list import JobList, bring_in
from batchproc.pipeline.monitoring import run_counters
from batchproc.pipeline.opening import make_transform
from batchproc.record.run_json import FILE_NAME, Counts, RunRecord, read_run
from batchproc.sink import ImageFolder, Layout, read_manifest
from batchproc.sources.url import is_same_url
from batchproc.transform.plan import Transform, build_steps, fingerprint, plan_settings, recipe_of
from batchproc.transform.steps.step import Step
from batchproc.version import VERSION

ANY_ORIGIN = "http://origin.invalid/"  # the next run, which knows the embedded origin's port, joins the URLs again


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What a rebuild came to."""

    ledger_path: Path
    restored: Restored
    counts: Counts
    runs: int  # runs whose run.json told of them
    aside: Path | None  # where the damaged ledger is now
    is_other_plan: bool  # the images were made by another plan than the config's


def rebuild_ledger(
    config: Config, steps: tuple[Step, ...], *, same_plan: bool, notify: Callable[[str], None] = lambda _: None
) -> Rebuilt:
    """Makes the job's ledger anew; killed at any instant, the same again completes it. Fetches nothing.

    `same_plan`: the user's word that the config as it is made the images, heard only where no run.json tells. Raises
    `UsageError` before anything is touched: no list, nothing to rebuild from, a ledger that is whole, an unknown plan;
    `LockHeldError` and `DiskError`.
    """
    layout = Layout(output=config.paths.output)
    _check(config, layout)
    layout.prepare()
    with RunLock(layout.lock_path, notify=notify) as lock, lock.forgetting():
        _refuse_whole(layout)
        transform = make_transform(config, steps)
        former = _find_former(layout, transform)
        if former is None and layout.metadata_path.exists() and not same_plan:
            raise _unknown_plan(layout)
        notify(f"reading {layout.metadata_path} and every file it names ...")
        with replacement(layout.ledger_path) as path:
            rebuilt = _fill(config, layout, path, former or transform)
        aside = put_in_place(layout.ledger_path)
    is_other = former is not None and fingerprint(former) != fingerprint(transform)
    return replace(rebuilt, aside=aside, is_other_plan=is_other)


def _check(config: Config, layout: Layout) -> None:
    if STDIN in config.paths.inputs:
        message = "the list has to be read again: put it into a file, and say --set job.input=FILE for this once."
        raise UsageError([Problem(where="[job] input", message=message)])
    JobList.of(config, config.job.base_url).check()
    if not layout.metadata_path.exists() and not layout.ledger_path.exists():
        raise UsageError(f"{layout.output}: there is neither a ledger nor a metadata.jsonl: nothing to rebuild from.")


def _refuse_whole(layout: Layout) -> None:
    if is_whole(layout.ledger_path):
        raise UsageError(
            f"{layout.ledger_path}: the ledger is whole, and knows more than a rebuilt one would; nothing was done. "
            f"Remove {layout.ledger_path.name}.rebuilding if that is there."
        )


def _unknown_plan(layout: Layout) -> UsageError:
    return UsageError(
        f"{layout.output}: no run.json proves which plan (steps, sizes, format) made these images, so they could mix "
        "with others. If the config as it is now made them, say --same-plan; if not, move batchproc.db away, and "
        "`batchproc run --fresh` makes every image again."
    )


def _fill(config: Config, layout: Layout, path: Path, transform: Transform) -> Rebuilt:
    """Makes the new ledger at `path` from the list, the manifests, the files and the runs' folders."""
    power = config.output.durability == "power"
    images = ImageFolder(layout.output, power=power)
    base_url = ANY_ORIGIN if config.origin else config.job.base_url
    with Ledger.open(path, images=images, reserve_path=layout.reserve_path, power=power) as ledger:
        ledger.adopt_plan(fingerprint(transform), plan_settings(transform), recipe=recipe_of(transform))
        bring_in(config, ledger, JobList.of(config, base_url), is_for_now=config.origin is not None)
        rule = RestoreRules(
            keyed_by_id=bool(config.job.id_column),
            same_url=is_same_url,
            has_urls=config.origin is None,
            caption=config.output.caption,
            originals=config.download.keep_originals,
        )
        if layout.shard_manifest_path.exists():
            _unpack(config, layout, path, images)
        restored = ledger.restore(read_manifest(layout.metadata_path), read_manifest(layout.failures_path), rule)
        runs = list(_runs(layout))
        for folder, record in runs:
            _restore_run(ledger, folder.name, record)
        return Rebuilt(
            ledger_path=layout.ledger_path,
            restored=restored,
            counts=ledger.counts(),
            runs=len(runs),
            aside=None,
            is_other_plan=False,
        )


def _unpack(config: Config, layout: Layout, ledger_path: Path, images: ImageFolder) -> None:
    """Images in shards get files of their own; the next run packs them again, and deletes what is left of the old."""
    from batchproc.pipeline.shard_maker import unpack_without_ledger

    names = unpack_without_ledger(config, layout, images)
    with ShardTable.open(ledger_path) as table:
        for name in names:
            table.begin(name, 0, 0)


def _restore_run(ledger: Ledger, name: str, record: RunRecord) -> None:
    ledger.restore_run(
        name,
        started=datetime.fromisoformat(record.started),
        ended=datetime.fromisoformat(record.ended),
        exit_code=record.exit_code,
        counters=run_counters(record),
    )


def _runs(layout: Layout) -> Iterator[tuple[Path, RunRecord]]:
    """The runs that ended and can be read, oldest first; the last is that of `latest`, whatever clock named it."""
    latest = layout.latest_path.resolve()
    for folder in sorted(layout.run_folders(), key=lambda one: one.resolve() == latest):
        record = _read(folder)
        if record is not None:
            yield folder, record


def _read(folder: Path) -> RunRecord | None:
    """The record of this folder's run; None where it is missing or not as we write it."""
    try:
        record = read_run(folder)
        moments = [datetime.fromisoformat(text) for text in (record.started, record.ended)]
    except (UsageError, ValueError):
        return None
    return record if all(moments) and record.exit_code >= 0 else None


def _find_former(layout: Layout, present: Transform) -> Transform | None:
    """The plan that made what the manifests name, or None where nothing proves it. See the module's rule."""
    manifests = [path for path in (layout.metadata_path, layout.failures_path) if path.exists()]
    for folder, record in reversed(list(_runs(layout))):
        if record.exit_code == ExitCode.DISK:
            continue
        written = (folder / FILE_NAME).stat().st_mtime_ns
        is_last = all(path.stat().st_mtime_ns <= written for path in manifests)
        return _plan_of(record, present) if is_last else None
    return None


def _plan_of(record: RunRecord, present: Transform) -> Transform | None:
    """The transform stage of a run, as far as it decides pixels, from the config in its record."""
    try:
        table, output = record.config["transform"], record.config["output"]
        tables: Sequence[Mapping[str, Any]] = table["steps"]
        if record.version != VERSION or any(":" in str(step["op"]) for step in tables):
            return None
        return replace(
            present,
            steps=build_steps(tables),
            quality=table["quality"],
            formats=tuple(table["formats"]),
            max_pixels=table["max_pixels"],
            output_format=output["format"],
            output_quality=output["quality"],
            background=output["background"],
        )
    except (LookupError, TypeError, UsageError):
        return None


def describe_rebuilt(rebuilt: Rebuilt) -> Iterator[str]:
    """What did not come back as it was, and why: a line each."""
    restored = rebuilt.restored
    lost = {
        "missing": restored.missing, "of another size or hash": restored.changed,
        "that cannot be read": restored.unreadable_files,
    }  # fmt: skip
    if any(lost.values()):
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.items() if number)
        yield f"files that metadata.jsonl names: {reasons}; those of the list are pending again"
    if restored.unreadable_rows:
        yield f"{count(restored.unreadable_rows, 'row')} of the manifests cannot be read, or came twice: not believed"
    if restored.undecided:
        codes = ", ".join(f"{code} {number:,}" for code, number in restored.undecided.items())
        yield f"failed, but perhaps not for good, so pending again: {codes}"
    if restored.contradicted:
        yield f"{count(restored.contradicted, 'item')} failed for good and with a file all the same: pending again"
    if restored.unvouched:
        files = count(restored.unvouched, "file")
        yield f"{files} that no row vouches for: made again, or absent where the list does not know them"
    if restored.reordered:
        yield "the manifests are in another order than the list: the new ledger keeps theirs"
    if rebuilt.is_other_plan:
        yield "the images were made by another plan than this config's: a run will ask for --accept-config-change"


def summarise_rebuilt(rebuilt: Rebuilt, next_command: str) -> str:
    """The one line at the end."""
    counts, restored = rebuilt.counts, rebuilt.restored
    absent = f", {counts.absent:,} absent" if counts.absent else ""
    kept = f"; the damaged one is kept as {rebuilt.aside.name}" if rebuilt.aside else ""
    return (
        f"rebuilt {rebuilt.ledger_path}: {count(counts.items, 'item')}, {counts.done:,} done, {restored.early:,} that "
        f"left early, {counts.pending:,} pending{absent}, {count(rebuilt.runs, 'run')}{kept}; next: {next_command}"
    )
