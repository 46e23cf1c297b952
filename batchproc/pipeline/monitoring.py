"""What is told of a run, whatever becomes of it: pings of the health check, the metrics file, the events of its log.

The URL of the health check is a secret, and neither its errors nor those of the file fail a job. The file is for
node_exporter's textfile collector: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4, without
timestamps, which the collector refuses. All are gauges: they describe the last run, or the list as the ledger stands.
"""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct, to_builtins

from batchproc.config import Config
from batchproc.errors import BatchprocError, ExitCode, LockHeldError
from batchproc.exit_reason import error_line, run_line
from batchproc.ledger import SCHEMA_VERSION
from batchproc.lifecycle import result_within
from batchproc.pipeline.import_list import ImportedList
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import STAGES
from batchproc.redact import silence_urllib3
from batchproc.runlog import RunLog
from batchproc.signals import Stopped
from batchproc.sink import sweep_temporary, write_atomically
from batchproc.version import VERSION

if TYPE_CHECKING:
    import requests

    from batchproc.executors import Executor



LONGEST_PING_SECONDS = 5.0
NO_POST = (404, 405, 501)  # a health check that knows only GET


class Ping:
    """A health check at `url`, as healthchecks.io and its kin: `<url>/start`, `<url>`, `<url>/<exit code>`.

    What there is to say of an end goes with it, as the body of a POST, which they show; all else is a GET. An empty
    URL does nothing. `notify` gets a sentence, without the URL, when the check was not reached. Every call returns
    within `longest_seconds`, whatever name servers and trickling replies do.
    """

    def __init__(
        self, url: str, notify: Callable[[str], None], *, longest_seconds: float = LONGEST_PING_SECONDS
    ) -> None:
        silence_urllib3()
        self._url = url
        self._notify = notify
        self._longest_seconds = longest_seconds

    def start(self) -> None:
        """Says that the run begins."""
        self._send("start")

    def end(self, exit_code: int, why: str = "") -> None:
        """Says how the run ended, and in a line why."""
        self._send(str(int(exit_code)) if exit_code else "", why)

    def _send(self, part: str, body: str = "") -> None:
        if not self._url:
            return
        try:
            problem = result_within(self._longest_seconds, lambda: self._ask(_join(self._url, part), body))
        except Exception as error:  # noqa: BLE001 - whatever the library raises, and its text holds the URL
            is_late = isinstance(error, TimeoutError)
            problem = f"no answer within {self._longest_seconds:g} s" if is_late else type(error).__name__
        if problem:
            self._notify(f"warning: the health check (ping_url) was not told: {problem}")

    def _ask(self, url: str, body: str) -> str:
        """What is wrong with the answer; no socket's time-out covers the name's resolution or a trickled head."""
        import requests  # a tenth of the start, for jobs that have a health check

        with requests.Session() as session:
            session.trust_env = False
            status_code = self._request(session, url, body)
            if body and status_code in NO_POST:
                status_code = self._request(session, url, "")
            return "" if status_code < 400 else f"it answered {status_code}"

    def _request(self, session: "requests.Session", url: str, body: str) -> int:
        method, headers = ("POST", {"Content-Type": "text/plain; charset=utf-8"}) if body else ("GET", {})
        with session.request(
            method, url, data=body.encode(), headers=headers, timeout=self._longest_seconds, stream=True
        ) as reply:
            return reply.status_code

    def __repr__(self) -> str:
        return f"<Ping {'set' if self._url else 'off'}>"


def _join(url: str, part: str) -> str:
    """The URL with one more part of its path; a query stays behind it."""
    if not part:
        return url
    pieces = urlsplit(url)
    return urlunsplit(pieces._replace(path=f"{pieces.path.rstrip('/')}/{part}"))


METRICS_MODE = 0o644  # node_exporter is another user
STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending", "absent")

Labels: TypeAlias = Mapping[str, str]


class Metric(Struct, frozen=True, kw_only=True):
    """One gauge: its name without the prefix, its help, and its values by label."""

    name: str
    help: str
    values: Sequence[tuple[Labels, float]]


def render(job: str, metrics: Iterable[Metric]) -> str:
    """The text of a metrics file; every line ends, the last one too. A metric without values is left out."""
    lines = [line for metric in metrics if metric.values for line in _lines(job, metric)]
    return "".join(f"{line}\n" for line in lines)


def run_metrics(record: RunRecord) -> Iterator[Metric]:
    """The metrics of a run that came to its end."""
    counts = record.counts
    yield from end_metrics(record.exit_code, _unix(record.ended))
    yield _one("last_run_start_timestamp_seconds", "When the last run began, Unix time.", _unix(record.started))
    yield _one("last_run_duration_seconds", "How long the last run took.", record.wall_seconds)
    yield _one("last_run_processed_items", "Items whose outcome became final in the last run.", counts.processed)
    yield _one("last_run_retried_items", "Retries of the last run.", counts.retried)
    yield _one("last_run_images_per_second", "Images done per second of the last run.", record.images_per_second or 0.0)
    yield _one("last_run_original_bytes", "Bytes of images downloaded by the last run.", record.original_bytes or 0)
    yield _one("last_run_rendition_bytes", "Bytes of images written by the last run.", record.rendition_bytes or 0)
    yield _one("list_items", "Items of the job's list.", counts.items)
    states = [({"state": state}, float(getattr(counts, state))) for state in STATES]
    yield Metric(name="items", help="Items by state, as the ledger stands; absent ones left the list.", values=states)
    yield _by_code("failed_items", "Failed items by code, as the ledger stands.", record.failures)
    yield _by_code("deferred_items", "Items left for the next run, by code.", record.deferrals)


def end_metrics(exit_code: int, ended: float) -> Iterator[Metric]:
    """What is known of a run that ended before it had facts. `ended`: Unix time, seconds."""
    yield _one("last_run_exit_code", "Exit code of the last run; 0 is well.", exit_code)
    yield _one("last_run_end_timestamp_seconds", "When the last run ended, Unix time.", ended)


def _by_code(name: str, text: str, numbers: Mapping[str, int]) -> Metric:
    return Metric(name=name, help=text, values=[({"code": code}, float(number)) for code, number in numbers.items()])


def _one(name: str, text: str, value: float) -> Metric:
    return Metric(name=name, help=text, values=[({}, value)])


def _lines(job: str, metric: Metric) -> Iterator[str]:
    name = f"batchproc_{metric.name}"
    yield f"# HELP {name} {_escape(metric.help)}"
    yield f"# TYPE {name} gauge"
    for labels, value in metric.values:
        shown = ",".join(f'{label}="{_escape_value(text)}"' for label, text in {"job": job, **labels}.items())
        yield f"{name}{{{shown}}} {_number(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


class Ended(Protocol):
    """What a run came to."""

    @property
    def exit_code(self) -> ExitCode: ...

    @property
    def record(self) -> RunRecord: ...

    @property
    def folder(self) -> Path: ...


class RunMonitoring:
    """Around one run: `begin` once the lock is held, `result` set at its end; leaving the block tells how it went.

    A run that was turned away by the lock says nothing: the one that holds it will. Problems go to `notify` and
    fail nothing.
    """

    def __init__(self, config: Config, notify: Callable[[str], None]) -> None:
        self.result: Ended | None = None
        self._job = config.job.name
        self._path = config.paths.textfile
        self._notify = notify
        self._ping = Ping(config.metrics.ping_url, notify)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, LockHeldError):
            return
        if self.result is not None:
            exit_code, metrics = self.result.exit_code, run_metrics(self.result.record)
            why = run_line(self.result.record, self.result.folder)
        else:
            exit_code = _exit_code(error)
            metrics = end_metrics(exit_code, time.time())
            why = error_line(self._job, error) if isinstance(error, BatchprocError) else ""
        if self._path is not None:
            self._write(self._path, metrics)
        self._ping.end(exit_code, why)

    def begin(self) -> None:
        """The run holds its lock and begins."""
        self._ping.start()

    def _write(self, path: Path, metrics: Iterable[Metric]) -> None:
        try:
            sweep_temporary(path.parent, path.name)
            write_atomically(path, [render(self._job, metrics).encode("utf-8", "backslashreplace")], mode=METRICS_MODE)
        except OSError as error:
            self._notify(f"warning: {path}: the metrics cannot be written: {error.strerror}")


def _exit_code(error: BaseException | None) -> ExitCode:
    if isinstance(error, BatchprocError):
        return error.exit_code
    return ExitCode(error.exit_code) if isinstance(error, Stopped) else ExitCode.INTERNAL


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
