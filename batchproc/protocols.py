"""The seams: what a stage is, what an executor is. Whoever fits may stand in."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from msgspec import Struct

from batchproc.model import Item, Outcome

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Lap(Protocol):
    """Books the time since the last lap, or since the start of the work, under a part's name."""

    def __call__(self, part: str) -> None: ...

    def watch_gil(self, part: str) -> None:
        """Says that nobody knows of the part that begins now whether it holds the GIL: it is worth a measurement."""
        ...

    def count(self, what: str) -> None:
        """Counts something that happened in the work, as `opened img.example.org`."""
        ...

    def long_wait(self, whom: str) -> None:
        """Says that the item waits for somebody for longer than usual: until that is over, its worker is not needed."""
        ...

    def long_wait_over(self) -> None:
        """Says that the wait has ended, if there was one."""
        ...


class Work(Protocol[In_contra, Out_co]):
    """A stage opened by one worker. Called by that worker alone, one item at a time."""

    def __call__(self, item: Item[In_contra], lap: Lap) -> Out_co:
        """Does the work on one item.

        Raises `StageError` when the item fails and `Reject` when a check drops it. Any other exception is a bug of
        ours and becomes `internal.bug`; it never stops the run.
        """
        ...

    def abort(self) -> None:
        """Makes a call in progress end soon, with any error. The only method that other threads may call."""
        ...

    def close(self) -> None:
        """Gives back what the worker holds: connections, files."""
        ...


class Stage(Protocol[In_contra, Out_co]):
    """WHAT is done to an item: a small picklable value that each worker opens for itself.

    `preload` names the modules that a fork server imports once, so that its workers start with them.
    """

    @property
    def name(self) -> str: ...

    @property
    def preload(self) -> tuple[str, ...]: ...

    def open(self) -> Work[In_contra, Out_co]:
        """Prepares one worker; runs in the worker's own thread or process."""
        ...


class WorkerTimes(Struct, kw_only=True):
    """Where one worker's time went besides its spans. Written by that worker's own thread, read when it has ended."""

    worker: str
    opened: float = 0.0  # perf_counter seconds, as all points in time here
    began: float = 0.0  # the worker's own first line ran: after the fork and its imports, for a process
    ready: float = 0.0  # its stage was open
    first_task: float = 0.0  # its first job arrived
    closed: float = 0.0
    startup_seconds: float = 0.0
    lost_seconds: float = 0.0  # in tasks that ended with the death of their worker
    starved_seconds: float = 0.0  # waiting for input
    rested_seconds: float = 0.0  # a spare worker, or another in its place, that nobody needed: no time of a worker
    output_blocked_seconds: float = 0.0  # waiting for room downstream
    ipc_seconds: float = 0.0  # in the worker: unpacking jobs, packing and sending replies
    ipc_parent_cpu_seconds: float = 0.0  # in the parent, for this worker
    ipc_bytes: int = 0
    tasks: int = 0
    starts: int = 0  # OS processes started for this slot; 0 for a thread
    cpu_seconds: float = 0.0  # of the whole OS process; 0 for a thread
    max_rss_bytes: int = 0


class Executor(Protocol):
    """HOW a stage is run. Owns its threads, processes and channels; they end with its `with` block.

    The contract, proven for every mode by one test suite: each item comes out once, in any order; failures and
    rejections pass through untouched; never more than `capacity` items inside; an error of the upstream iterator
    surfaces; an outcome is never held back while the executor waits upstream; nothing survives the `with`.
    """

    @property
    def mode(self) -> str: ...

    @property
    def workers(self) -> int: ...

    @property
    def capacity(self) -> int: ...

    @property
    def times(self) -> Sequence[WorkerTimes]:
        """Each worker's account; complete when the iterator of `run` has ended. Before, what was booked by then."""
        ...

    @property
    def wall_seconds(self) -> float:
        """From its opening to its closing; until now while it is open."""
        ...

    def __enter__(self) -> Self:
        """Makes ready; the workers start in `run`. Raises `ExecutorError`."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Runs `stage` on every item that is still under way and yields what became of each."""
        ...

    def stop(self) -> None:
        """Ends the work at once: what is inside is lost, the iterator of `run` ends. From any thread, any time."""
        ...
