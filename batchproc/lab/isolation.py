"""What workers share and what they do not: memory, updates that get lost, hangs and crashes that take others along.

Where a mode cannot recover, the case runs in a child process that prints what it saw and is then ended from outside.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from batchproc.errors import Code
from batchproc.executors import ProcessExecutor, ThreadExecutor
from batchproc.executors.worker import start_context
from batchproc.lab.batches import (
    BEAT_SECONDS,
    CRASH,
    HANG,
    Echo,
    Fragile,
    Remember,
    Size,
    beats,
    changes,
    executor_of,
    plain_items,
)  # fmt: skip
from batchproc.lab.results import ResultTable, SeriesKind, counted, measured
from batchproc.model import Failure, Item, Mode, Outcome

THREADS = 4
PLAIN_UPDATES = 50_000
SLOW_UPDATES = 100
HANDED = 2_000
NO_LOCK = nullcontext()


class Counter:
    """A shared number. Deliberately without a lock: the experiments look at what that costs."""

    def __init__(self) -> None:
        self.total = 0


def own_memory(_size: Size) -> ResultTable:
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
    return ResultTable(x="workers", series=(
        counted("made", "changes", made),
        counted("in one worker", "changes", longest),
        counted("seen by the parent", "changes", seen),
    ))  # fmt: skip


def lost_updates(size: Size) -> ResultTable:
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
    return ResultTable(x="way", series=(
        measured("lost", "share", lost),
        counted("worst round", "share", {name: max(values) for name, values in lost.items()}),
        counted("of", "updates", {name: THREADS * updates for name, (_, updates) in ways.items()}),
    ))  # fmt: skip


def through_queue(size: Size) -> ResultTable:
    """Items through the thread executor, whose stages hold no lock: how many came out twice or not at all."""
    count = size.items(HANDED)
    with ThreadExecutor(workers=THREADS) as executor:
        out = [one.source.index for one in executor.run(Echo(), plain_items([None] * count))]
    found = {"handed over": count, "missing": len(set(range(count)) - set(out)), "twice": len(out) - len(set(out))}
    return ResultTable(x="what", series=(counted("through the thread executor", "items", found),))


def _plain(updates: int) -> int:
    """`x += 1`: three instructions, between which any other thread may run; whether it does depends on the build."""
    counter = Counter()

    def add_one() -> None:
        counter.total += 1

    return _in_threads(counter, add_one, updates)


def _read_yield_write(updates: int, lock: AbstractContextManager[object] = NO_LOCK) -> int:
    """Reads, lets the others run, writes: what any I/O between reading and writing does, made certain."""
    counter = Counter()

    def add_one() -> None:
        with lock:
            seen = counter.total
            time.sleep(0)
            counter.total = seen + 1

    return _in_threads(counter, add_one, updates)


def _with_lock(updates: int) -> int:
    """The same with a lock around the three."""
    return _read_yield_write(updates, threading.Lock())


def _with_queue(updates: int) -> int:
    """The same without any lock: the threads put, and one alone reads, lets others run, and writes."""
    counter = Counter()
    waiting: queue.Queue[int] = queue.Queue()

    def collect() -> None:
        for _ in range(THREADS * updates):
            seen = counter.total
            time.sleep(0)
            counter.total = seen + waiting.get()

    collector = threading.Thread(target=collect, name="collector")
    collector.start()
    _in_threads(counter, lambda: waiting.put(1), updates)
    collector.join()
    return counter.total


def _in_threads(counter: Counter, add_one: Callable[[], None], updates: int) -> int:
    """The total when every thread has made its updates."""

    def add_all() -> None:
        for _ in range(updates):
            add_one()

    threads = [threading.Thread(target=add_all, name=f"adder-{number}") for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counter.total


ITEMS = 12
BAD_ITEM = 5
WORKERS = 2
DEADLINE_SECONDS = 0.3
WATCHED_SECONDS = 1.0  # so long after the deadline, when the executor was told to stop, it is looked at again
CHILD_SECONDS = 30.0


def hang(size: Size) -> ResultTable:
    """One item of twelve hangs for ever, with a deadline of 0.3 s: who goes on, and when."""
    found = [_in_processes(HANG, timeout_seconds=DEADLINE_SECONDS) for _ in range(size.rounds)]
    codes = {failure.code for _, failures, _ in found for failure in failures}
    watched = {str(mode): _ask_child("watch_hang", str(mode), str(WATCHED_SECONDS * size.effort))
               for mode in (Mode.THREAD, Mode.SERIAL)}  # fmt: skip
    hanging = {mode: one["watched_seconds"] if one["hangs"] else 0.0 for mode, one in watched.items()}
    done: dict[str, float] = {"process": min(done for done, _, _ in found)}
    return ResultTable(
        x="mode",
        series=(
            counted("done", "items", done | {mode: one["done"] for mode, one in watched.items()}),
            measured("through after", "s", {"process": [seconds for _, _, seconds in found]}, SeriesKind.FIGURE),
            counted("still hanging after", "s", hanging),
            counted("killed at the deadline", "items", {"process": float(codes == {Code.WORKER_TIMEOUT})}),
        ),
        facts={"items": ITEMS, "deadline_seconds": DEADLINE_SECONDS},
    )


def crash(size: Size) -> ResultTable:
    """One item of twelve ends its process in the middle of the work: what is left of the run."""
    clean = [_in_processes(None)[2] for _ in range(size.rounds)]
    found = [_in_processes(CRASH) for _ in range(size.rounds)]
    lost: dict[str, list[float]] = {"process": [float(ITEMS - done) for done, _, _ in found]}
    for mode in (Mode.THREAD, Mode.SERIAL):
        lost[str(mode)] = [float(ITEMS - _count_until_crash(mode)) for _ in range(min(3, size.rounds))]
    return ResultTable(
        x="mode",
        series=(
            measured("lost", "items", lost),
            measured("a run with a crash", "s", {"process": [seconds for _, _, seconds in found]}, SeriesKind.FIGURE),
            measured("a run without", "s", {"process": clean}, SeriesKind.FIGURE),
        ),
        facts={"items": ITEMS},
    )


def watch_hang() -> None:
    """The child of `hang`: runs the items in the mode named last, and prints after a while what still hangs."""
    mode, watched_seconds = Mode(sys.argv[1]), float(sys.argv[2])
    executor = executor_of(mode, WORKERS, Fragile())
    done: list[Outcome] = []

    def work() -> None:
        executor.__enter__()
        for outcome in executor.run(Fragile(), plain_items(_values(HANG))):
            done.append(outcome)

    threading.Thread(target=work, name="run", daemon=True).start()
    started = time.monotonic()
    while len(done) < ITEMS - 1 and time.monotonic() - started < DEADLINE_SECONDS:
        time.sleep(0.01)
    executor.stop()
    time.sleep(watched_seconds)
    before = len(beats)
    time.sleep(max(watched_seconds / 5, 10 * BEAT_SECONDS))
    _print_json({"done": len(done), "hangs": len(beats) > before, "watched_seconds": time.monotonic() - started})
    time.sleep(CHILD_SECONDS)  # the thread would keep us here anyway; the parent ends us now


def run_until_crash() -> None:
    """The child of `crash`: prints a line per item done, until it is no more."""
    mode = Mode(sys.argv[1])
    with executor_of(mode, WORKERS, Fragile()) as executor:
        for outcome in executor.run(Fragile(), plain_items(_values(CRASH))):
            _print_json({"done": outcome.source.index})


def _in_processes(what: str | None, timeout_seconds: float = 0.0) -> tuple[int, list[Failure], float]:
    """Items done, failures, and seconds from the first item's going in to the last one's coming out."""
    stage = Fragile()
    start_context(stage.preload)
    with ProcessExecutor(workers=WORKERS, preload=stage.preload, timeout_seconds=timeout_seconds) as executor:
        started = time.perf_counter()
        outcomes = list(executor.run(stage, plain_items(_values(what))))
        seconds = time.perf_counter() - started
    failures = [one for one in outcomes if isinstance(one, Failure)]
    return sum(isinstance(one, Item) for one in outcomes), failures, seconds


def _values(what: str | None) -> list[str | None]:
    return [what if number == BAD_ITEM else None for number in range(ITEMS)]


def _count_until_crash(mode: Mode) -> int:
    with _child("run_until_crash", str(mode)) as child:
        text, _ = child.communicate(timeout=CHILD_SECONDS)
    return len(text.splitlines())


def _ask_child(function: str, *arguments: str) -> dict[str, Any]:
    """The first line that a child prints; then it is killed, whatever still hangs in it."""
    with _child(function, *arguments) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
        finally:
            child.kill()
    answer: dict[str, Any] = json.loads(line)
    return answer


def _child(function: str, *arguments: str) -> "subprocess.Popen[str]":
    code = f"from batchproc.lab.isolation import {function}; {function}()"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _print_json(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
