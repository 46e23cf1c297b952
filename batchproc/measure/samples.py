"""What the sampler saw of a run: plain values, part of its record. None means that the system does not tell."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from batchproc.measure.tally import WaitShares


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """All OS processes that had one role: `main`, a worker's name, `helper`, `origin`, or `sampler`.

    The peaks are of one process; `cpu_seconds` adds up over all of them, seen at most a second before their end.
    """

    role: str
    processes: int = 1
    cpu_seconds: float = 0.0
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineUsage:
    """The whole machine while the sampler watched. Shares are of all its cores, also of those we may not use.

    `others_cpu_share` is what neither the run, nor the origin, nor the sampler used.
    """

    cores: int = 0
    busy_share: float | None = None
    others_cpu_share: float | None = None
    steal_share: float | None = None
    throttled_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The evidence of one run from outside. Times are perf_counter seconds of this machine's boot.

    `series` holds columns of one length; its `t_seconds` counts from `started`. Columns: `pss_bytes`, `uss_bytes`,
    `rss_bytes` (of the tree without origin and sampler), `cpu_seconds_total`, `origin_cpu_seconds_total`,
    `machine_busy_seconds_total`, `steal_seconds_total`, `throttled_seconds_total`, `threads`, and every gauge by name.
    `gauge_means` and `gauge_peaks` are over time, from every look. `gil_method` is `sampled` or `unknown`, with the
    reason. `peak_*` are of the whole tree at one instant, without origin and sampler.
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
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Samples":
        """What `to_json` wrote."""
        return cls(
            **{
                **facts,
                "series": {name: tuple(column) for name, column in facts["series"].items()},
                "processes": tuple(ProcessUsage(**usage) for usage in facts["processes"]),
                "waits": tuple(WaitShares(**shares) for shares in facts["waits"]),
                "machine": MachineUsage(**facts["machine"]),
            }
        )
