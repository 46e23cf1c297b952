"""What the sampler saw of a run, and its figures over time. None means that the system does not tell."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct, convert, field, to_builtins

Row: TypeAlias = Mapping[str, float | None]
CAPACITY = 600
TIME = "t_seconds"


class MemoryUse(Struct, frozen=True, kw_only=True):
    """PSS shares common pages among their users, so it may be summed; USS is what its end would give back."""

    pss_bytes: int | None
    uss_bytes: int | None


class MachineTimes(Struct, frozen=True, kw_only=True):
    """Seconds since boot, all cores added up. `throttled_seconds` concerns this control group alone."""

    cores: int
    busy_seconds: float
    total_seconds: float
    steal_seconds: float | None
    throttled_seconds: float | None


class ProcessUsage(Struct, frozen=True, kw_only=True):
    """All OS processes that had one role: `main`, a worker's name, `helper`, `origin`, or `sampler`.

    The peaks are of one process; `cpu_seconds` adds up over all of them, seen at most a second before their end.
    """

    role: str
    processes: int = 1
    cpu_seconds: float = 0.0
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_rss_bytes: int | None = None


class MachineUsage(Struct, frozen=True, kw_only=True):
    """The whole machine while the sampler watched. Shares are of all its cores, also of those we may not use.

    `others_cpu_share` is what neither the run, nor the origin, nor the sampler used.
    """

    cores: int = 0
    busy_share: float | None = None
    others_cpu_share: float | None = None
    steal_share: float | None = None
    throttled_seconds: float | None = None


class WaitShares(Struct, frozen=True, kw_only=True):
    """Where the time of the threads of one group went. `shares` sum to 1 and carry every kind of `waits.Wait`.

    `exact` says that the running share comes from the scheduler's clocks. `gil_error` is the standard error of the GIL
    share, from the number of samples. `running` holds the run queue too; `run_queue_share` is None where unknown.
    `gil_reason` says why waiting for the GIL could not be told from other locks; empty when it could.
    """

    group: str
    threads: int
    samples: int
    observed_seconds: float
    exact: bool
    shares: Mapping[str, float]
    run_queue_share: float | None
    gil_error: float
    gil_reason: str = ""

    @property
    def gil_share(self) -> float | None:
        """Share of the threads' time spent waiting for the GIL; None when it is not known."""
        return None if self.gil_reason else self.shares["gil"]


class Samples(Struct, frozen=True, kw_only=True):
    """The measurements of one run from outside. Times are perf_counter seconds of this machine's boot.

    `series` holds columns of one length; its `t_seconds` counts from `started`. Columns: `pss_bytes`, `uss_bytes`,
    `rss_bytes` (of the tree without origin and sampler), `cpu_seconds_total`, `origin_cpu_seconds_total`,
    `machine_busy_seconds_total`, `steal_seconds_total`, `throttled_seconds_total`, `threads`, and every gauge by name.
    `gauge_means` and `gauge_peaks` are over time, from every reading. `gil_method` is `sampled` or `unknown`, with the
    reason. `peak_*` are of the whole tree at one instant, without origin and sampler. `unknown` says why there is
    nothing of all this; None where there is.
    """

    started: float | None = None
    ended: float | None = None
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    processes: tuple[ProcessUsage, ...] = ()
    waits: tuple[WaitShares, ...] = ()
    gauge_means: Mapping[str, float] = field(default_factory=dict)
    gauge_peaks: Mapping[str, float] = field(default_factory=dict)
    machine: MachineUsage = MachineUsage()
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_rss_bytes: int | None = None
    gil_method: str = ""
    gil_reason: str = ""
    sampler_cpu_seconds: float | None = None
    looks: int | None = None
    unknown: str | None = None

    @property
    def wall_seconds(self) -> float:
        """How long the sampler watched."""
        return (self.ended or 0.0) - (self.started or 0.0)

    def waits_of(self, group: str) -> WaitShares | None:
        """The shares of one group of threads, as `download`; None when none of them was seen."""
        return next((shares for shares in self.waits if shares.group == group), None)

    def process(self, role: str) -> ProcessUsage | None:
        """The use of all processes of one role."""
        return next((usage for usage in self.processes if usage.role == role), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        facts: dict[str, Any] = to_builtins(self)
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Samples":
        """What `to_json` wrote."""
        return convert(facts, cls)


class Series:
    """Figures over time in constant memory: a full table merges neighbours and grows half as fast. Not thread-safe.

    How two rows become one depends on the name: `…_total` and the time keep the later value, so rates between rows stay
    exact; `…_bytes` keeps the larger, so peaks survive; everything else is averaged, weighted by the rows behind it.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._rows: list[dict[str, float | None]] = []
        self._weights: list[int] = []
        self._stride = 1  # readings behind one full row
        self._open: tuple[dict[str, float | None], int] | None = None

    def add(self, row: Row) -> None:
        """Adds one reading; readings are collected until they make a row as long as the others."""
        merged = (dict(row), 1) if self._open is None else merge(self._open, (dict(row), 1))
        if merged[1] < self._stride:
            self._open = merged
            return
        self._open = None
        self._append(merged)

    def _append(self, merged: tuple[dict[str, float | None], int]) -> None:
        self._rows.append(merged[0])
        self._weights.append(merged[1])
        if len(self._rows) >= self._capacity:
            self._halve()

    def _halve(self) -> None:
        """The first row stays as it is: it is the start of the run."""
        pairs = list(zip(self._rows, self._weights, strict=True))
        halved = pairs[:1]
        for index in range(1, len(pairs), 2):
            pair = pairs[index : index + 2]
            halved.append(pair[0] if len(pair) == 1 else merge(pair[0], pair[1]))
        self._rows = [row for row, _ in halved]
        self._weights = [weight for _, weight in halved]
        self._stride *= 2

    def columns(self) -> dict[str, list[float | None]]:
        """Every figure as a list, all of one length, the unfinished row included."""
        rows = [*self._rows, self._open[0]] if self._open else self._rows
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name) for row in rows] for name in names}

    def __len__(self) -> int:
        return len(self._rows) + (self._open is not None)


def merge(
    earlier: tuple[dict[str, float | None], int], later: tuple[dict[str, float | None], int]
) -> tuple[dict[str, float | None], int]:
    """Two rows with their weights as one."""
    names = dict.fromkeys([*earlier[0], *later[0]])
    weights = earlier[1], later[1]
    merged = {name: _join(name, earlier[0].get(name), later[0].get(name), weights) for name in names}
    return merged, sum(weights)


def _join(name: str, earlier: float | None, later: float | None, weights: tuple[int, int]) -> float | None:
    if earlier is None or later is None:
        return earlier if later is None else later
    if name == TIME or name.endswith("_total"):
        return later
    if name.endswith("_bytes"):
        return max(earlier, later)
    return (earlier * weights[0] + later * weights[1]) / sum(weights)
