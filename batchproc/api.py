"""batchproc as a library: what `import batchproc` offers besides the command line. All else is internal.

A job is run by one caller at a time in a process. Functions work from scripts, notebooks, threads and inside a running
event loop, which they block. Ctrl-C ends a run as on the command line, keeps what is done, and is then raised.
"""

import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from batchproc.errors import BatchprocError, ExitCode, check_codes
from batchproc.job_file import Job, load
from batchproc.model import LINES_PER_LIST, Failure, Rejection, Unchanged
from batchproc.model import Outcome as InnerOutcome
from batchproc.pipeline import Display, RunOptions, RunResult, run_job
from batchproc.progress import Bar, Quiet
from batchproc.record.run_json import read_run
from batchproc.signals import settle
from batchproc.sink import ImageFolder

__all__ = ["Job", "Outcome", "RunResult", "check", "load", "read_run", "run", "stream"]

HELD_OUTCOMES = 1_000  # that a caller of `stream` has not taken yet; then the run waits
_one_run = threading.Lock()  # signals, fork server and Pillow's switches belong to the whole process


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one item, once that is on disk.

    `state`: done, unchanged, rejected, failed, quarantined or deferred. `path`, sizes and format are of a done image,
    the code and message of one that is not there. `columns`: the list's other columns.
    `path` is None with layouts of shards: there the image moves into its shard. `line` is that of its own list.
    """

    key: str
    url: str
    line: int
    state: str
    path: Path | None = None
    width_px: int = 0
    height_px: int = 0
    size_bytes: int = 0
    format: str = ""
    code: str = ""
    message: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)


def check(job: Job | str | os.PathLike[str]) -> Job:
    """The job, if a run of it would begin: raises `UsageError` or `DiskError` as `run` would. Touches nothing.

    >>> import batchproc
    >>> batchproc.check("job.toml").output.name
    'out'
    """
    found = job if isinstance(job, Job) else load(job)
    refuse(found)
    return found


def refuse(job: Job, *, any_plan: bool = False) -> None:
    """Raises what a run of the job would end with before any work; `any_plan`: images of another would be made again.
    """
    if job.config.cluster is not None:
        from batchproc.cluster.shared_run import refuse as refuse_shared

        refuse_shared(job)
    else:
        from batchproc.pipeline.opening import refuse as refuse_alone

        refuse_alone(job.config, job.steps, any_plan=any_plan)


def run(
    job: Job | str | os.PathLike[str],
    *,
    settings: Sequence[str] = (),
    limit: int = 0,
    retry_failed: bool | Sequence[str] = False,
    refresh: bool = False,
    fresh: bool = False,
    accept_config_change: bool = False,
    repair: bool = False,
    strict: bool = False,
    wait_seconds: float = 0.0,
    progress: bool = False,
    **flags: object,
) -> RunResult:
    """Runs a job and continues what an earlier run left, as `batchproc run` does; the words are those of its flags.

    >>> import batchproc
    >>> result = batchproc.run("job.toml", transform_mode="thread", limit=2)
    >>> result.counts.done, result.counts.pending
    (2, 2)

    Returns how it ended, also when the disk was full or too many items failed: see `exit_code` and `error`. Makes the
    HTML page where the config wants it. `retry_failed` may also name codes, as `["http.404"]`. `progress` shows a bar
    on stderr. Raises `UsageError` before anything is touched, `LockHeldError` when another run is under way, and
    KeyboardInterrupt after a Ctrl-C.
    """
    options = RunOptions(
        limit=limit,
        retry_failed=bool(retry_failed),
        retry_codes=check_codes([] if isinstance(retry_failed, bool) else retry_failed),
        refresh=refresh,
        fresh=fresh,
        accept_config_change=accept_config_change,
        repair=repair,
        strict=strict,
        wait_seconds=wait_seconds,
    )
    found = _loaded(job, settings, flags)
    result = execute(found, options, Bar() if progress else Quiet())
    _draw_page(found, result)
    if result.exit_code is ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if result.exit_code is ExitCode.TERMINATED and threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGTERM)  # whoever has a handler for it may act now
    return result


def stream(
    job: Job | str | os.PathLike[str], *, settings: Sequence[str] = (), limit: int = 0, **flags: object
) -> Iterator[Outcome]:
    """Runs a job and yields what becomes of its items as soon as that is on disk: a `done` image has its final name.

    >>> import batchproc
    >>> sorted(outcome.state for outcome in batchproc.stream("job.toml", transform_mode="thread"))
    ['done', 'done', 'done', 'failed']

    The run waits for a slow caller. Whoever stops iterating ends the run, which keeps what is done. Raises what `run`
    raises, and at the end what ended the run before its time. Makes no page: `batchproc report` does.
    """
    found = _loaded(job, settings, flags)
    return _Streamed(found, limit).outcomes()


def execute(job: Job, options: RunOptions, display: Display) -> RunResult:
    """A run of the job, and its trace where the config wants one: what `run` and the command line share."""
    with _alone():
        if job.config.cluster is not None:
            from batchproc.cluster.shared_run import run_on_cluster

            result = run_on_cluster(job, options, display)
        else:
            result = run_job(job.config, job.steps, options, display)
        settle(result.exit_code)
        if job.config.report.trace and job.config.cluster is None:
            from batchproc.report.run_files import write_trace

            write_trace(result.record, result.folder)
    return result


def _loaded(job: Job | str | os.PathLike[str], settings: Sequence[str], flags: Mapping[str, object]) -> Job:
    if not isinstance(job, Job):
        return load(job, settings=settings, **flags)
    if settings or flags:
        raise TypeError("settings of a job that is loaded already: give them to load")
    return job


@contextmanager
def _alone() -> Iterator[None]:
    if not _one_run.acquire(blocking=False):
        raise BatchprocError(
            "a run is under way in this process: one at a time, signals and workers belong to all of it"
        )
    try:
        yield
    finally:
        _one_run.release()


def _draw_page(job: Job, result: RunResult) -> None:
    if not job.config.report.html or not result.counts.processed:
        return
    import warnings

    from batchproc.report import draw_page

    _, problem = draw_page(result.folder)
    if problem:
        message = f"no report: {problem}; batchproc report {result.folder} tries again"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


class _Streamed:
    """A run in a thread of its own, and the outcomes that its caller has not taken yet."""

    def __init__(self, job: Job, limit: int) -> None:
        self._job = job
        self._options = RunOptions(limit=limit, audience=self)
        self._images = ImageFolder(job.output) if job.config.output.layout == "files" else None
        self._ready: queue.SimpleQueue[InnerOutcome | None] = queue.SimpleQueue()
        self._room = threading.Event()
        self._room.set()
        self._lock = threading.Lock()  # guards the two below, and every change of `_room`
        self._end_early: Callable[[], None] | None = None  # once the run can be ended
        self._unwanted = False  # nobody will take anything more
        self._result: RunResult | None = None
        self._error: BaseException | None = None

    def outcomes(self) -> Iterator[Outcome]:
        """Yields until the run has ended."""
        thread = threading.Thread(target=self._run, name="run", daemon=True)
        thread.start()
        try:
            while (outcome := self._ready.get()) is not None:
                with self._lock:
                    if self._ready.qsize() < HELD_OUTCOMES:
                        self._room.set()
                yield _public_outcome(outcome, self._images)
        finally:
            self._leave()
            thread.join()
        if self._error is not None:
            raise self._error
        if self._result is not None and self._result.error is not None:
            raise self._result.error

    def begun(self, end_early: Callable[[], None]) -> None:
        """The run is under way and can be ended. In its thread."""
        with self._lock:
            self._end_early = end_early
            if self._unwanted:
                end_early()

    def _leave(self) -> None:
        """Ends the run, or lets it end as soon as it can be ended."""
        with self._lock:
            self._unwanted = True
            self._room.set()
            if self._end_early is not None:
                self._end_early()

    def committed(self, outcomes: Sequence[InnerOutcome]) -> None:
        """These are on disk. In the thread of the ledger's writer."""
        with self._lock:  # or the caller could take all, and make room, before it is said that there is none
            for outcome in outcomes:
                self._ready.put(outcome)
            if self._ready.qsize() >= HELD_OUTCOMES and not self._unwanted:
                self._room.clear()

    def keeps_up(self, seconds: float) -> bool:
        """Waits so long for the caller to take what is there. In the run's thread."""
        return self._room.wait(seconds)

    def _run(self) -> None:
        try:
            self._result = execute(self._job, self._options, Quiet())
        except BaseException as error:  # noqa: BLE001 - the seam between threads: the caller's thread raises it again
            self._error = error
        finally:
            self._ready.put(None)


def _public_outcome(outcome: InnerOutcome, images: ImageFolder | None) -> Outcome:
    """`images` is None where an image does not stay a file."""
    source = outcome.source
    make = partial(
        Outcome, key=source.key_hex, url=source.url, line=source.line % LINES_PER_LIST,
        columns=json.loads(source.extra_json) if source.extra_json else {},
    )  # fmt: skip
    if isinstance(outcome, Unchanged):
        return make(state="unchanged")
    if isinstance(outcome, Rejection):
        return make(state="rejected", code=outcome.code, message=outcome.message)
    if isinstance(outcome, Failure):
        return make(state=str(outcome.disposition), code=str(outcome.code), message=outcome.message)
    image = outcome.value
    path = None if images is None else images.final_path(source.key_hex, image.suffix)
    return make(
        state="done", path=path, width_px=image.width_px,
        height_px=image.height_px, size_bytes=image.size_bytes, format=image.format,
    )  # fmt: skip
