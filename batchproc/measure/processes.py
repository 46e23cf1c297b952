"""What the system tells: of a run's processes, their roles, CPU and memory, for the sampler; and of the machine itself.

On Linux from /proc (proc(5), kernel Documentation/admin-guide/cgroup-v2), elsewhere by psutil. A figure not to be had
is None.
"""

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from batchproc.measure.samples import MachineTimes, MachineUsage, MemoryUse, ProcessUsage

LINUX = sys.platform.startswith("linux")
if LINUX:
    TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
    PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
else:
    import psutil
WORKER = re.compile(r".+-\d+")
OUTSIDE_ROLES = frozenset({"origin", "sampler"})
T = TypeVar("T")


class _Process(Struct, kw_only=True):
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
        memory = memory_of(pid)
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
        self._first = self._last = machine_times()
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
            outside |= dict.fromkeys((self._origin, *descendants(self._origin)), "origin")
        present = dict.fromkeys([self._root, *descendants(self._root), *outside])
        for pid in [pid for pid in self._processes if pid not in present]:
            process = self._processes.pop(pid)
            self._ended[process.role] = _joined(self._ended.get(process.role), process)
        for pid in present:
            self._follow(pid, outside.get(pid))

    def _follow(self, pid: int, role: str | None) -> None:
        known = self._processes.get(pid)
        if known is None:
            cpu = cpu_seconds_of(pid)
            if cpu is None:
                return
            first = cpu if self._is_first_refresh else 0.0  # who comes later began under our eyes
            known = self._processes[pid] = _Process(role="helper", first_cpu_seconds=first, cpu_seconds=cpu)
        if known.role == "helper":
            known.role = role or self._role(pid)

    def _role(self, pid: int) -> str:
        if pid == self._root:
            return "main"
        name = role_name(pid)
        return name if WORKER.fullmatch(name) else "helper"

    def read_cpu(self) -> dict[str, float | None]:
        """CPU and resident memory of each process: the cheap figures of a row."""
        for pid, process in self._processes.items():
            cpu, rss = cpu_seconds_of(pid), rss_bytes_of(pid)
            if cpu is not None:
                process.cpu_seconds, process.rss_bytes = cpu, rss
                process.peak_rss_bytes = _largest(process.peak_rss_bytes, rss)
        self._last = machine_times()
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
    """What a role used, with one more of its processes."""
    before = before or ProcessUsage(role=process.role, processes=0)
    return replace(
        before,
        processes=before.processes + 1,
        cpu_seconds=before.cpu_seconds + process.cpu_seconds - process.first_cpu_seconds,
        peak_pss_bytes=_largest(before.peak_pss_bytes, process.peak_pss_bytes),
        peak_uss_bytes=_largest(before.peak_uss_bytes, process.peak_uss_bytes),
        peak_rss_bytes=_largest(before.peak_rss_bytes, process.peak_rss_bytes),
    )


def _largest(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _total(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None


def _difference(last: float | None, first: float | None) -> float | None:
    return None if last is None or first is None else last - first


def descendants(root: int) -> tuple[int, ...]:
    """Every process below `root`, parents first. Empty when the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    if not LINUX:
        return _psutil(lambda: tuple(child.pid for child in psutil.Process(root).children(recursive=True))) or ()
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return tuple(found)


def _children(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/task"
    for tid in _listing(folder):
        yield from map(int, text_of(f"{folder}/{tid}/children").split())


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - Path.iterdir costs several times as much
    except OSError:
        return []


def text_of(path: str) -> str:
    """A file of /proc, at most 64 KiB, in one read; empty when it cannot be read: a process may end at any time.

    Three times as fast as `Path.read_text`, and called a hundred times a second.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def cpu_seconds_of(pid: int) -> float | None:
    """User and system time of all threads so far, in steps of 10 ms; None when the process has ended."""
    if not LINUX:
        return _psutil(lambda: float(sum(psutil.Process(pid).cpu_times()[:2])))
    fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else None


def rss_bytes_of(pid: int) -> int | None:
    """Resident memory, shared pages counted in full: cheap to read, and wrong to sum."""
    if not LINUX:
        return _psutil(lambda: int(psutil.Process(pid).memory_info().rss))
    fields = text_of(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else None


def memory_of(pid: int) -> MemoryUse:
    """PSS and USS by walking the page tables: 0.1 to several ms, and the process's page faults wait meanwhile.

    PSS exists on Linux alone.
    """
    if not LINUX:
        full = _psutil(lambda: psutil.Process(pid).memory_full_info())
        return MemoryUse(pss_bytes=getattr(full, "pss", None), uss_bytes=getattr(full, "uss", None))
    kibibytes: dict[str, int] = {}
    for line in text_of(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, value, *_ = line.split()
        kibibytes[name] = int(value)
    if not kibibytes:
        return MemoryUse(pss_bytes=None, uss_bytes=None)
    return MemoryUse(
        pss_bytes=kibibytes["Pss:"] * 1024,
        uss_bytes=(kibibytes["Private_Clean:"] + kibibytes["Private_Dirty:"]) * 1024,
    )


def role_name(pid: int) -> str:
    """The name that the process's main thread gave itself; empty where threads and processes carry none."""
    return text_of(f"/proc/{pid}/comm").rstrip("\n")


def machine_times() -> MachineTimes:
    """CPU time of the whole machine so far, all cores added up."""
    if not LINUX:
        return _machine_by_psutil()
    lines = text_of("/proc/stat").splitlines()
    user, nice, system, idle, iowait, irq, softirq, steal = (int(word) for word in lines[0].split()[1:9])
    busy = user + nice + system + irq + softirq
    return MachineTimes(
        cores=sum(line.startswith("cpu") for line in lines) - 1,
        busy_seconds=busy / TICKS_PER_SECOND,
        total_seconds=(busy + idle + iowait + steal) / TICKS_PER_SECOND,
        steal_seconds=steal / TICKS_PER_SECOND,
        throttled_seconds=throttled_seconds(),
    )


def _machine_by_psutil() -> MachineTimes:
    times = psutil.cpu_times()
    steal = getattr(times, "steal", None)
    total = float(sum(times))
    return MachineTimes(
        cores=psutil.cpu_count() or 1,
        busy_seconds=total - float(times.idle) - float(getattr(times, "iowait", 0.0)) - float(steal or 0.0),
        total_seconds=total,
        steal_seconds=steal,
        throttled_seconds=None,
    )


def throttled_seconds() -> float | None:
    """Time that the control group's CPU quota has kept this process waiting; None where no quota is accounted."""
    found = (parse_cpu_stat(text_of(f"{folder}/cpu.stat")) for folder in _folders(_CGROUP_OF_SELF, _CGROUP_MOUNT))
    return next((seconds for seconds in found if seconds is not None), None)


def parse_cpu_stat(text: str) -> float | None:
    """Throttled seconds from a `cpu.stat` of version 2 (microseconds) or 1 (nanoseconds)."""
    values = dict(line.split()[:2] for line in text.splitlines())
    if "throttled_usec" in values:
        return int(values["throttled_usec"]) * 1e-6
    return int(values["throttled_time"]) * 1e-9 if "throttled_time" in values else None


def _psutil(read: Callable[[], T]) -> T | None:
    """What psutil says of a process; None when it has ended or is not ours to see."""
    try:
        return read()
    except psutil.Error:
        return None


CODECS = ("libjpeg_turbo", "zlib", "webp", "avif")
LIBRARIES = ("pillow", "cykooz-resizer", "requests")
_CGROUP_MOUNT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that work can use at once, at least 1. A container's quota of 1.5 cores counts as 2."""
    quota = quota_cores(_CGROUP_OF_SELF, _CGROUP_MOUNT) if LINUX else None
    return _schedulable_cores() if quota is None else min(_schedulable_cores(), quota)


def _schedulable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_cores(cgroup_of_self: Path, mount: Path) -> int | None:
    """The smallest CPU quota on the way from our cgroup to the root, rounded up; None without any."""
    quotas = [quota for folder in _folders(cgroup_of_self, mount) if (quota := _quota(folder)) is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def _folders(cgroup_of_self: Path, mount: Path) -> Iterator[Path]:
    """The folders of our cgroup and of those above it (cgroups(7)). A namespace may hide the upper ones."""
    for line in text_of(str(cgroup_of_self)).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
            parts = [part for part in path.split("/") if part not in ("", "..")]
            yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _quota(folder: Path) -> float | None:
    """Cores of `cpu.max` (v2: "quota period" or "max period") or of the cfs files (v1: -1 = none)."""
    version_1 = (text_of(f"{folder}/cpu.cfs_{word}_us") for word in ("quota", "period"))
    numbers = (text_of(f"{folder}/cpu.max") or " ".join(version_1)).split()
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or int(numbers[1]) == 0:
        return None
    return int(numbers[0]) / int(numbers[1])


def describe_machine(*, with_libraries: bool = True) -> dict[str, Any]:
    """The `host` object of run.json. What its libraries are is a third of a short command: Pillow loads its codecs."""
    import platform

    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": usable_cores(),
        "cores_online": os.cpu_count() or 1,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "start_method": start_method(),
        "libraries": _versions() | _codecs() if with_libraries else {},
    }


def start_method() -> str:
    """How worker processes start here; as multiprocessing decides, whose import costs more than the whole answer."""
    import socket

    can_send_sockets = hasattr(socket.socket, "sendmsg") and hasattr(socket, "SCM_RIGHTS")
    return "forkserver" if os.name == "posix" and can_send_sockets else "spawn"


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _codecs() -> dict[str, str]:
    from PIL import features

    versions = {name: features.version(name) for name in CODECS if features.check(name)}
    return {name: version for name, version in versions.items() if version}
