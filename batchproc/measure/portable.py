"""Processes and machine by psutil, where there is no /proc. Same functions as `procfs`; what is missing is None."""

import psutil

from batchproc.measure.samples import MachineTimes, MemoryUse


def descendants(root: int) -> tuple[int, ...]:
    """Every process below `root`."""
    try:
        return tuple(child.pid for child in psutil.Process(root).children(recursive=True))
    except psutil.Error:
        return ()


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all threads so far; None when the process has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def rss_bytes(pid: int) -> int | None:
    """Resident memory, shared pages counted in full."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def memory(pid: int) -> MemoryUse:
    """USS where the system tells; PSS exists on Linux alone."""
    try:
        full = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return MemoryUse(pss_bytes=None, uss_bytes=None)
    pss, uss = getattr(full, "pss", None), getattr(full, "uss", None)
    return MemoryUse(pss_bytes=pss, uss_bytes=uss)


def role_name(pid: int) -> str:
    """Empty: threads and processes carry no name of their own here."""
    del pid
    return ""


def machine() -> MachineTimes:
    """CPU time of the whole machine so far, all cores added up."""
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
