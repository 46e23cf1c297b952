"""The machine that a figure is measured on: the cores that work may use, and what its libraries are."""

import math
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

CODECS = ("libjpeg_turbo", "zlib", "webp", "avif")
LIBRARIES = ("pillow", "cykooz-resizer", "requests")
_CGROUP_MOUNT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that work can use at once, at least 1. A container's quota of 1.5 cores counts as 2."""
    quota = quota_cores(_CGROUP_OF_SELF, _CGROUP_MOUNT)
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
    for line in _read(cgroup_of_self).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
            parts = [part for part in path.split("/") if part not in ("", "..")]
            yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _quota(folder: Path) -> float | None:
    """Cores of `cpu.max` (v2: "quota period" or "max period") or of the cfs files (v1: -1 = none)."""
    text = _read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    numbers = text.split()
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or int(numbers[1]) == 0:
        return None
    return int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # not this system, this version or our business: then no quota is known
        return ""


def describe_machine(*, with_libraries: bool = True) -> dict[str, Any]:
    """The `host` object of run.json. What its libraries are is a third of a short command: Pillow loads its codecs."""
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
