"""`batchproc status --watch`: the state of a job again and again, until its run ends.

On a terminal one screen that is drawn anew; elsewhere a line whenever something has changed. Reads and changes nothing.
"""

import time
from collections.abc import Callable
from datetime import datetime

from batchproc.explain.words import count, significant
from batchproc.report.status import STATES, JobStatus, describe_status

REFRESH_SECONDS = 2.0
MOST_SHARE = 0.1  # of the time that is spent with reading: a large ledger is looked at less often
HOME_AND_CLEAR = "\x1b[H\x1b[J"

Show = Callable[[JobStatus, float | None], None]  # with the items that came to their end per second, where known


def watch(
    read: Callable[[], JobStatus],
    show: Show,
    *,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Shows the state, and again while a run is under way; returns when it has ended. Ends with KeyboardInterrupt."""
    before: tuple[float, int] | None = None
    while True:
        asked = clock()
        status = read()
        now, ended = clock(), status.counts.items - status.counts.pending
        rate = (ended - before[1]) / (now - before[0]) if before and now > before[0] else None
        show(status, rate)
        if status.running is None:
            return
        before = (now, ended)
        wait(max(REFRESH_SECONDS, (now - asked) / MOST_SHARE))


def screen(write: Callable[[str], object], size: Callable[[], tuple[int, int]]) -> Show:
    """Draws the whole state over the last one, cut to the terminal's columns and lines."""

    def show(status: JobStatus, rate: float | None) -> None:
        columns, lines = size()
        speed = "" if rate is None else f"\n{significant(rate)} items/s just now"
        text = describe_status(status) + speed
        write(HOME_AND_CLEAR + "\n".join(line[: columns - 1] for line in text.split("\n")[: lines - 1]) + "\n")

    return show


def lines(write: Callable[[str], object], now: Callable[[], datetime]) -> Show:
    """Writes a line where something has changed, and the whole state at the end."""
    last = ""

    def show(status: JobStatus, rate: float | None) -> None:
        nonlocal last
        line = _progress(status)
        if line != last:
            speed = f"; {significant(rate)} items/s" if rate else ""
            write(f"{now():%H:%M:%S} {line}{speed}\n")
            last = line
        if status.running is None:
            write(f"{describe_status(status)}\n")

    return show


def _progress(status: JobStatus) -> str:
    numbers = {state: getattr(status.counts, state) for state in STATES}
    states = ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number)
    return f"{count(status.counts.items, 'item')}: {states}"
