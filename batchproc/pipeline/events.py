"""What a run writes into its log, event by event: the words of `log.jsonl` in one place."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import to_builtins

from batchproc.config import Config
from batchproc.errors import BatchprocError
from batchproc.ledger import SCHEMA_VERSION
from batchproc.pipeline.import_list import ImportedList
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import STAGES
from batchproc.runlog import RunLog
from batchproc.version import VERSION

if TYPE_CHECKING:
    from batchproc.executors import Executor

ENDINGS = {0: "info", 3: "warning"}  # levels by exit code; every other one is an error


def log_start(log: RunLog, config: Config) -> None:
    """The run holds its lock."""
    log.record(
        "run.started",
        job=config.job.name,
        version=VERSION,
        config=str(config.paths.config),
        output=str(config.paths.output),
        pid=os.getpid(),
        host=platform.node(),
    )


def log_ledger(log: RunLog, imported: ImportedList, *, work: int, items: int) -> None:
    """What an earlier run left, what the list brought, and what is to be done."""
    if imported.opened_version != SCHEMA_VERSION:
        log.record("ledger.migrated", from_version=imported.opened_version, to_version=SCHEMA_VERSION)
    recovered = to_builtins(imported.recovered)
    if any(recovered.values()):
        log.record("ledger.recovered", "warning", **recovered)
    log.record("list.imported", **to_builtins(imported.imported), items=items, work=work)
    if imported.repaired is not None:
        log.record("files.repaired", **to_builtins(imported.repaired))
    if imported.missing_files:
        log.record("files.missing", "warning", files=imported.missing_files)
    if imported.outdated:
        log.record("images.outdated", images=imported.outdated)
    if imported.resampler_problem:
        log.record("resampler.missing", "warning", reason=imported.resampler_problem)
    if imported.due_again.items:
        log.record("items.due_again", items=imported.due_again.items, because=list(imported.due_again.because))
    if imported.pruned:
        log.record("absent.pruned", files=imported.pruned)


def log_line(log: RunLog, executors: "Sequence[Executor]") -> None:
    """The line begins: how each stage runs."""
    stages = zip(STAGES, executors, strict=False)
    log.record("line.started", **{name: f"{executor.mode} {executor.workers}" for name, executor in stages})


def run_counters(record: RunRecord) -> Mapping[str, object]:
    """What the ledger keeps of a run for ever, when its folder is gone: enough for a trend."""
    return {
        **to_builtins(record.counts),
        "failed_this_run": sum((record.failures_this_run or {}).values()) - record.deferred_this_run,
        "wall_seconds": record.wall_seconds,
        "images_per_second": record.images_per_second,
        "original_bytes": record.original_bytes,
        "rendition_bytes": record.rendition_bytes,
        "stopped_by": record.stopped_by,
        "deferred_this_run": record.deferred_this_run,
    }


def log_end(log: RunLog, record: RunRecord, error: BatchprocError | None) -> None:
    """The run has ended and its record is written."""
    for name, stage in record.stages.items():
        replaced = stage.worker_starts - stage.workers
        if replaced > 0:
            log.record("workers.replaced", "warning", stage=name, starts=stage.worker_starts, replaced=replaced)
    unwritten = log.unwritten_failures()
    if unwritten:
        log.record("item.failed.more", "warning", failures=unwritten)
    log.record(
        "run.ended",
        ENDINGS.get(record.exit_code, "error"),
        exit_code=record.exit_code,
        reason=record.reason,
        stopped_by=record.stopped_by,
        error=str(error) if error else None,
        wall_seconds=round(record.wall_seconds, 3),
        images_per_second=round(record.images_per_second or 0.0, 3),
        counts=to_builtins(record.counts),
        failures=record.failures_this_run,
        records_lost=log.lost,
    )
