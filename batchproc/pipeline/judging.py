"""How a run ends: its exit code, and why. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from batchproc.config.tables import JobTable
from batchproc.errors import BatchprocError, ExitCode
from batchproc.explain.words import count
from batchproc.kinds import kind_of
from batchproc.pipeline.observer import Observer
from batchproc.record.run import Counts

MANY = 0.1  # of the list: fewer that failed once more, or were left for the next run, are no news
STOPPED = {"duration": "stopped by max_duration", "limit": "stopped by --limit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
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
) -> Ending:
    """How a run ends, as the ledger stands: by an error, a signal, or in its time."""
    left = f"{count(counts.pending, 'item')} left"
    if error is not None:
        return Ending(exit_code=error.exit_code, reason=str(error))
    if signalled is not None and stopped_by in ("signal", "duration"):
        word = "interrupted" if signalled is ExitCode.INTERRUPTED else "terminated"
        return Ending(exit_code=signalled, reason=f"{word}, {left}")
    if crossed := list(_limits_crossed(job, counts)):
        return Ending(exit_code=ExitCode.TOO_MANY_FAILED, reason=" and ".join(crossed))
    if job.exit_on_limit and counts.pending:
        return Ending(exit_code=ExitCode.LIMIT, reason=f"{STOPPED.get(stopped_by or '', 'stopped')}, {left}")
    return Ending(exit_code=ExitCode.DONE, reason=_news(counts, observer, missing_files))


def _limits_crossed(job: JobTable, counts: Counts) -> Iterator[str]:
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
