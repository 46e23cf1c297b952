"""Hangs and crashes, injected: what each mode loses, and how long it takes to recover.

Where a mode cannot recover, the case runs in a child process that prints what it saw and is then ended from outside.
"""

import json
import subprocess
import sys
import threading
import time
from typing import Any

from batchproc.errors import Code
from batchproc.executors import ProcessExecutor
from batchproc.executors.worker import start_context
from batchproc.lab.batches import Size, executor_of, plain_items
from batchproc.lab.stages import BEAT_SECONDS, CRASH, HANG, Fragile, beats
from batchproc.lab.table import Kind, Table, counted, measured
from batchproc.model import Failure, Item, Mode, Outcome

ITEMS = 12
BAD_ITEM = 5
WORKERS = 2
DEADLINE_SECONDS = 0.3
WATCHED_SECONDS = 1.0  # so long after the deadline, when the executor was told to stop, it is looked at again
CHILD_SECONDS = 30.0


def hang(size: Size) -> Table:
    """One item of twelve hangs for ever, with a deadline of 0.3 s: who goes on, and when."""
    found = [_in_processes(HANG, timeout_seconds=DEADLINE_SECONDS) for _ in range(size.rounds)]
    codes = {failure.code for _, failures, _ in found for failure in failures}
    watched = {str(mode): _ask_child("watch_hang", str(mode), str(WATCHED_SECONDS * size.effort))
               for mode in (Mode.THREAD, Mode.SERIAL)}  # fmt: skip
    hanging = {mode: one["watched_seconds"] if one["hangs"] else 0.0 for mode, one in watched.items()}
    done: dict[str, float] = {"process": min(done for done, _, _ in found)}
    return Table(
        x="mode",
        series=(
            counted("done", "items", done | {mode: one["done"] for mode, one in watched.items()}),
            measured("through after", "s", {"process": [seconds for _, _, seconds in found]}, Kind.FIGURE),
            counted("still hanging after", "s", hanging),
            counted("killed at the deadline", "items", {"process": float(codes == {Code.WORKER_TIMEOUT})}),
        ),
        facts={"items": ITEMS, "deadline_seconds": DEADLINE_SECONDS},
    )


def crash(size: Size) -> Table:
    """One item of twelve ends its process in the middle of the work: what is left of the run."""
    clean = [_in_processes(None)[2] for _ in range(size.rounds)]
    found = [_in_processes(CRASH) for _ in range(size.rounds)]
    lost: dict[str, list[float]] = {"process": [float(ITEMS - done) for done, _, _ in found]}
    for mode in (Mode.THREAD, Mode.SERIAL):
        lost[str(mode)] = [float(ITEMS - _count_until_crash(mode)) for _ in range(min(3, size.rounds))]
    return Table(
        x="mode",
        series=(
            measured("lost", "items", lost),
            measured("a run with a crash", "s", {"process": [seconds for _, _, seconds in found]}, Kind.FIGURE),
            measured("a run without", "s", {"process": clean}, Kind.FIGURE),
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
    code = f"from batchproc.lab.experiments.faults import {function}; {function}()"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
