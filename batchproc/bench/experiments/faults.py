"""Hangs and crashes, injected: what each mode loses, and how long it takes to recover.

Where a mode cannot recover, the case runs in a child process that prints what it saw and is then ended from outside.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from batchproc.bench.experiments.crew import executor_of, plain_items
from batchproc.bench.experiments.number import Number, counted, repeated
from batchproc.bench.experiments.size import Size
from batchproc.bench.experiments.stages import BEAT_SECONDS, CRASH, HANG, Fragile, beats
from batchproc.errors import Code
from batchproc.executors import ProcessExecutor
from batchproc.executors.worker import start_context
from batchproc.model import Failure, Item, Mode, Outcome

ITEMS = 12
BAD_ITEM = 5
WORKERS = 2
DEADLINE_SECONDS = 0.3
WATCHED_SECONDS = 1.0  # so long after the deadline, when the executor was told to stop, it is looked at again
CHILD_SECONDS = 30.0


def hang(size: Size) -> Iterator[Number]:
    """One item of twelve hangs for ever, with a deadline of 0.3 s: who goes on, and when."""
    yield counted("deadline", DEADLINE_SECONDS, "s")
    found = [_in_processes(HANG, timeout_seconds=DEADLINE_SECONDS) for _ in range(size.rounds)]
    codes = {failure.code for _, failures, _ in found for failure in failures}
    yield repeated("process_recovery_seconds", [seconds for _, _, seconds in found], "s")
    yield repeated("process_done", [float(done) for done, _, _ in found], "items")
    yield counted("process_killed", float(codes == {Code.WORKER_TIMEOUT}), "yes = 1")
    for mode in (Mode.THREAD, Mode.SERIAL):
        told = _ask_child("watch_hang", str(mode), str(WATCHED_SECONDS * size.effort))
        yield counted(f"{mode}_done", told["done"], "items")
        yield counted(f"{mode}_hangs_after_seconds", told["watched_seconds"] if told["hangs"] else 0.0, "s")
    yield counted("items", ITEMS, "items")


def crash(size: Size) -> Iterator[Number]:
    """One item of twelve ends its process in the middle of the work: what is left of the run."""
    clean = [_in_processes(None)[2] for _ in range(size.rounds)]
    found = [_in_processes(CRASH) for _ in range(size.rounds)]
    yield repeated("process_lost", [float(ITEMS - done) for done, _, _ in found], "items")
    yield repeated("process_run_seconds", [seconds for _, _, seconds in found], "s")
    yield repeated("process_clean_run_seconds", clean, "s")
    for mode in (Mode.THREAD, Mode.SERIAL):
        done = [_count_until_crash(mode) for _ in range(min(3, size.rounds))]
        yield repeated(f"{mode}_lost", [float(ITEMS - each) for each in done], "items")
    yield counted("items", ITEMS, "items")


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
    _tell({"done": len(done), "hangs": len(beats) > before, "watched_seconds": time.monotonic() - started})
    time.sleep(CHILD_SECONDS)  # the thread would keep us here anyway; the parent ends us now


def run_until_crash() -> None:
    """The child of `crash`: prints a line per item done, until it is no more."""
    mode = Mode(sys.argv[1])
    with executor_of(mode, WORKERS, Fragile()) as executor:
        for outcome in executor.run(Fragile(), plain_items(_values(CRASH))):
            _tell({"done": outcome.source.index})


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
    told: dict[str, Any] = json.loads(line)
    return told


def _child(function: str, *arguments: str) -> "subprocess.Popen[str]":
    code = f"from batchproc.bench.experiments.faults import {function}; {function}()"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
