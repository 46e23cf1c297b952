"""Shared memory and its price: what a child's change is worth to the parent, and updates that get lost."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from batchproc.executors import ThreadExecutor
from batchproc.executors.worker import start_context
from batchproc.lab.batches import Size, executor_of, plain_items
from batchproc.lab.stages import Echo, Remember, changes
from batchproc.lab.table import Table, counted, measured
from batchproc.model import Item, Mode

THREADS = 4
PLAIN_UPDATES = 50_000
SLOW_UPDATES = 100
HANDED = 2_000
NO_LOCK = nullcontext()


class Account:
    """A shared number. Deliberately without a lock: the experiments look at what that costs."""

    def __init__(self) -> None:
        self.total = 0


def own_memory(_size: Size) -> Table:
    """Ten changes of a module's list, in threads and in processes: how many the parent sees."""
    start_context(Remember().preload)
    made: dict[str, float] = {}
    longest, seen = dict(made), dict(made)
    for name, mode in (("processes", Mode.PROCESS), ("threads", Mode.THREAD)):
        changes.clear()
        stage = Remember()
        with executor_of(mode, 2, stage) as executor:
            outcomes = list(executor.run(stage, plain_items([None] * 10)))
        done = [one.value for one in outcomes if isinstance(one, Item)]
        made[name], longest[name], seen[name] = len(done), max(done), len(changes)
    return Table(x="workers", series=(
        counted("made", "changes", made),
        counted("in one worker", "changes", longest),
        counted("seen by the parent", "changes", seen),
    ))  # fmt: skip


def lost_updates(size: Size) -> Table:
    """Four threads add to one number: plainly, slowly without a lock, with a lock, and through a queue."""
    plain, slow = size.items(PLAIN_UPDATES), size.items(SLOW_UPDATES)
    ways: dict[str, tuple[Callable[[int], int], int]] = {
        "x += 1": (_plain, plain),
        "read, yield, write": (_read_yield_write, slow),
        "with a lock": (_with_lock, slow),
        "through a queue": (_with_queue, slow),
    }
    lost: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(size.rounds):
        for name, (way, updates) in ways.items():
            lost[name].append(1 - way(updates) / (THREADS * updates))
    return Table(x="way", series=(
        measured("lost", "share", lost),
        counted("worst round", "share", {name: max(values) for name, values in lost.items()}),
        counted("of", "updates", {name: THREADS * updates for name, (_, updates) in ways.items()}),
    ))  # fmt: skip


def through_queue(size: Size) -> Table:
    """Items through the thread executor, whose stages hold no lock: how many came out twice or not at all."""
    count = size.items(HANDED)
    with ThreadExecutor(workers=THREADS) as executor:
        out = [one.source.index for one in executor.run(Echo(), plain_items([None] * count))]
    found = {"handed over": count, "missing": len(set(range(count)) - set(out)), "twice": len(out) - len(set(out))}
    return Table(x="what", series=(counted("through the thread executor", "items", found),))


def _plain(updates: int) -> int:
    """`x += 1`: three instructions, between which any other thread may run; whether it does depends on the build."""
    account = Account()

    def add_one() -> None:
        account.total += 1

    return _in_threads(account, add_one, updates)


def _read_yield_write(updates: int, lock: AbstractContextManager[object] = NO_LOCK) -> int:
    """Reads, lets the others run, writes: what any I/O between reading and writing does, made certain."""
    account = Account()

    def add_one() -> None:
        with lock:
            seen = account.total
            time.sleep(0)
            account.total = seen + 1

    return _in_threads(account, add_one, updates)


def _with_lock(updates: int) -> int:
    """The same with a lock around the three."""
    return _read_yield_write(updates, threading.Lock())


def _with_queue(updates: int) -> int:
    """The same without any lock: the threads put, and one alone reads, lets others run, and writes."""
    account = Account()
    waiting: queue.Queue[int] = queue.Queue()

    def collect() -> None:
        for _ in range(THREADS * updates):
            seen = account.total
            time.sleep(0)
            account.total = seen + waiting.get()

    collector = threading.Thread(target=collect, name="collector")
    collector.start()
    _in_threads(account, lambda: waiting.put(1), updates)
    collector.join()
    return account.total


def _in_threads(account: Account, add_one: Callable[[], None], updates: int) -> int:
    """The total when every thread has made its updates."""

    def add_all() -> None:
        for _ in range(updates):
            add_one()

    threads = [threading.Thread(target=add_all, name=f"adder-{number}") for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return account.total
