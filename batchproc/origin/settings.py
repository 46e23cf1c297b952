"""What the embedded origin is asked to be, everything that can be wrong with that, and what it says at its end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchproc import defaults
from batchproc.errors import Problem, UsageError

DEFAULT_FAULT_SHARE = 0.05
MAX_IMAGES = 2000  # they are held in memory, about 150 KB each
LONGEST_LATENCY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSettings:
    """One origin. Times in seconds, sizes in bytes.

    `latency_seconds` is the median time before the first byte of a reply; each reply's own is that times a log-normal
    factor whose sigma is `jitter` (0 = none), decided by the seed, the URL and how often it was asked for before.
    `bandwidth_bytes_per_second` holds per connection, 0 = unlimited. `faults` is the share of URLs that misbehave on
    purpose: True is 0.05, None is 0.05 for the origin's own pictures and 0 for the user's. `photos` is a folder whose
    pictures are served in place of the origin's own. `port` 0 lets the system choose one. `latencies` holds the waits
    of single paths, as `/img/0007.jpg`: always the same, without jitter; other paths have `latency_seconds`.
    """

    images: int = defaults.ORIGIN_IMAGES
    seed: int = defaults.ORIGIN_SEED
    latency_seconds: float = defaults.ORIGIN_LATENCY_SECONDS
    jitter: float = defaults.ORIGIN_JITTER
    bandwidth_bytes_per_second: int = 0
    faults: bool | float | None = None
    photos: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    idle_seconds: float = 60.0
    max_connections: int = 1000
    latencies: Mapping[str, float] = field(default_factory=dict)

    @property
    def fault_share(self) -> float:
        """The share of URLs that misbehave, 0 to 1."""
        if self.faults is None:
            return 0.0 if self.photos else DEFAULT_FAULT_SHARE
        return DEFAULT_FAULT_SHARE if self.faults is True else float(self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginTotals:
    """What an origin did from the moment it was ready to its end."""

    requests: int
    connections: int
    bytes: int  # sent, heads included
    cpu_seconds: float  # of its process, without the making of the pictures


def check_settings(settings: OriginSettings) -> None:
    """Raises `UsageError` with every problem at once."""
    limits = {
        "images": (1, MAX_IMAGES),
        "latency_seconds": (0, LONGEST_LATENCY_SECONDS),
        "jitter": (0, 2),
        "bandwidth_bytes_per_second": (0, math.inf),
        "faults": (0, 1),
        "port": (0, 65535),
        "idle_seconds": (0.01, 86400),
        "max_connections": (1, 100_000),
    }
    problems = []
    for name, (low, high) in limits.items():
        value = settings.fault_share if name == "faults" else getattr(settings, name)
        if not low <= value <= high:
            allowed = f"from {low} to {high}" if math.isfinite(high) else f"{low} or more"
            problems.append(Problem(where=f"[origin] {name} = {value:g}", message=f"must be {allowed}"))
    wrong = [path for path, wait in settings.latencies.items() if not 0 <= wait <= LONGEST_LATENCY_SECONDS]
    if wrong:
        where = f"[origin] latencies {wrong[0]} = {settings.latencies[wrong[0]]:g}"
        problems.append(Problem(where=where, message=f"must be from 0 to {LONGEST_LATENCY_SECONDS}"))
    if settings.photos and not Path(settings.photos).is_dir():
        problems.append(Problem(where=f'[origin] photos = "{settings.photos}"', message="is not a folder"))
    if problems:
        raise UsageError(problems)


def base_url_of(host: str, port: int) -> str:
    """As `http://127.0.0.1:40123`, without a slash at its end."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
