"""Where the interpreter's lock lies: learnt once from spinning threads, then found in any process of the build.

A thread that waits for the GIL sits in `futex()` on a word of `_PyRuntime`, static data of the executable or of
libpython. Its distance from the start of that file's mapping is the same in every process that runs the same build,
wherever the loader put it. So the sampler learns it from a child of its own and adds nothing to the measured one.
Linux only; elsewhere, and where the kernel does not let us look, the answer is `GilUnknown` with its reason.
"""

import _thread
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ARCHITECTURE = os.uname().machine if sys.platform != "win32" else ""  # `platform` is slow to import
FUTEX = {"x86_64": 202, "aarch64": 98}.get(ARCHITECTURE, -1)
LEARNING_SECONDS = 1.0  # at most, on a machine so busy that the two threads rarely meet
SAMPLES_ENOUGH = 2
# The condition that waiters sleep on, its mutex, and the pair used when the lock is handed over on request lie side by
# side (`struct _gil_runtime_state`: 48 + 40 + 48 + 40 bytes with glibc); any of them may be the one not seen in time.
NEIGHBOURHOOD_BYTES = 176
HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """One line of `/proc/PID/maps`. `file` is (device, inode, path); inode 0 means memory without a file."""

    low: int
    high: int
    file: tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GilPlace:
    """The bytes that hold the GIL's condition and mutex, counted from the first mapping of `file`."""

    file: tuple[str, int, str]
    low_offset: int
    high_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GilUnknown:
    """Waiting for the GIL cannot be seen here; `reason` is a phrase for the report."""

    reason: str


def futex_address(line: bytes) -> int | None:
    """The address that a thread waits on, from its `/proc/PID/task/TID/syscall`; None when it is not in `futex()`."""
    words = line.split(b" ", 2)
    return int(words[1], 16) if len(words) == 3 and words[0] == b"%d" % FUTEX else None


def parse_maps(text: str) -> tuple[Mapping, ...]:
    """The mappings of a process, in the order of their addresses (proc(5))."""
    return tuple(map(_mapping, text.splitlines()))


def _mapping(line: str) -> Mapping:
    span, _mode, _offset, device, inode, *path = line.split(maxsplit=5)
    low, high = span.split("-")
    return Mapping(low=int(low, 16), high=int(high, 16), file=(device, int(inode), path[0].strip() if path else ""))


def file_behind(maps: tuple[Mapping, ...], address: int) -> tuple[tuple[str, int, str], int] | None:
    """The file whose static data holds `address`, and the offset from that file's first mapping.

    Zero-initialised data lies in memory without a file, right behind the file's last mapping: it counts as the file's.
    """
    previous: Mapping | None = None
    for mapping in maps:
        file = mapping.file
        if file[1] == 0 and previous and previous.high == mapping.low and file[2] != "[heap]":
            file = previous.file
        if mapping.low <= address < mapping.high:
            return (file, address - first_address(maps, file)) if file[1] else None
        previous = Mapping(low=mapping.low, high=mapping.high, file=file)
    return None


def first_address(maps: tuple[Mapping, ...], file: tuple[str, int, str]) -> int:
    """Where `file` begins in memory. Raises `LookupError` when it is not mapped."""
    for mapping in maps:
        if mapping.file[:2] == file[:2]:
            return mapping.low
    raise LookupError(file[2])


def locate(pid: int, place: GilPlace) -> range | GilUnknown:
    """The addresses of the GIL of process `pid`."""
    try:
        first = first_address(parse_maps(Path(f"/proc/{pid}/maps").read_text()), place.file)
    except LookupError:
        return GilUnknown(reason="the process runs another build of Python")
    except OSError as error:
        return GilUnknown(reason=f"its memory map cannot be read ({os.strerror(error.errno or 0)})")
    return range(first + place.low_offset, first + place.high_offset)


def learn() -> GilPlace | GilUnknown:
    """Finds the GIL of the calling process's own build, in about 5 ms (at most 1 s).

    Forks a child whose two threads spin, and watches them from here: whoever looks while it wants the same GIL itself
    disturbs what it looks at. To be called while this process has one thread only.
    """
    if not sys.platform.startswith("linux"):
        return GilUnknown(reason=f"{sys.platform} does not show what a thread waits for")
    if FUTEX < 0:
        return GilUnknown(reason=f"system call numbers of {ARCHITECTURE} are not known")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return GilUnknown(reason="this interpreter runs without a GIL")
    child = os.fork()
    if child == 0:
        _spin_in_two_threads()
    try:
        return place_of(parse_maps(Path(f"/proc/{child}/maps").read_text()), _watch(child))
    except OSError as error:
        return GilUnknown(reason=f"/proc/PID/task/TID/syscall cannot be read ({os.strerror(error.errno or 0)})")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def place_of(maps: tuple[Mapping, ...], seen: Counter[int]) -> GilPlace | GilUnknown:
    """The GIL's place, from the futex addresses seen in threads that wait for nothing else."""
    found = [hit for address in seen if (hit := file_behind(maps, address))]
    if not seen:
        return GilUnknown(reason="two spinning threads were never seen waiting for each other")
    if len({file for file, _ in found}) != 1:
        return GilUnknown(reason="the GIL does not lie in the static data of one file")
    offsets = [offset for _, offset in found]
    return GilPlace(
        file=found[0][0],
        low_offset=min(offsets) - NEIGHBOURHOOD_BYTES,
        high_offset=max(offsets) + NEIGHBOURHOOD_BYTES,
    )


def _spin_in_two_threads() -> NoReturn:
    """The child's whole life; it ends by itself, lest it outlive a parent that was killed."""
    end = time.monotonic() + 2 * LEARNING_SECONDS
    _thread.start_new_thread(_spin, (end,))  # `threading` would wait for the start, on a lock of its own
    _spin(end)
    os._exit(0)


def _spin(end: float) -> None:
    while time.monotonic() < end:
        pass


def _watch(child: int) -> Counter[int]:
    seen: Counter[int] = Counter()
    end = time.monotonic() + LEARNING_SECONDS
    while seen.total() < SAMPLES_ENOUGH and time.monotonic() < end:
        time.sleep(0.001)
        seen.update(_futexes(child))
    return seen


def _futexes(child: int) -> list[int]:
    lines = [path.read_bytes() for path in Path(f"/proc/{child}/task").glob("*/syscall")]
    return [address for line in lines if (address := futex_address(line)) is not None]


def held_fraction(speed: float, threads: int) -> tuple[float, float]:
    """Least and most of its CPU time that a task holds the GIL, 0 to 1, from what waiting for it costs.

    `speed`: of one of several threads that all have work, against one that never waits for the GIL. In a convoy each
    waits for a whole turn of every other: speed 1/(1 + (n-1) phi), the least. With random arrivals the threads are
    customers of one server, the GIL, by exact mean value analysis: the most. For two threads and S2 = 2 speed that is
    between 2/S2 - 1 and sqrt(2/S2 - 1).
    """
    if speed >= 1:
        return 0.0, 0.0
    convoy = min(1.0, (1 / speed - 1) / (threads - 1))
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _queueing_speed(middle, threads) > speed else (low, middle)
    return convoy, max(convoy, (low + high) / 2)


def _queueing_speed(phi: float, threads: int) -> float:
    """Speed of one of n threads against one alone, by mean value analysis of one server and n customers."""
    waiting = passed = 0.0
    for customers in range(1, threads + 1):
        inside = phi * (1 + waiting)
        passed = customers / (1 - phi + inside)
        waiting = passed * inside
    return passed / threads
