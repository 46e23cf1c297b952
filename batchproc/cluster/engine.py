"""Who hands out the parts: Dask's scheduler, behind what the driver needs of any.

Nothing here waits without a bound: a scheduler that is gone is told of as one, and whoever waits goes on.
"""

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from batchproc.cluster.manifest import PartManifest
from batchproc.cluster.task import PartOutcome, PartTask, run_part, stop_parts
from batchproc.config import ClusterTable
from batchproc.errors import BatchprocError, Problem, UsageError

T = TypeVar("T")

INSTALL = "pip install 'batchproc[dask]'"
CONNECT_SECONDS = 10.0
ASK_SECONDS = 30.0
# Of a cluster on this machine: what Dask does to watch itself took a tenth of a core per worker from the images.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}


class LostEngineError(BatchprocError):
    """The scheduler does not answer any more. What it had handed out may go on; what is committed stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt that came to an end: with the part's manifest, or for a reason.

    `is_charged`: the part or its worker is to blame, not that somebody else ended.
    """

    number: int
    generation: int
    worker: str = ""
    manifest: PartManifest | None = None
    reason: str = ""
    is_charged: bool = True


class Engine(Protocol):
    """Used by one thread. Whatever asks the cluster raises `LostEngineError` when that does not answer in time."""

    dashboard: str

    def slots(self) -> Mapping[str, int]:
        """How many parts each worker does at once, by the worker's address."""
        ...

    def ask(self, question: Callable[[], T]) -> Mapping[str, T | str]:
        """The answer of every worker, or as text why there is none, by its address."""
        ...

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        """Hands out a part, to other workers than these if there are any."""
        ...

    def stop_parts(self) -> None:
        """What is being worked on may commit what it has, and ends soon."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended; waits so long for the first, at most."""
        ...

    def close(self) -> None:
        """Takes back what was handed out. Bounded."""
        ...


class DaskEngine:
    """A client of a scheduler, or of a cluster of its own on this machine."""

    def __init__(self, table: ClusterTable) -> None:
        import distributed
        from dask import config as dask_config

        dask: Any = distributed  # its types do not go far

        self._cluster: Any = None
        address: Any = table.scheduler
        if table.local:
            dask_config.set(QUIET)
            # A worker only holds a process of ours: it needs one thread, and no limit that would stop that thread.
            self._cluster = address = dask.LocalCluster(
                n_workers=table.local, threads_per_worker=1, memory_limit=None, dashboard_address=":0", silence_logs=50
            )
        try:
            self._client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            message = f"no scheduler answers at {table.scheduler}; is it running? (dask scheduler)"
            raise UsageError([Problem(where="[cluster] scheduler", message=message)]) from error
        self.dashboard = str(self._client.dashboard_link or "")
        self._futures: dict[tuple[int, int], Any] = {}
        self._ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def slots(self) -> Mapping[str, int]:
        """How many parts each worker does at once."""
        self._check()
        return {address: int(worker["nthreads"]) for address, worker in self._info()["workers"].items()}

    def ask(self, question: Callable[[], T]) -> Mapping[str, T | str]:
        """The answer of every worker."""
        self._check()
        try:
            answers = self._client.run(question, on_error="return")
        except (OSError, TimeoutError) as error:
            raise LostEngineError(f"the scheduler does not answer: {error}") from error
        return {
            address: f"{type(answer).__name__}: {answer}" if isinstance(answer, BaseException) else answer
            for address, answer in answers.items()
        }

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        """Hands out a part."""
        self._check()
        others = [address for address in self._info()["workers"] if address not in avoid] if avoid else []
        place = task.number, task.generation
        key = f"batchproc-part-{task.plan}-{task.number}-{task.generation}-{time.monotonic_ns()}"
        future: Any = self._client.submit(
            _run_on_worker, task, key=key, pure=False, retries=0, workers=others or None,
            allow_other_workers=bool(others), priority=task.priority,
        )
        self._futures[place] = future
        future.add_done_callback(lambda _: self._ended.put(place))

    def stop_parts(self) -> None:
        """What is being worked on ends soon."""
        self.ask(stop_parts)

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended."""
        found: list[Ended] = []
        with suppress(queue.Empty):
            found.append(self._end_of(self._ended.get(timeout=seconds)))
            while True:
                found.append(self._end_of(self._ended.get_nowait()))
        self._check()
        return found

    def close(self) -> None:
        """Takes back what was handed out."""
        for future in self._futures.values():
            with suppress(Exception):
                future.release()
        for end in (self._client, self._cluster):
            if end is not None:
                with suppress(Exception):
                    end.close(timeout=CONNECT_SECONDS)

    def _end_of(self, place: tuple[int, int]) -> Ended:
        number, generation = place
        future = self._futures.pop(place)
        status = future.status
        if status == "finished":
            outcome: PartOutcome = future.result(timeout=ASK_SECONDS)
            return Ended(
                number=number, generation=generation, worker=outcome.worker, manifest=outcome.manifest,
                reason=outcome.reason,
            )  # fmt: skip
        if status == "error":
            error = future.exception(timeout=ASK_SECONDS)
            return Ended(number=number, generation=generation, reason=f"{type(error).__name__}: {error}")
        return Ended(number=number, generation=generation, reason=str(status), is_charged=False)

    def _check(self) -> None:
        if self._client.status != "running":
            raise LostEngineError("the connection to the scheduler is lost")

    def _info(self) -> Any:
        return self._client.scheduler_info(n_workers=-1)


def open_engine(table: ClusterTable) -> Engine:
    """The engine that the config names. Raises `UsageError`."""
    refuse_without_extra()
    return DaskEngine(table)


def refuse_without_extra() -> None:
    """Raises `UsageError` where Dask is not installed."""
    if find_spec("distributed") is None:
        message = f"needs dask's distributed, which is not installed: {INSTALL}."
        raise UsageError([Problem(where="[cluster]", message=message)])


def _run_on_worker(task: PartTask) -> PartOutcome:
    """Does a part, in a thread of a Dask worker, for as long as that worker and its scheduler want it."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_ended() -> bool:
        known = worker.state.tasks.get(key)
        return worker.status.name != "running" or known is None or known.state == "cancelled"

    return run_part(task, worker=worker.address, folder=worker.local_directory, is_ended=is_ended)
