"""Who hands out the parts: Dask's scheduler, behind what the driver needs of any; and what workers are asked first.

Nothing here waits without a bound: a scheduler that is gone is told of as one, and whoever waits goes on.
"""

import platform
import queue
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar
from uuid import uuid4

from msgspec import Struct

from batchproc.cluster.shard_plan import FOLDER
from batchproc.cluster.shared_store import Store, open_store
from batchproc.cluster.task import PartOutcome, PartTask, run_part, stop_parts
from batchproc.config import ClusterTable, Config
from batchproc.errors import BatchprocError, Problem, UsageError
from batchproc.version import VERSION

T = TypeVar("T")

INSTALL = "pip install 'batchproc[dask]'"
CONNECT_SECONDS = 10.0
ASK_SECONDS = 30.0  # the scheduler
ANSWER_SECONDS = 5.0  # for one worker to answer: its loop has nothing else to do
# Of a cluster on this machine: what Dask does to watch itself took a tenth of a core per worker from the images.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}


class LostEngineError(BatchprocError):
    """The scheduler does not answer any more. What it had handed out may go on; what is committed stays."""


class DaskEngine:
    """A client of a scheduler, or of a cluster of its own on this machine. Used by one thread.

    Whatever asks the cluster raises `LostEngineError` when that does not answer in time.
    """

    def __init__(self, table: ClusterTable) -> None:
        import distributed
        from dask import config as dask_config

        dask: Any = distributed  # its types do not go far

        self._cluster: Any = None
        address: Any = table.scheduler
        if table.local:
            # A worker only holds a process of ours: it needs one thread, and no limit that would stop that thread.
            with dask_config.set(QUIET):
                self._cluster = address = dask.LocalCluster(
                    n_workers=table.local, threads_per_worker=1, memory_limit=None, dashboard_address=":0",
                    silence_logs=50,
                )  # fmt: skip
        try:
            self._client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            if self._cluster is not None:
                self._cluster.close(timeout=CONNECT_SECONDS)
            message = f"no scheduler answers at {table.scheduler}; is it running? (dask scheduler)"
            raise UsageError([Problem(where="[cluster] scheduler", message=message)]) from error
        self.dashboard = str(self._client.dashboard_link or "")
        self._futures: dict[tuple[int, int], Any] = {}
        self._allowed: dict[tuple[int, int], frozenset[str]] = {}  # workers of parts that others are to avoid
        self._ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def slots(self) -> Mapping[str, int]:
        """How many parts each worker does at once, by its address. Takes parts back whose workers are all gone."""
        workers = self._workers()
        for place, allowed in [*self._allowed.items()]:
            if allowed.isdisjoint(workers):  # it would wait for ever: it comes back, and others may have it
                self._take_back(place)
        return {address: int(worker["nthreads"]) for address, worker in workers.items()}

    def ask(self, question: Callable[[], T], workers: Iterable[str]) -> Mapping[str, T | str]:
        """The answers of these workers by their addresses, or as text why one cannot answer. Who is silent is left out:
        one after the other is asked, and a silent one keeps no other from answering."""
        found: dict[str, T | str] = {}
        for address in workers:
            self._check()
            with suppress(OSError):  # gone, or silent
                answers = self._within(
                    ANSWER_SECONDS, partial(self._client.run, question, workers=[address], on_error="return")
                )
                answer = answers[address]
                if isinstance(answer, OSError):
                    raise answer
                is_error = isinstance(answer, BaseException)
                found[address] = f"{type(answer).__name__}: {answer}" if is_error else answer
        return found

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        """Hands out a part, to other workers than these if there are any."""
        self._check()
        others = [address for address in self._workers() if address not in avoid] if avoid else []
        place, priority = task.part.place, int(task.part.domain is not None)  # a row of slices takes its time
        key = f"batchproc-part-{task.plan}-{task.part.name}-{time.monotonic_ns()}"
        future: Any = self._client.submit(
            _run_on_worker, task, key=key, pure=False, retries=0, workers=others or None, priority=priority
        )
        self._futures[place] = future
        if others:
            self._allowed[place] = frozenset(others)
        future.add_done_callback(lambda _: self._ended.put(place))

    def stop_parts(self, run: str) -> None:
        """What is being worked on may commit what it has, and ends soon; of what waits for a worker nothing begins."""
        self.ask(partial(stop_parts, run), self._workers())

    def wait(self, seconds: float) -> list[PartOutcome]:
        """What has ended; waits so long for the first, at most."""
        found: list[PartOutcome] = []
        with suppress(queue.Empty):
            found.append(self._end_of(self._ended.get(timeout=seconds)))
            while True:
                found.append(self._end_of(self._ended.get_nowait()))
        self._check()
        return found

    def close(self) -> None:
        """Takes back what was handed out. Bounded."""
        ends: list[Callable[[], object]] = [future.release for future in self._futures.values()]
        ends += [partial(one.close, timeout=CONNECT_SECONDS) for one in (self._client, self._cluster) if one]
        for end in ends:
            with suppress(OSError, RuntimeError, CancelledError):  # it has lost its scheduler, or its loop
                end()

    def _end_of(self, place: tuple[int, int]) -> PartOutcome:
        self._allowed.pop(place, None)
        future, outcome = self._futures.pop(place), partial(PartOutcome, place=place)
        status = future.status
        try:
            if status == "finished":
                ended: PartOutcome = future.result(timeout=ASK_SECONDS)
                return ended
            if status == "error":
                error = future.exception(timeout=ASK_SECONDS)
                return outcome(reason=f"{type(error).__name__}: {error}")
        except (OSError, CancelledError) as error:
            raise LostEngineError(f"the scheduler does not answer: {error}") from error
        return outcome(reason=str(status), is_charged=False)

    def _take_back(self, place: tuple[int, int]) -> None:
        """A part ends as cancelled, which blames nobody."""
        del self._allowed[place]
        try:
            self._within(ASK_SECONDS, partial(self._client.cancel, [self._futures[place]], asynchronous=True))
        except OSError as error:
            raise LostEngineError(f"the scheduler does not answer: {error}") from error

    def _check(self) -> None:
        if self._client.status != "running":
            raise LostEngineError("the connection to the scheduler is lost")

    def _workers(self) -> Mapping[str, Any]:
        """What the scheduler says of its workers, by their addresses."""
        self._check()
        try:
            found: Mapping[str, Any] = self._within(ASK_SECONDS, self._identity)["workers"]
        except OSError as error:
            raise LostEngineError(f"the scheduler does not answer: {error}") from error
        return found

    async def _identity(self) -> Any:
        return await self._client.scheduler.identity(n_workers=-1)

    def _within(self, seconds: float, ask: Callable[[], Any]) -> Any:
        """What comes of something that is asked in the client's loop. Raises OSError, a TimeoutError too."""
        return self._client.sync(ask, callback_timeout=seconds)


def open_engine(table: ClusterTable) -> DaskEngine:
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


PROBE = f"{FOLDER}/probe"


class Answer(Struct, frozen=True, kw_only=True):
    """What a worker has and sees. `trouble`: what keeps it from the work, by its kind."""

    versions: Mapping[str, str]
    trouble: Mapping[str, str]


HINTS = {
    "python": "run the workers with the same minor version of Python",
    "batchproc": "install the same version of batchproc on every worker",
    "Pillow": "install the same Pillow everywhere, or images differ between workers",
    "resampler": "install the same cykooz-resizer everywhere, or images differ between workers",
    "steps": "put the module of your own step where every worker sees it, the same file everywhere",
    "output": "give the output as a folder that every worker has mounted at the same place, or as a bucket",
}


def ask_workers(config: Config, store: Store, engine: DaskEngine, workers: Collection[str]) -> Collection[str]:
    """Who of these workers has answered, and may work. Raises `UsageError` with every problem at once."""
    token = uuid4().hex.encode()
    store.replace(PROBE, token)
    question: Callable[[], Answer] = partial(examine, config, store.address, token)
    try:
        answers, own = engine.ask(question, workers), question()
    finally:
        store.remove(PROBE)
    problems = [problem for address, answer in answers.items() for problem in _problems(address, answer, own)]
    if problems:
        raise UsageError(problems)
    return answers.keys()


def examine(config: Config, address: str, token: bytes) -> Answer:
    """Looks around, on whichever machine."""
    import PIL

    from batchproc.transform import resampler

    trouble: dict[str, str] = {}
    versions = {
        "python": ".".join(platform.python_version_tuple()[:2]), "batchproc": VERSION, "Pillow": PIL.__version__,
        "resampler": resampler.problem() or resampler.engine(),
    }  # fmt: skip
    try:
        versions["steps"] = _steps_print(config)
    except BatchprocError as error:
        trouble["steps"] = str(error)
    try:
        _reach(open_store(address), token)
    except BatchprocError as error:
        trouble["output"] = str(error)
    return Answer(versions=versions, trouble=trouble)


def _steps_print(config: Config) -> str:
    from batchproc.pipeline.opening import make_transform
    from batchproc.transform.plan import build_steps, fingerprint

    steps = build_steps(config.transform.steps, search_path=config.paths.root)
    return fingerprint(make_transform(config, steps))


def _reach(store: Store, token: bytes) -> None:
    """Raises `BatchprocError` where the output is not the one that the driver sees, or cannot be written."""
    if store.get(PROBE) != token:
        raise BatchprocError(f"{store.address}: is not the output that the driver sees")
    own = f"{PROBE}-{uuid4().hex}"
    store.replace(own, token)
    store.remove(own)


def _problems(address: str, answer: Answer | str, own: Answer) -> Iterator[Problem]:
    where = f"worker {address}"
    if isinstance(answer, str):
        yield Problem(where=where, message=f"cannot be asked: {answer}; {HINTS['batchproc']}.")
        return
    for kind, text in answer.trouble.items():
        yield Problem(where=where, message=f"{text}; {HINTS[kind]}.")
    for kind, version in answer.versions.items():
        if version != own.versions.get(kind):
            here = own.versions.get(kind)
            what = "its steps are other ones" if kind == "steps" else f"{kind} is {version}, here {here}"
            yield Problem(where=where, message=f"{what}; {HINTS[kind]}.")
