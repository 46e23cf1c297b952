"""The end of a run: the manifests name what is in the ledger, and the run's folder and the ledger what became of it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from batchproc.columns import Columns
from batchproc.config import OutputTable
from batchproc.errors import DiskError
from batchproc.explain.words import count
from batchproc.failpoints import failpoint
from batchproc.ledger import FACT_TYPES, Ledger, name_columns
from batchproc.pipeline.facts import write_record
from batchproc.pipeline.journal import log_end, run_counters
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.terms import RunResult
from batchproc.remembered import BLOCK_ITEMS, Block, Manifest
from batchproc.runlog import RunLog
from batchproc.signals import Counted, doing
from batchproc.sink import Column, ImageFolder, Layout, write_data_card, write_manifest
from batchproc.sink.data_card import DataFiles, files_of_images, parquet_shards, tar_shards
from batchproc.sink.samples import packed_name


def write_manifests(ledger: Ledger, layout: Layout, output: OutputTable) -> str:
    """Writes both manifests, where an item or one of the files has changed since they were written.

    Returns what the user is to be told of it, or nothing. Raises `DiskError`.
    """
    look = _look(layout)
    if look and ledger.manifests_are_current(look):
        return ""
    learned = ledger.columns()
    file_name = ImageFolder(layout.output).file_name if output.layout == "files" else packed_name
    metadata = _write(layout.metadata_path, ledger.metadata(file_name, learned, output.caption))
    failures = _write(layout.failures_path, ledger.failures())
    card = layout.data_card_path
    is_described = write_data_card(card, row_columns(learned, output.caption), _data_files(layout, output))
    failpoint("ledger.before_manifests_noted")
    ledger.note_manifests({"metadata": metadata, "failures": failures}, _look(layout))
    failpoint("ledger.after_manifests_noted")
    names = " and ".join(_data_files(layout, output).patterns)
    advice = f"name {names} as data_files in its YAML head, or loaders may take other files"
    return "" if is_described else f"{card} is your own and stays: {advice}"


def row_columns(learned: Columns, caption: str) -> list[Column]:
    """The columns of the rows: our facts, then those of the list."""
    facts = [Column(name=name, type=known) for name, known in FACT_TYPES.items()]
    names = name_columns(learned.types, caption)
    return facts + [Column(name=names[own], type=known, own=own) for own, known in learned.types.items()]


def _data_files(layout: Layout, output: OutputTable) -> DataFiles:
    """What loaders are to read."""
    if output.layout == "files":
        return files_of_images(layout.metadata_path)
    if output.layout == "parquet":
        return parquet_shards()
    field = {"jpeg": "jpg", "keep": ""}.get(output.format, output.format)
    return tar_shards(field, has_caption=bool(output.caption))


def _write(path: Path, manifest: Manifest) -> list[Block]:
    parts = Counted(manifest.parts)
    with doing(lambda: f"writing {path.name}, {count(parts.number * BLOCK_ITEMS, 'item')} so far"):
        return write_manifest(path, replace(manifest, parts=iter(parts))).blocks


def _look(layout: Layout) -> str:
    """What changes whenever somebody writes to a manifest, or puts another file in its place."""
    looks = []
    for path in (layout.metadata_path, layout.failures_path):
        try:
            status = path.stat(follow_symlinks=False)
        except OSError:
            return ""
        looks.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return str(looks)


def write_down(
    result: RunResult, *, ledger: Ledger, layout: Layout, log: RunLog, observer: Observer, keep_runs: int
) -> None:
    """Writes what is to be known of the run: run.json, the spans, the log's end, the ledger's row.

    Raises the run's own error, or `DiskError`, when it cannot.
    """
    try:
        with doing("writing run.json"):
            write_record(result.folder, result.record, observer)
            layout.point_latest(result.folder)
        with doing("removing old runs"):
            layout.prune_runs(keep_runs)
    except OSError as error:
        told = DiskError(f"{error.filename or result.folder}: cannot be written: {error.strerror}")
        raise result.error or told from error
    with doing("ending the run"):
        log_end(log, result.record, result.error)
        counters = run_counters(result.record)
        ledger.end_run(ended=datetime.now(UTC), exit_code=result.exit_code, counters=counters)
