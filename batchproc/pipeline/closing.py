"""The end of a run: the manifests name what is in the ledger, and the run's folder and the ledger what became of it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from batchproc.errors import DiskError
from batchproc.explain.words import count
from batchproc.ledger import FACT_TYPES, Ledger, name_columns
from batchproc.pipeline.facts import write_facts
from batchproc.pipeline.journal import log_end, run_counters
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.terms import RunResult
from batchproc.runlog import RunLog
from batchproc.signals import Counted, doing
from batchproc.sink import CardColumn, ImageFolder, Layout, write_data_card, write_manifest


def write_manifests(ledger: Ledger, layout: Layout) -> None:
    """Writes both manifests, where an item has changed since they were written. Raises `DiskError`."""
    if ledger.manifests_are_current():
        return
    images = ImageFolder(layout.output)
    _write(layout.metadata_path, ledger.metadata_rows(images.file_name))
    _write(layout.failures_path, ledger.failure_rows())
    types = ledger.columns().types
    own = {name: column for column, name in name_columns(types).items()}
    columns = [CardColumn(name=name, type=known) for name, known in FACT_TYPES.items()]
    columns += [CardColumn(name=name, type=types[column], own=column) for name, column in own.items()]
    write_data_card(layout.data_card_path, layout.metadata_path, columns)
    ledger.note_manifests()


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    counted = Counted(rows)
    with doing(lambda: f"writing {path.name}, {count(counted.number, 'row')} so far"):
        write_manifest(path, counted)


def write_down(
    result: RunResult, *, ledger: Ledger, layout: Layout, log: RunLog, observer: Observer, keep_runs: int
) -> None:
    """Writes what is to be known of the run: run.json, the spans, the log's end, the ledger's row.

    Raises the run's own error, or `DiskError`, when it cannot.
    """
    try:
        with doing("writing run.json"):
            write_facts(result.folder, result.facts, observer)
            layout.point_latest(result.folder)
        with doing("removing old runs"):
            layout.prune_runs(keep_runs)
    except OSError as error:
        told = DiskError(f"{error.filename or result.folder}: cannot be written: {error.strerror}")
        raise result.error or told from error
    with doing("ending the run"):
        log_end(log, result.facts, result.error)
        counters = run_counters(result.facts)
        ledger.end_run(ended=datetime.now(UTC), exit_code=result.exit_code, counters=counters)
