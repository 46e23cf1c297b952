"""Processes and machine as Linux shows them: memory, CPU, children, steal, throttling. A figure not to be had is None.

Runs in the sampler, with the standard library alone. Source: proc(5), kernel Documentation/admin-guide/cgroup-v2.
`portable` has the same functions for other systems.
"""

import os
from collections.abc import Iterator

from batchproc.measure.samples import MachineTimes, MemoryUse

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> tuple[int, ...]:
    """Every process below `root`, parents first. Empty when the kernel does not tell (CONFIG_PROC_CHILDREN)."""
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


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all threads so far, in steps of 10 ms; None when the process has ended."""
    fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else None


def rss_bytes(pid: int) -> int | None:
    """Resident memory, shared pages counted in full: cheap to read, and wrong to sum."""
    fields = text_of(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else None


def memory(pid: int) -> MemoryUse:
    """PSS and USS by walking the page tables: 0.1 to several ms, and the process's page faults wait meanwhile."""
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
    """The name that the process's main thread gave itself."""
    return text_of(f"/proc/{pid}/comm").rstrip("\n")


def machine() -> MachineTimes:
    """CPU time of the whole machine so far, all cores added up."""
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


def throttled_seconds() -> float | None:
    """Time that the control group's CPU quota has kept this process waiting; None where no quota is accounted."""
    for line in text_of("/proc/self/cgroup").splitlines():
        _number, controllers, group = line.split(":", 2)
        for text in _cpu_stat(controllers, group):
            if (seconds := parse_cpu_stat(text)) is not None:
                return seconds
    return None


def _cpu_stat(controllers: str, group: str) -> Iterator[str]:
    if controllers == "":
        yield text_of(f"/sys/fs/cgroup{group}/cpu.stat")
        yield text_of("/sys/fs/cgroup/cpu.stat")  # in a container: its own group is the root
    elif "cpu" in controllers.split(","):
        yield text_of(f"/sys/fs/cgroup/{controllers}{group}/cpu.stat")
        yield text_of(f"/sys/fs/cgroup/{controllers}/cpu.stat")


def parse_cpu_stat(text: str) -> float | None:
    """Throttled seconds from a `cpu.stat` of version 2 (microseconds) or 1 (nanoseconds)."""
    values = dict(line.split()[:2] for line in text.splitlines())
    if "throttled_usec" in values:
        return int(values["throttled_usec"]) * 1e-6
    return int(values["throttled_time"]) * 1e-9 if "throttled_time" in values else None
