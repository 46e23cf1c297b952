"""What goes into one run besides its config, and what comes out of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from batchproc.errors import BatchprocError, ExitCode
from batchproc.pipeline.observer import Observer
from batchproc.record.run import RunRecord
from batchproc.record.run_json import to_json


class Display(Protocol):
    """What shows a run to its user. `note` may be called from any thread."""

    def begin(self, total: int) -> None: ...

    def advance(self, observer: Observer) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line asks of one run, beyond the config."""

    limit: int = 0  # items at most; 0 = all
    retry_failed: bool = False
    refresh: bool = False  # ask servers whether what is done has changed
    fresh: bool = False
    accept_config_change: bool = False
    repair: bool = False  # what is done and has no file any more, or another one, is due again
    strict: bool = False
    wait_seconds: float = 0.0  # at most, for another run's lock
    command_started: float | None = None  # perf_counter; None where the run is not all that its process is for


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to: its exit code, its record, and the folder that run.json is in."""

    exit_code: ExitCode
    record: RunRecord
    folder: Path
    error: BatchprocError | None = None  # what ended the run before its time

    @property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return to_json(self.record)
