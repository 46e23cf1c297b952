"""What goes into one run besides its config, and what comes out of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.errors import BatchprocError, ExitCode
from batchproc.model import ListedItem, Outcome
from batchproc.pipeline.observer import Observer
from batchproc.record.run_json import RunCounts, RunRecord, to_json
from batchproc.record.run_parts import StageRecord
from batchproc.remembered import Checkpoint, Known, ListMemory


class Display(Protocol):
    """What shows a run to its user. `note` may be called from any thread."""

    def begin(self, total: int) -> None: ...

    def advance(self, observer: Observer) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None: ...


class Audience(Protocol):
    """Who hears of every outcome once it is on disk, and may keep the run waiting."""

    def begun(self, end_early: Callable[[], None]) -> None:
        """The run can be ended early from now on; from any thread. In the run's thread."""
        ...

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """These are on disk. In the thread of the ledger's writer: it must not wait."""
        ...

    def keeps_up(self, seconds: float) -> bool:
        """Waits so long, at most, until it can hear of more; whether it can. In the run's thread."""
        ...


class Listing(Protocol):
    """The list of a job, however it is kept."""

    @property
    def names(self) -> tuple[str, ...]:
        """What tells its files apart in messages; empty for a single one."""
        ...

    def check(self) -> None:
        """Raises `UsageError` where it cannot be read, as far as that can be told before anything is touched."""
        ...

    def rows(self, columns: Columns, memory: ListMemory | None) -> Iterator[ListedItem | Known | Checkpoint]:
        """Its lines; `columns` learns of them. Those that are remembered may be left out."""
        ...

    def memory(self, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
        """What is remembered of it; None where that is nothing."""
        ...

    def fingerprint(self) -> str:
        """What tells it from another; empty where nothing does."""
        ...


class RunOptions(Struct, frozen=True, kw_only=True):
    """What the command line asks of one run, beyond the config."""

    limit: int = 0  # items at most; 0 = all
    retry_failed: bool = False
    retry_codes: tuple[str, ...] = ()  # with `retry_failed`: only what failed as these; empty = whatever did
    refresh: bool = False  # ask servers whether what is done has changed
    fresh: bool = False
    accept_config_change: bool = False
    repair: bool = False  # what is done and has no file any more, or another one, is due again
    strict: bool = False
    wait_seconds: float = 0.0  # at most, for another run's lock
    command_started: float | None = None  # perf_counter; None where the run is not all that its process is for
    audience: Audience | None = None
    listing: Listing | None = None  # in the place of the config's
    first_shard: int = 0  # the number of the first shard of images, where this run makes a part of all

    @property
    def is_part(self) -> bool:
        """Whether others make the rest: what is said of the whole, and made of its rows, is left to who adds it up."""
        return self.listing is not None


class RunResult(Struct, frozen=True, kw_only=True):
    """What a run came to: its exit code, its record (all of run.json), and the folder that it is in."""

    exit_code: ExitCode
    record: RunRecord
    folder: Path
    error: BatchprocError | None = None  # what ended the run before its time

    @property
    def counts(self) -> RunCounts:
        """The list's items by their state, and what this run did."""
        return self.record.counts

    @property
    def stages(self) -> Mapping[str, StageRecord]:
        """`download` and `transform`; empty where there was nothing to do."""
        return self.record.stages

    @property
    def report(self) -> Path | None:
        """The HTML page, if one was made."""
        page = self.folder / "report.html"
        return page if page.exists() else None

    @property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return to_json(self.record)
