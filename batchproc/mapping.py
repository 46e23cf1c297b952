"""`batchproc.map`: any function over any items, on the executors that run the stages of a job."""

import pickle
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from batchproc.errors import Reject
from batchproc.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from batchproc.measure.processes import usable_cores
from batchproc.model import Failure, Item, Mode, Outcome, Source
from batchproc.protocols import Lap

T = TypeVar("T")
R = TypeVar("R")

HELD_PER_WORKER = 8  # items that may be under way, or wait for an earlier one, per worker


class Failed(Struct, frozen=True, kw_only=True):
    """What became of an item that gave no result. In place of the result: nothing is raised for a single item.

    `code`: `raised`, `rejected` (it raised `Reject`), `not_picklable`, `worker.timeout`, `worker.crash`. An item that
    kills its worker is tried once more, alone, before it fails.
    """

    index: int  # of the item, from 0
    code: str
    message: str
    traceback: str = ""  # of what the function raised


class _Done(Struct, Generic[R], frozen=True):
    """A result on its way: as it is, or pickled."""

    value: R


class _Calls(Struct, frozen=True, kw_only=True):
    """The stage: one function, called with each item. `pickled`: items and results travel as bytes."""

    function: Callable[[Any], Any]
    pickled: bool
    name: str = "map"
    preload: tuple[str, ...] = ()

    def open(self) -> "_Calls":
        """Nothing to prepare: to receive the stage was to import the function."""
        return self

    def __call__(self, item: Item[Any], lap: Lap) -> _Done[Any] | Failed:
        """The function's result, or what it raised, as a value."""
        index = item.source.index
        try:
            result = self.function(pickle.loads(item.value) if self.pickled else item.value)
        except Reject as reject:
            return Failed(index=index, code="rejected", message=reject.reason)
        except Exception as error:  # noqa: BLE001 - the seam: what the caller's function raises is a value here
            message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Failed(index=index, code="raised", message=message, traceback=traceback.format_exc())
        return _Done(result) if not self.pickled else _packed(index, result, "result")

    def abort(self) -> None:
        """A function cannot be interrupted."""

    def close(self) -> None:
        """Nothing is held."""


def map_items(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    mode: Literal["serial", "thread", "process"] = "process",
    workers: int = 0,
    timeout: float = 0.0,
    ordered: bool = True,
) -> Iterator[R | Failed]:
    """Yields `function(item)` for each item, as they come, in their order unless `ordered` is False.

    >>> import math
    >>> list(map_items(math.sqrt, [4.0, 9.0, -1.0], mode="thread"))[:2]
    [2.0, 3.0]

    An item that fails is a `Failed` in its place, and costs no other one. `items` may be endless: it is asked for more
    only as results are taken. `workers` 0 is one per usable core. `timeout`, in seconds per item, kills the process
    that works on it, and that one alone, while somebody waits for results; only `process` can do that. In that mode
    `function` must be one that a fresh process can import, and items and results must be picklable; it may be called
    from a script without `if __name__ == "__main__"`, from a notebook, or from any thread. Whoever stops iterating ends
    the workers.

    Raises ValueError and TypeError at once, before anything is started; `ExecutorError` when no worker can be had.
    """
    chosen = Mode(mode)
    if timeout and chosen is not Mode.PROCESS:
        raise ValueError(f'timeout = {timeout:g}: mode = "{mode}" cannot end a call; mode = "process" kills its worker')
    if workers < 0 or timeout < 0:
        raise ValueError(f"workers = {workers}, timeout = {timeout:g}: must not be negative")
    if chosen is Mode.PROCESS:
        _check_importable(function)
    stage = _Calls(function=function, pickled=chosen is Mode.PROCESS)
    executor = _executor(chosen, workers or usable_cores(), timeout)
    return _results(executor, stage, items, ordered=ordered)


def _results(executor: Executor, stage: _Calls, items: Iterable[T], *, ordered: bool) -> Iterator[Any]:
    window = _Window(HELD_PER_WORKER * executor.workers)
    ready: dict[int, Any] = {}
    awaited = 0
    with executor:
        try:
            for outcome in executor.run(stage, window.admit(_sources(stage, items))):
                index, result = _result(outcome, pickled=stage.pickled)
                if not ordered:
                    window.release()
                    yield result
                    continue
                ready[index] = result
                while awaited in ready:
                    window.release()
                    yield ready.pop(awaited)
                    awaited += 1
        finally:
            window.close()


def _sources(stage: _Calls, items: Iterable[Any]) -> Iterator[Outcome]:
    for index, value in enumerate(items):
        source = Source(index=index, line=index + 1, url="", key=index.to_bytes(16, "big"))
        packed = _packed(index, value, "item") if stage.pickled else _Done(value)
        if isinstance(packed, Failed):
            yield Failure(source=source, stage=stage.name, code=packed.code, message=packed.message)
        else:
            yield Item(source=source, value=packed.value)


def _packed(index: int, value: Any, what: str) -> _Done[bytes] | Failed:
    try:
        return _Done(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except Exception as error:  # noqa: BLE001 - whatever pickle raises on a value concerns this item only
        return _unsent(index, what, error)


def _unsent(index: int, what: str, error: Exception) -> Failed:
    message = f"the {what} cannot be sent between processes: {type(error).__name__}: {error}"
    return Failed(index=index, code="not_picklable", message=message)


def _result(outcome: Outcome, *, pickled: bool) -> tuple[int, Any]:
    """The item's index, and what it came to."""
    index = outcome.source.index
    if isinstance(outcome, Failure):
        return index, Failed(index=index, code=str(outcome.code), message=outcome.message)
    assert isinstance(outcome, Item)  # a stage of calls rejects nothing
    if isinstance(outcome.value, Failed):
        return index, outcome.value
    if not pickled:
        return index, outcome.value.value
    try:
        return index, pickle.loads(outcome.value.value)
    except Exception as error:  # noqa: BLE001 - as above
        return index, _unsent(index, "result", error)


def _check_importable(function: Callable[..., Any]) -> None:
    """Raises TypeError unless a fresh process finds the function, and all that it is made of, by name."""
    name = getattr(function, "__qualname__", repr(function))
    advice = 'define it at the top level of a module of its own and import it from there, or use mode = "thread"'
    try:
        packed = pickle.dumps(function)
    except Exception as error:
        raise TypeError(f"{name} cannot be sent to a process ({type(error).__name__}): {advice}") from error
    if b"__main__" in packed:
        raise TypeError(f"{name} is defined in the main script or notebook, which a worker does not run: {advice}")


def _executor(mode: Mode, workers: int, timeout_seconds: float) -> Executor:
    if mode is Mode.SERIAL:
        return SerialExecutor()
    if mode is Mode.THREAD:
        return ThreadExecutor(workers=workers)
    return ProcessExecutor(workers=workers, timeout_seconds=timeout_seconds)


class _Window:
    """Lets so many items in, and one more for each result that was taken. Waited for by the executor's feeder."""

    def __init__(self, size: int) -> None:
        self._room = threading.Semaphore(size)
        self._closed = False  # written by the caller's thread, which then makes room for the feeder to see it

    def admit(self, items: Iterator[Outcome]) -> Iterator[Outcome]:
        """The items, each when there is room for it; none after `close`."""
        while self._room.acquire() and not self._closed:
            item = next(items, None)
            if item is None:
                return
            yield item

    def release(self) -> None:
        """A result is taken."""
        self._room.release()

    def close(self) -> None:
        """No more results will be taken."""
        self._closed = True
        self._room.release()
