"""The end of a run: its exit code and why, the manifests, and what its folder and the ledger keep of it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from batchproc.columns import Columns, Scalar
from batchproc.config import Config, OutputTable, resolved
from batchproc.config.tables import JobTable
from batchproc.errors import BatchprocError, DiskError, ExitCode, file_errors
from batchproc.explain.words import count
from batchproc.failpoints import failpoint
from batchproc.kinds import kind_of
from batchproc.ledger import FACT_TYPES, ORIGINAL, Ledger, name_columns
from batchproc.pipeline.monitoring import log_end, run_counters
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.types import RunResult
from batchproc.record.run_json import FILE_NAME, Counts, RunRecord, write_text
from batchproc.record.run_parts import DataSetRecord
from batchproc.remembered import BLOCK_ITEMS, Block, Manifest
from batchproc.signals import Counted, doing
from batchproc.sink import (
    Column,
    ImageFolder,
    Layout,
    read_manifest,
    write_atomically,
    write_data_card,
    write_manifest,
)
from batchproc.sink.atomic import replacing
from batchproc.sink.data_card import (
    Contents,
    DataFiles,
    files_of_images,
    is_ours,
    keep_pictures,
    licence_column,
    parquet_shards,
    tar_shards,
)
from batchproc.sink.manifests import Choose, by_column, by_share, file_names, write_splits
from batchproc.sink.shard_samples import packed_name

if TYPE_CHECKING:
    from batchproc.pipeline.run_record import RunState

MOST_LICENCES = 20  # on a data card
MANY = 0.1  # of the list: fewer that failed once more, or were left for the next run, are no news
STOPPED = {"duration": "stopped by max_duration", "limit": "stopped by --limit"}


class Ending(Struct, frozen=True, kw_only=True):
    """What the shell sees, and the reason; that is empty when all went well."""

    exit_code: ExitCode
    reason: str = ""


def find_stop(observer: Observer, work: int, pending: int, stopped_by: str | None) -> str | None:
    """What ended a run before the last item of its `work`. What came after that one has stopped nothing."""
    cut_short = sum(number for code, number in observer.failures.items() if not kind_of(code).is_charged)
    if observer.processed - cut_short < work:
        return stopped_by
    return "limit" if pending and work else None


def judge(
    job: JobTable,
    counts: Counts,
    observer: Observer,
    *,
    error: BatchprocError | None,
    signalled: ExitCode | None,
    stopped_by: str | None,
    missing_files: int = 0,
    given_up: Sequence[str] = (),
) -> Ending:
    """How a run ends, as the ledger stands: by an error, a signal, or in its time. `given_up`: parts in quarantine."""
    left = f"{count(counts.pending, 'item')} left"
    if error is not None:
        return Ending(exit_code=error.exit_code, reason=str(error))
    if signalled is not None and stopped_by in ("signal", "duration"):
        word = "interrupted" if signalled is ExitCode.INTERRUPTED else "terminated"
        return Ending(exit_code=signalled, reason=f"{word}, {left}")
    crossed = [*limits_crossed(job, counts)]
    if given_up:
        crossed.append(f"{len(given_up)} parts are in quarantine; --retry-failed tries them again: {given_up[0]}")
    if crossed:
        return Ending(exit_code=ExitCode.TOO_MANY_FAILED, reason=" and ".join(crossed))
    if job.exit_on_limit and counts.pending:
        return Ending(exit_code=ExitCode.LIMIT, reason=f"{STOPPED.get(stopped_by or '', 'stopped')}, {left}")
    return Ending(exit_code=ExitCode.DONE, reason=_news(counts, observer, missing_files))


def limits_crossed(job: JobTable, counts: Counts) -> Iterator[str]:
    """Which limits of the config are crossed, in words."""
    failed, items = counts.failed + counts.quarantined, counts.items
    away = counts.deferred > job.max_deferred_ratio * items
    too = "" if away else _deferred(counts)
    if failed > job.max_failed_ratio * items:
        yield f"{failed:,} of {count(items, 'item')} failed, over max_failed_ratio = {job.max_failed_ratio:g}{too}"
    elif job.max_failed and failed > job.max_failed:
        yield f"{count(failed, 'item')} failed, over max_failed = {job.max_failed}{too}"
    if away:
        limit = f"max_deferred_ratio = {job.max_deferred_ratio:g}"
        yield f"{counts.deferred:,} of {count(items, 'item')} deferred, over {limit}"


def _news(counts: Counts, observer: Observer, missing_files: int) -> str:
    """What is worth a line though no limit was crossed: files are gone, nothing came through, or much was left."""
    if missing_files:
        return f"{count(missing_files, 'file')} of done items missing; --repair makes them again"
    processed = observer.processed
    if processed > MANY * counts.items and observer.failures.total() >= processed:
        return f"none of {count(processed, 'item')} came through{_deferred(counts)}"
    if counts.deferred > MANY * counts.items:
        return f"{counts.deferred:,} of {count(counts.items, 'item')} deferred"
    return ""


def _deferred(counts: Counts) -> str:
    return f", {counts.deferred:,} deferred" if counts.deferred else ""


def write_manifests(
    ledger: Ledger,
    layout: Layout,
    output: OutputTable,
    *,
    originals: bool = False,
    settings: str = "",
    gallery: Path | None = None,
    with_card: bool = True,
) -> str:
    """Writes both manifests, where an item or one of the files has changed since they were written.

    `originals`: the job keeps them, and its rows name them; `settings`: what the images are made with, for the data
    card; `gallery`: the small pictures that this run made. Without a card the rows are all that is written. Returns
    what the user is to be told of it, or nothing. Raises `DiskError`.
    """
    snapshot = _snapshot(layout, output, originals=originals)
    if snapshot and ledger.manifests_are_current(snapshot):
        return ""
    learned = ledger.columns()
    folder = ImageFolder(layout.output)
    file_name = folder.file_name if output.layout == "files" else packed_name
    original = folder.original_name if originals else None
    metadata = _write(layout.metadata_path, ledger.metadata(file_name, learned, output.caption, original))
    failures = _write(layout.failures_path, ledger.failures())
    advice = ""
    if with_card:
        counted = ledger.data_set()
        contents = replace(
            _contents(ledger, counted, learned),
            settings=settings,
            pictures=_pictures(ledger, layout, gallery) if gallery else (),
        )
        rows = partial(ledger.metadata_rows, file_name, output.caption, original)
        advice = write_beside(layout, output, learned, contents, rows=rows, originals=originals)
        ledger.keep_data_set(counted)
    failpoint("ledger.before_manifests_noted")
    ledger.note_manifests({"metadata": metadata, "failures": failures}, _snapshot(layout, output, originals=originals))
    failpoint("ledger.after_manifests_noted")
    return advice


def write_beside(
    layout: Layout,
    output: OutputTable,
    learned: Columns,
    contents: Contents,
    *,
    rows: Callable[[], Iterable[Mapping[str, object]]] | None = None,
    originals: bool = False,
) -> str:
    """Writes what is made of the rows besides: splits, tables, and the data card.

    `rows`: those of metadata.jsonl, which is read where they are not given. Returns what the user is to be told, or
    nothing. Raises `DiskError`.
    """
    read = rows or (lambda: (row for row in read_manifest(layout.metadata_path) if row is not None))
    columns = row_columns(learned, output.caption, originals=originals)
    splits: list[str] = []
    if output.splits:
        choose, shares = _choose_split(output.splits, columns)
        splits = write_splits(layout.output, choose, read(), shares)
    if output.metadata_parquet:
        _write_table(layout.metadata_table_path, columns, read())
        for split, name in file_names(splits, ".parquet").items():
            _write_table(layout.output / name, columns, (row for row in read() if choose(row) == split))
    card = layout.data_card_path
    files = _data_files(layout, output, splits)
    is_described = write_data_card(card, columns, files, contents)
    advice = f"name {' and '.join(files.patterns)} as data_files in its YAML head, or loaders may take other files"
    return "" if is_described else f"{card} is your own and stays: {advice}"


def row_columns(learned: Columns, caption: str, *, originals: bool = False) -> list[Column]:
    """The columns of the rows: our facts, then those of the list."""
    facts = [Column(name=name, type=known) for name, known in FACT_TYPES.items()]
    facts += [Column(name=ORIGINAL, type=Scalar.TEXT)] if originals else []
    names = name_columns(learned.types, caption, originals=originals)
    return facts + [Column(name=names[own], type=known, own=own) for own, known in learned.types.items()]


def _choose_split(splits: Mapping[str, float] | str, columns: Iterable[Column]) -> tuple[Choose, Iterable[str]]:
    """How rows are split, and the splits that there are at any rate."""
    if isinstance(splits, str):
        return by_column(next((column.name for column in columns if column.own == splits), splits)), ()
    return by_share(splits), splits


def _write_table(path: Path, columns: list[Column], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes the rows as a Parquet file. Raises `DiskError`."""
    from batchproc.sink.parquet import write_rows

    counted = Counted(rows)
    written = doing(lambda: f"writing {path.name}, {count(counted.number, 'row')} so far")
    with file_errors(path), written, replacing(path) as file:
        write_rows(file, columns, counted)


def _contents(ledger: Ledger, counted: DataSetRecord, learned: Columns) -> Contents:
    """What the data card says of the images."""
    column = licence_column(learned.types)
    return Contents(
        images=counted.images,
        size_bytes=counted.size_bytes,
        shards=counted.shards.count if counted.shards else 0,
        left=ledger.left_by_code(),
        licences=ledger.frequent_values(column, MOST_LICENCES) if column else (),
        licence_column=column,
        hosts=[(one.host, one.images) for one in counted.hosts],
        hosts_total=counted.hosts_total,
        sides=[(one.name, one.images) for one in counted.sides],
    )


def _pictures(ledger: Ledger, layout: Layout, gallery: Path) -> list[str]:
    """Where the data card's pictures are; none where the card is the user's own."""
    if not is_ours(layout.data_card_path):
        return []
    return keep_pictures(layout.output, gallery, ledger.keys_with_images)


def card_settings(config: Config) -> str:
    """What decides how an image looks, as TOML: the steps in their order, and how the result is written."""
    tables = resolved(config)
    output = {key: tables["output"][key] for key in ("format", "quality", "background")}
    parts = [("[output]", output), *(("[[transform.steps]]", step) for step in tables["transform"]["steps"])]
    lines = (
        f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items() if value is not None)
        for head, table in parts
    )
    return "\n".join(lines)


def _data_files(layout: Layout, output: OutputTable, splits: Iterable[str]) -> DataFiles:
    """What loaders are to read."""
    if output.layout == "files":
        suffix = ".parquet" if output.metadata_parquet else ".jsonl"
        return files_of_images(layout.metadata_path, file_names(splits, suffix))
    if output.layout == "parquet":
        return parquet_shards()
    field = {"jpeg": "jpg", "keep": ""}.get(output.format, output.format)
    return tar_shards(field, has_caption=bool(output.caption))


def _write(path: Path, manifest: Manifest) -> list[Block]:
    parts = Counted(manifest.parts)
    with doing(lambda: f"writing {path.name}, {count(parts.number * BLOCK_ITEMS, 'item')} so far"):
        return write_manifest(path, replace(manifest, parts=iter(parts))).blocks


def _snapshot(layout: Layout, output: OutputTable, *, originals: bool) -> str:
    """What changes whenever somebody writes to a manifest, or puts another file in its place."""
    looks: list[object] = [output.layout, output.caption, output.splits, *([ORIGINAL] if originals else [])]
    tables = [layout.metadata_table_path] if output.metadata_parquet else []
    suffixes = (".jsonl", ".parquet") if output.metadata_parquet else (".jsonl",)
    splits = ["*"] if isinstance(output.splits, str) else output.splits  # by a column: whichever there are
    names = (name for end in suffixes for name in file_names(splits, end).values())
    tables += [path for name in names for path in (sorted(layout.output.glob(name)) or [layout.output / name])]
    for path in (layout.metadata_path, layout.failures_path, *tables):
        try:
            status = path.stat(follow_symlinks=False)
        except OSError:
            return ""
        looks.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return str(looks)


def write_down(run: "RunState", ledger: Ledger, result: RunResult) -> None:
    """Writes what is to be known of the run: run.json, the spans, the log's end, the ledger's row.

    Raises the run's own error, or `DiskError`, when it cannot.
    """
    try:
        with doing("writing run.json"):
            _write_record(result.folder, result.record, run.observer)
            run.layout.point_latest(result.folder)
        with doing("removing old runs"):
            run.layout.prune_runs(run.config.job.keep_runs)
    except OSError as error:
        told = DiskError(f"{error.filename or result.folder}: cannot be written: {error.strerror}")
        raise result.error or told from error
    with doing("ending the run"):
        log_end(run.log, result.record, result.error)
        counters = run_counters(result.record)
        ledger.end_run(ended=datetime.now(UTC), exit_code=result.exit_code, counters=counters)


def _write_record(folder: Path, record: RunRecord, observer: Observer) -> None:
    """Writes spans.jsonl, then run.json: who finds the latter finds all. Raises OSError."""
    write_atomically(folder / "spans.jsonl", observer.sample.items())
    write_atomically(folder / FILE_NAME, [write_text(record)])
