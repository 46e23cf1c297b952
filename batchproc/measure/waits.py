"""What the threads of a process wait for, read from outside, and the totals by role.

One `ThreadWaits` per watched process, to which nothing is added. Runs in the sampler. A thread's kind of wait comes
from the system call it sits in (`/proc/PID/task/TID/syscall`), its role from its name (`/proc/PID/task/TID/comm`).
"""

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from batchproc.measure import procfs
from batchproc.measure.gil import ARCHITECTURE, GilPlace, GilUnknown, futex_address, locate
from batchproc.measure.samples import WaitShares


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
    return procfs.text_of(f"/proc/{pid}/task/{tid}/comm").rstrip("\n") or UNNAMED_ROLE


@dataclass(slots=True, kw_only=True)
class _RoleTotals:
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
