"""Shared memory and its price: what a child's change is worth to the parent, and updates that get lost."""

import queue
import threading
import time
from collections.abc import Callable, Iterator

from batchproc.bench.experiments.crew import executor_of, plain_items
from batchproc.bench.experiments.number import Number, counted, repeated
from batchproc.bench.experiments.size import Size
from batchproc.bench.experiments.stages import Echo, Remember, changes
from batchproc.executors import ThreadExecutor
from batchproc.executors.worker import start_context
from batchproc.model import Item, Mode

THREADS = 4
PLAIN_UPDATES = 50_000
SLOW_UPDATES = 100
HANDED = 2_000


class Account:
    """A shared number. Deliberately without a lock: the experiments look at what that costs."""

    def __init__(self) -> None:
        self.total = 0


def own_memory(_size: Size) -> Iterator[Number]:
    """Ten changes of a module's list, in threads and in processes: how many the parent sees."""
    start_context(Remember().preload)
    for mode in (Mode.PROCESS, Mode.THREAD):
        changes.clear()
        stage = Remember()
        with executor_of(mode, 2, stage) as executor:
            outcomes = list(executor.run(stage, plain_items([None] * 10)))
        done = [one for one in outcomes if isinstance(one, Item)]
        yield counted(f"{mode}_changes_made", len(done), "changes")
        yield counted(f"{mode}_changes_told", max(one.value for one in done), "changes")
        yield counted(f"{mode}_changes_seen", len(changes), "changes")


def lost_updates(size: Size) -> Iterator[Number]:
    """Four threads add to one number: plainly, slowly without a lock, with a lock, and through a queue."""
    plain, slow = size.items(PLAIN_UPDATES), size.items(SLOW_UPDATES)
    ways: dict[str, tuple[Callable[[int], int], int]] = {
        "plain": (_plain, plain),
        "read_yield_write": (_read_yield_write, slow),
        "with_lock": (_with_lock, slow),
        "with_queue": (_with_queue, slow),
    }
    lost: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(size.rounds):
        for name, (way, updates) in ways.items():
            lost[name].append(1 - way(updates) / (THREADS * updates))
    for name, values in lost.items():
        yield repeated(f"{name}_lost", values, "share")
        yield counted(f"{name}_worst", max(values), "share")
    yield counted("plain_updates", THREADS * plain, "updates")
    yield counted("read_yield_write_updates", THREADS * slow, "updates")


def through_queue(size: Size) -> Iterator[Number]:
    """Items through the thread executor, whose stages hold no lock: how many came out twice or not at all."""
    count = size.items(HANDED)
    with ThreadExecutor(workers=THREADS) as executor:
        out = [one.source.index for one in executor.run(Echo(), plain_items([None] * count))]
    yield counted("handed", count, "items")
    yield counted("missing", len(set(range(count)) - set(out)), "items")
    yield counted("twice", len(out) - len(set(out)), "items")


def _plain(updates: int) -> int:
    """`x += 1`: three instructions, between which any other thread may run; whether it does depends on the build."""
    account = Account()

    def add() -> None:
        for _ in range(updates):
            account.total += 1

    _in_threads(add)
    return account.total


def _read_yield_write(updates: int) -> int:
    """Reads, lets the others run, writes: what any I/O between reading and writing does, made certain."""
    account = Account()

    def add() -> None:
        for _ in range(updates):
            seen = account.total
            time.sleep(0)
            account.total = seen + 1

    _in_threads(add)
    return account.total


def _with_lock(updates: int) -> int:
    """The same with a lock around the three."""
    account, lock = Account(), threading.Lock()

    def add() -> None:
        for _ in range(updates):
            with lock:
                seen = account.total
                time.sleep(0)
                account.total = seen + 1

    _in_threads(add)
    return account.total


def _with_queue(updates: int) -> int:
    """The same without any lock: the threads put, and one alone reads, lets others run, and writes."""
    account = Account()
    updates_queue: queue.Queue[int] = queue.Queue()

    def add() -> None:
        for _ in range(updates):
            updates_queue.put(1)

    def collect() -> None:
        for _ in range(THREADS * updates):
            seen = account.total
            time.sleep(0)
            account.total = seen + updates_queue.get()

    collector = threading.Thread(target=collect, name="collector")
    collector.start()
    _in_threads(add)
    collector.join()
    return account.total


def _in_threads(body: Callable[[], None]) -> None:
    threads = [threading.Thread(target=body, name=f"adder-{number}") for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
