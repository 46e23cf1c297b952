"""What the threads of a process wait for, read from outside, and the totals by role. Runs in the sampler.

One `ThreadWaits` per watched process, to which nothing is added. A thread's kind of wait comes from the system call it
sits in (`/proc/PID/task/TID/syscall`), its role from its name (`/proc/PID/task/TID/comm`).

A thread that waits for the GIL sits in `futex()` on a word of `_PyRuntime`, static data of the executable or of
libpython. Its distance from the start of that file's mapping is the same in every process that runs the same build,
wherever the loader put it. So the sampler learns it once, from spinning threads of a child of its own. Linux only;
elsewhere, and where the kernel does not let us look, the answer is `GilUnknown` with its reason.
"""

import _thread
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from msgspec import Struct, field

from batchproc.measure.processes import text_of
from batchproc.measure.samples import WaitShares

ARCHITECTURE = os.uname().machine if sys.platform != "win32" else ""  # `platform` is slow to import
FUTEX = {"x86_64": 202, "aarch64": 98}.get(ARCHITECTURE, -1)
LEARNING_SECONDS = 1.0  # at most, on a machine so busy that the two threads rarely meet
SAMPLES_ENOUGH = 2
# The condition that waiters sleep on, its mutex, and the pair used when the lock is handed over on request lie side by
# side (`struct _gil_runtime_state`: 48 + 40 + 48 + 40 bytes with glibc); any of them may be the one not seen in time.
NEIGHBOURHOOD_BYTES = 176


class Mapping(Struct, frozen=True, kw_only=True):
    """One line of `/proc/PID/maps`. `file` is (device, inode, path); inode 0 means memory without a file."""

    low: int
    high: int
    file: tuple[str, int, str]


class GilPlace(Struct, frozen=True, kw_only=True):
    """The bytes that hold the GIL's condition and mutex, counted from the first mapping of `file`."""

    file: tuple[str, int, str]
    low_offset: int
    high_offset: int


class GilUnknown(Struct, frozen=True, kw_only=True):
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


class ThreadState(StrEnum):
    """What a thread was doing at one instant."""

    RUNNING = "running"  # on a core, or ready for one
    GIL = "gil"
    LOCK = "lock"  # any other futex: a lock, a queue, an event
    NETWORK = "network"  # receive, send, connect, poll
    PIPE = "pipe"  # read or write on a pipe or a socket: the channel between processes, or TLS
    DISK = "disk"  # read, write, open, sync or rename of a file
    SLEEP = "sleep"
    OTHER = "other"


# System call numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_CALLS: dict[str, dict[ThreadState, frozenset[int]]] = {
    "x86_64": {
        ThreadState.NETWORK: frozenset({7, 23, 42, 43, 44, 45, 46, 47, 232, 270, 271, 281, 288, 299, 307, 441}),
        ThreadState.PIPE: frozenset({0, 1, 19, 20}),  # or a file: the descriptor tells
        ThreadState.DISK: frozenset({2, 17, 18, 40, 74, 75, 82, 83, 87, 257, 258, 263, 264, 285, 316}),
        ThreadState.SLEEP: frozenset({35, 230}),
    },
    "aarch64": {
        ThreadState.NETWORK: frozenset({20, 21, 22, 72, 73, 202, 203, 206, 207, 211, 212, 242, 243, 269, 441}),
        ThreadState.PIPE: frozenset({63, 64, 65, 66}),
        ThreadState.DISK: frozenset({34, 35, 38, 56, 67, 68, 71, 82, 83, 276}),
        ThreadState.SLEEP: frozenset({101, 115}),
    },
}
_KIND_OF_CALL = {number: kind for kind, numbers in _CALLS.get(ARCHITECTURE, {}).items() for number in numbers}
UNNAMED_ROLE = "unnamed"


class ThreadWaits:
    """The threads of process `pid`, one open descriptor each. For one thread; close it.

    `reason` says why nothing, or no waiting for the GIL, can be told about this process; empty when all is well.
    """

    def __init__(self, pid: int, place: GilPlace | GilUnknown) -> None:
        self.pid = pid
        self.reason = place.reason if isinstance(place, GilUnknown) else ""
        self._place = place
        self._gil: range | None = None
        self._files: dict[int, int] = {}
        self._clocks: dict[int, int] = {}
        self.roles: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.roles)

    def refresh(self, role: str) -> None:
        """Finds new threads and new names; the main thread has the role of its process.

        Threads that have ended leave by themselves in `read`.
        """
        try:
            native_ids = [int(name) for name in os.listdir(f"/proc/{self.pid}/task")]  # noqa: PTH208 - 4 times as fast
        except OSError:
            return  # the process has ended
        if isinstance(self._place, GilPlace):
            self._locate(self._place)
        for tid in native_ids:
            if tid not in self._files:
                self._open(tid)
        self._name(role)

    def _locate(self, place: GilPlace) -> None:
        """Once per process; a refusal is tried again, for the right may come a moment after the process."""
        if self._gil is not None and not self.reason:
            return
        found = locate(self.pid, place)
        self.reason = found.reason if isinstance(found, GilUnknown) else ""
        self._gil = None if isinstance(found, GilUnknown) else found

    def _open(self, tid: int) -> None:
        folder = f"/proc/{self.pid}/task/{tid}"
        try:
            self._clocks[tid] = os.open(f"{folder}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self._files[tid] = os.open(f"{folder}/syscall", os.O_RDONLY | os.O_CLOEXEC)
            os.pread(self._files[tid], 256, 0)  # the right to read is checked here, not at the opening
        except OSError as error:
            self._forget(tid)
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        if not isinstance(error, ProcessLookupError | FileNotFoundError) or Path(f"/proc/{self.pid}").exists():
            self.reason = self.reason or f"/proc/PID/task/TID/syscall cannot be read ({os.strerror(error.errno or 0)})"

    def _name(self, role: str) -> None:
        """A thread inherits the name of the one that started it, so only a name unlike the main thread's tells."""
        main = _comm(self.pid, self.pid)
        self.roles[self.pid] = role
        for tid in self._files:
            if tid != self.pid and self.roles.get(tid, UNNAMED_ROLE) == UNNAMED_ROLE:
                name = _comm(self.pid, tid)
                self.roles[tid] = UNNAMED_ROLE if name == main else name

    def read(self, turn: int = 0, turns: int = 1) -> Iterator[tuple[int, ThreadState]]:
        """Every thread with what it is doing now, about 2 µs each; of many only each `turns`-th, from `turn` on."""
        for tid, descriptor in list(self._files.items())[turn::turns]:
            try:
                line = os.pread(descriptor, 256, 0)
            except OSError as error:
                self._forget(tid)
                if not isinstance(error, ProcessLookupError):
                    self._refused(error)
                continue
            yield tid, self.kind(line)

    def kind(self, line: bytes) -> ThreadState:
        """What the text of a `syscall` file says, for this process."""
        if line.startswith(b"running"):
            return ThreadState.RUNNING
        address = futex_address(line)
        if address is not None:
            return ThreadState.GIL if self._gil is not None and address in self._gil else ThreadState.LOCK
        words = line.split(b" ", 2)
        kind = _KIND_OF_CALL.get(int(words[0]), ThreadState.OTHER)
        return self._pipe_or_disk(int(words[1], 16)) if kind is ThreadState.PIPE else kind

    def _pipe_or_disk(self, descriptor: int) -> ThreadState:
        try:
            target = os.readlink(f"/proc/{self.pid}/fd/{descriptor}")  # noqa: PTH115 - no Path per sample
        except OSError:
            return ThreadState.OTHER
        return ThreadState.PIPE if target.startswith(("pipe:", "socket:")) else ThreadState.DISK

    def clock(self, tid: int) -> tuple[float, float] | None:
        """CPU seconds and run-queue seconds of a thread so far, exact; None when it has ended or nothing is known."""
        try:
            cpu, delay, _ = os.pread(self._clocks[tid], 64, 0).split()
        except (OSError, KeyError):
            return None
        return (int(cpu) * 1e-9, int(delay) * 1e-9) if int(cpu) else None

    def _forget(self, tid: int) -> None:
        for descriptors in (self._files, self._clocks):
            if tid in descriptors:
                os.close(descriptors.pop(tid))
        self.roles.pop(tid, None)

    def close(self) -> None:
        """Gives every descriptor back."""
        for tid in list(self._files):
            self._forget(tid)


def _comm(pid: int, tid: int) -> str:
    return text_of(f"/proc/{pid}/task/{tid}/comm").rstrip("\n") or UNNAMED_ROLE


class _RoleTotals(Struct, kw_only=True):
    counts: Counter[ThreadState] = field(default_factory=Counter)
    threads: int = 0
    reason: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    run_queue_seconds: float = 0.0

    def book(self, before: tuple[float, float, float] | None, now: tuple[float, float, float]) -> None:
        """Adds one thread's (wall, CPU, run queue) clocks since the last reading; None: it was not known before."""
        if before is None:
            self.threads += 1
            return
        self.wall_seconds += now[0] - before[0]
        self.cpu_seconds += now[1] - before[1]
        self.run_queue_seconds += now[2] - before[2]


class WaitTotals:
    """Adds up over every watched process. For one thread; memory grows with the number of roles, not with time.

    Samples alone are biased: on a full machine the sampler itself runs more readily when a thread has just gone to
    sleep. So the time on a core and in the run queue comes from `/proc/PID/task/TID/schedstat`, which is exact, and the
    samples only split the rest, the blocked time, among its kinds. Where the kernel keeps no such clocks, the samples
    stand alone.
    """

    def __init__(self) -> None:
        self._roles: dict[str, _RoleTotals] = {}
        self._clocks: dict[int, dict[int, tuple[float, float, float]]] = {}

    def sample(self, waits: ThreadWaits, turn: int = 0, turns: int = 1) -> None:
        """Counts what the threads of one process are doing now: all of them, or those whose turn it is."""
        for tid, kind in waits.read(turn, turns):
            role = self._role(waits.roles.get(tid))
            role.counts[kind] += 1
            role.reason = waits.reason

    def book(self, waits: ThreadWaits, now: float) -> None:
        """Adds the scheduler's clocks of one process's threads since the last call; `now` in perf_counter seconds."""
        before, present = self._clocks.get(waits.pid, {}), {}
        for tid, name in waits.roles.items():
            clock = waits.clock(tid)
            if clock is not None:
                present[tid] = (now, *clock)
                self._role(name).book(before.get(tid), present[tid])
        self._clocks[waits.pid] = present

    def forget(self, pid: int) -> None:
        """A process has ended: its number may come again."""
        self._clocks.pop(pid, None)

    def _role(self, name: str | None) -> _RoleTotals:
        return self._roles.setdefault(name or "unnamed", _RoleTotals())

    def groups(self) -> tuple[WaitShares, ...]:
        """The shares by group: the roles `download-0`, `download-1` … are the group `download`."""
        merged: dict[str, _RoleTotals] = {}
        for name, role in self._roles.items():
            total = merged.setdefault(group_of(name), _RoleTotals())
            total.counts.update(role.counts)
            total.threads += role.threads
            total.reason = total.reason or role.reason
            total.wall_seconds += role.wall_seconds
            total.cpu_seconds += role.cpu_seconds
            total.run_queue_seconds += role.run_queue_seconds
        return tuple(_shares(group, role) for group, role in sorted(merged.items()) if role.counts.total())


def group_of(role: str) -> str:
    """`download-3` belongs to `download`; a name without a number is its own group."""
    stem, dash, number = role.rpartition("-")
    return stem if dash and number.isdigit() else role


def _shares(group: str, role: _RoleTotals) -> WaitShares:
    total = role.counts.total()
    busy = min(1.0, (role.cpu_seconds + role.run_queue_seconds) / role.wall_seconds) if role.wall_seconds else None
    blocked_samples = total - role.counts[ThreadState.RUNNING]
    if busy is None:
        shares = {kind: role.counts[kind] / total for kind in ThreadState}
        blocked_share, error_samples = 1.0, total
    else:
        blocked_share, error_samples = 1.0 - busy, blocked_samples
        shares = {kind: blocked_share * role.counts[kind] / max(1, blocked_samples) for kind in ThreadState}
        shares[ThreadState.RUNNING] = busy
        if not blocked_samples:
            shares[ThreadState.OTHER] = blocked_share  # blocked for moments that no sample hit
    part = role.counts[ThreadState.GIL] / max(1, error_samples)
    return WaitShares(
        group=group,
        threads=role.threads,
        samples=total,
        observed_seconds=role.wall_seconds,
        exact=busy is not None,
        shares={kind.value: share for kind, share in shares.items()},
        run_queue_share=None if busy is None else role.run_queue_seconds / role.wall_seconds,
        gil_error=blocked_share * math.sqrt(part * (1.0 - part) / max(1, error_samples)),
        gil_reason=role.reason,
    )
