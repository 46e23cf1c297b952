"""When an OS process began, on the clock of the spans: what a worker's start costs before its first line runs."""

import os
import sys
import time


def process_started() -> float | None:
    """The perf_counter time at which the calling process was forked, to 10 ms; None where the system does not tell.

    Linux: field 22 of `/proc/self/stat` counts ticks since boot, and perf_counter stands still in suspend as the clock
    since boot does not, so both are read now and subtracted. A process forked by a fork server began at its own fork.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        descriptor = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter() - age
