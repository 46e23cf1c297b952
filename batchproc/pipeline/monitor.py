"""What monitoring hears of a run, whatever becomes of it: the health check's pings and the metrics file."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from batchproc.config import Config
from batchproc.errors import BatchprocError, ExitCode, LockHeldError
from batchproc.last_line import error_line, run_line
from batchproc.metrics import MODE, Metric, end_metrics, render, run_metrics
from batchproc.ping import Ping
from batchproc.record.run import RunRecord
from batchproc.signals import Stopped
from batchproc.sink import sweep_temporary, write_atomically


class Ended(Protocol):
    """What a run came to."""

    @property
    def exit_code(self) -> ExitCode: ...

    @property
    def record(self) -> RunRecord: ...

    @property
    def folder(self) -> Path: ...


class Monitor:
    """Around one run: `begin` once the lock is held, `result` set at its end; leaving the block tells how it went.

    A run that was turned away by the lock says nothing: the one that holds it will. Problems are told to `tell` and
    fail nothing.
    """

    def __init__(self, config: Config, tell: Callable[[str], None]) -> None:
        self.result: Ended | None = None
        self._job = config.job.name
        self._path = config.paths.textfile
        self._tell = tell
        self._ping = Ping(config.metrics.ping_url, tell)

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
            write_atomically(path, [render(self._job, metrics).encode("utf-8", "backslashreplace")], mode=MODE)
        except OSError as error:
            self._tell(f"warning: {path}: the metrics cannot be written: {error.strerror}")


def _exit_code(error: BaseException | None) -> ExitCode:
    if isinstance(error, BatchprocError):
        return error.exit_code
    return ExitCode(error.exit_code) if isinstance(error, Stopped) else ExitCode.INTERNAL
