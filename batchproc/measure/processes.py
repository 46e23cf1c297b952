"""The processes of a run: who belongs to it, in which role, with what CPU and memory. Runs in the sampler."""

import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from batchproc.measure.samples import MachineUsage, MemoryUse, ProcessUsage

if sys.platform.startswith("linux"):
    from batchproc.measure import procfs as system
else:
    from batchproc.measure import portable as system

WORKER = re.compile(r".+-\d+")
OUTSIDE_ROLES = frozenset({"origin", "sampler"})


@dataclass(slots=True, kw_only=True)
class _Process:
    role: str
    first_cpu_seconds: float
    cpu_seconds: float
    rss_bytes: int | None = None
    peak_rss_bytes: int | None = None
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None

    @property
    def inside(self) -> bool:
        """Whether it is one of the run's own."""
        return self.role not in OUTSIDE_ROLES

    def read_memory(self, pid: int) -> MemoryUse:
        """PSS and USS now; keeps the peaks."""
        memory = system.memory(pid)
        self.peak_pss_bytes = _largest(self.peak_pss_bytes, memory.pss_bytes)
        self.peak_uss_bytes = _largest(self.peak_uss_bytes, memory.uss_bytes)
        return memory


class ProcessTable:
    """Follows the tree below `root`. The origin and what is below it, and the sampler itself, count as outside."""

    def __init__(self, root: int, origin: int | None) -> None:
        self._root = root
        self._origin = origin
        self._processes: dict[int, _Process] = {}
        self._ended: dict[str, ProcessUsage] = {}
        self._first = self._last = system.machine()
        self._is_first_refresh = True
        self.refresh()
        self._is_first_refresh = False

    @property
    def measured(self) -> dict[int, str]:
        """The processes whose threads are the run's own, with their roles."""
        return {pid: process.role for pid, process in self._processes.items() if process.inside}

    def refresh(self) -> None:
        """Finds processes that came, ended or named themselves."""
        outside = {os.getpid(): "sampler"}
        if self._origin is not None:
            outside |= dict.fromkeys((self._origin, *system.descendants(self._origin)), "origin")
        present = dict.fromkeys([self._root, *system.descendants(self._root), *outside])
        for pid in [pid for pid in self._processes if pid not in present]:
            process = self._processes.pop(pid)
            self._ended[process.role] = _joined(self._ended.get(process.role), process)
        for pid in present:
            self._follow(pid, outside.get(pid))

    def _follow(self, pid: int, role: str | None) -> None:
        known = self._processes.get(pid)
        if known is None:
            cpu = system.cpu_seconds(pid)
            if cpu is None:
                return
            first = cpu if self._is_first_refresh else 0.0  # who comes later began under our eyes
            known = self._processes[pid] = _Process(role="helper", first_cpu_seconds=first, cpu_seconds=cpu)
        if known.role == "helper":
            known.role = role or self._role(pid)

    def _role(self, pid: int) -> str:
        if pid == self._root:
            return "main"
        name = system.role_name(pid)
        return name if WORKER.fullmatch(name) else "helper"

    def read_cpu(self) -> dict[str, float | None]:
        """CPU and resident memory of each process: the cheap figures of a row."""
        for pid, process in self._processes.items():
            cpu, rss = system.cpu_seconds(pid), system.rss_bytes(pid)
            if cpu is not None:
                process.cpu_seconds, process.rss_bytes = cpu, rss
                process.peak_rss_bytes = _largest(process.peak_rss_bytes, rss)
        self._last = system.machine()
        return {
            "cpu_seconds_total": self._cpu_seconds(lambda role: role not in OUTSIDE_ROLES),
            "origin_cpu_seconds_total": self._cpu_seconds(lambda role: role == "origin"),
            "machine_busy_seconds_total": self._last.busy_seconds - self._first.busy_seconds,
            "steal_seconds_total": _difference(self._last.steal_seconds, self._first.steal_seconds),
            "throttled_seconds_total": _difference(self._last.throttled_seconds, self._first.throttled_seconds),
            "rss_bytes": _total(process.rss_bytes for process in self._processes.values() if process.inside),
        }

    def read_memory(self) -> dict[str, float | None]:
        """PSS and USS of each process of the run: the dear figures."""
        read = [process.read_memory(pid) for pid, process in self._processes.items() if process.inside]
        return {
            "pss_bytes": _total(memory.pss_bytes for memory in read),
            "uss_bytes": _total(memory.uss_bytes for memory in read),
        }

    def read_outside_memory(self) -> None:
        """The same of the origin and the sampler, for their own rows: once, at the end."""
        for pid, process in self._processes.items():
            if not process.inside:
                process.read_memory(pid)

    def _cpu_seconds(self, belongs: Callable[[str], bool]) -> float:
        alive = sum(p.cpu_seconds - p.first_cpu_seconds for p in self._processes.values() if belongs(p.role))
        return alive + sum(usage.cpu_seconds for role, usage in self._ended.items() if belongs(role))

    def usages(self) -> tuple[ProcessUsage, ...]:
        """Every role, those that have ended included."""
        usages = dict(self._ended)
        for process in self._processes.values():
            usages[process.role] = _joined(usages.get(process.role), process)
        return tuple(usages[role] for role in sorted(usages))

    def machine(self) -> MachineUsage:
        """The machine between the first reading and the last."""
        total = self._last.total_seconds - self._first.total_seconds
        busy = self._last.busy_seconds - self._first.busy_seconds
        steal = _difference(self._last.steal_seconds, self._first.steal_seconds)
        ours = self._cpu_seconds(lambda _role: True)
        return MachineUsage(
            cores=self._last.cores,
            busy_share=busy / total if total else None,
            others_cpu_share=max(0.0, busy - ours) / total if total else None,
            steal_share=None if steal is None or not total else steal / total,
            throttled_seconds=_difference(self._last.throttled_seconds, self._first.throttled_seconds),
        )


def _joined(before: ProcessUsage | None, process: _Process) -> ProcessUsage:
    usage = ProcessUsage(
        role=process.role,
        cpu_seconds=process.cpu_seconds - process.first_cpu_seconds,
        peak_pss_bytes=process.peak_pss_bytes,
        peak_uss_bytes=process.peak_uss_bytes,
        peak_rss_bytes=process.peak_rss_bytes,
    )
    if before is None:
        return usage
    return replace(
        usage,
        processes=before.processes + 1,
        cpu_seconds=before.cpu_seconds + usage.cpu_seconds,
        peak_pss_bytes=_largest(before.peak_pss_bytes, usage.peak_pss_bytes),
        peak_uss_bytes=_largest(before.peak_uss_bytes, usage.peak_uss_bytes),
        peak_rss_bytes=_largest(before.peak_rss_bytes, usage.peak_rss_bytes),
    )


def _largest(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _total(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None


def _difference(last: float | None, first: float | None) -> float | None:
    return None if last is None or first is None else last - first
