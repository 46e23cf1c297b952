"""The record of a run: every figure of run.json under its name there. Times in seconds, sizes in bytes.

Every field has a default, so that the file of an older build can be read: what it did not know is unknown here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchproc.record.counts import Counts, DueAgain

if TYPE_CHECKING:  # a run that finds nothing to do needs none of them
    from batchproc.measure.checks import Check
    from batchproc.measure.samples import Samples
    from batchproc.record.explanation import AutoRecord, Ceiling, Choice, Hint
    from batchproc.record.hosts import ConcurrencyRecord, HostStarts, LocalTrouble, TroubledHost
    from batchproc.record.stage import LegRecord, StageLoad, StageRecord

SCHEMA = 1
NOTHING_DUE = DueAgain()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts(Counts):
    """The list at the run's end, and what the run did: `already_done` had come to their end before it began."""

    already_done: int = 0
    processed: int = 0
    retried: int = 0
    missing_files: int = 0
    pruned: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """PSS and USS of the process tree, and of the largest worker process; None: the system does not tell."""

    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    per_worker_pss_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """The machine and the libraries that the run was made on."""

    name: str = "unknown"
    system: str = "unknown"
    machine: str = "unknown"
    cores: int = 0
    cores_online: int = 0
    python: str = "unknown"
    implementation: str = ""
    gil: bool | None = None
    start_method: str = "unknown"
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsRecord:
    """Hosts by the number of starts. `lowest_limit` is below `per_host` when one struggled."""

    count: int = 0
    top: "tuple[HostStarts, ...]" = ()
    per_host: int = 0
    lowest_limit: int = 0
    troubled: "tuple[TroubledHost, ...]" = ()
    local_trouble: "LocalTrouble | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSampled:
    """Why the sampler saw nothing."""

    unknown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The stage that held the run back, or None; `reason`: a `batchproc.explain.bottleneck.Reason`; and the sentence.

    `loads`: how busy each stage was. `downloads_allowed`: at once, on average, where the hosts' limits held it back.
    """

    stage: str | None = None
    reason: str = ""
    loads: "Mapping[str, StageLoad]" = field(default_factory=dict)
    downloads_allowed: float | None = None
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """The number of cores beyond which threads cannot use more, and the GIL-held fraction that it follows from."""

    phi: float | None = None
    phi_low: float | None = None
    phi_high: float | None = None
    method: str = "unknown"
    cores: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """The number of items from which transform in processes repays its start; None: never, or unknown."""

    items: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run: what was counted and measured, and from `verdict` on what follows from it (`batchproc.explain`).

    `failures`, `deferrals`: items of the whole list by code, `failures_this_run` of this run alone. `stages`, `leg`,
    `memory`, `checks` and `samples` are of the last leg. `config`: as resolved, without secrets. `command_seconds`: the
    whole command in its parts, in their order; None where the run is not all that its process is for.
    """

    schema: int = SCHEMA
    version: str = "unknown"
    job: str = "unknown"
    run_id: str = ""
    started: str = ""
    ended: str = ""
    wall_seconds: float = 0.0
    line_seconds: float = 0.0
    observer_started: float | None = None
    exit_code: int = -1  # in a file that does not tell
    reason: str = ""
    stopped_by: str | None = None
    counts: RunCounts = RunCounts()
    failures: Mapping[str, int] = field(default_factory=dict)
    deferrals: Mapping[str, int] = field(default_factory=dict)
    failures_this_run: Mapping[str, int] | None = None
    deferred_this_run: int = 0
    images_per_second: float | None = None
    startup_seconds: float | None = None
    retry_wait_seconds: float | None = None
    pause_wait_seconds: float | None = None
    list_remarks: tuple[str, ...] = ()
    recipe: str = ""
    resampler_problem: str = ""
    due_again: DueAgain = NOTHING_DUE
    original_bytes: int | None = None
    rendition_bytes: int | None = None
    auto: "AutoRecord | None" = None
    concurrency: "ConcurrencyRecord | None" = None
    hosts: HostsRecord = HostsRecord()
    host: MachineRecord = MachineRecord()
    config: Mapping[str, Any] = field(default_factory=dict)
    leg: "LegRecord | None" = None
    line_startup_seconds: float | None = None
    stages: "Mapping[str, StageRecord]" = field(default_factory=dict)
    memory: MemoryRecord = MemoryRecord()
    checks: "tuple[Check, ...]" = ()
    samples: "Samples | NotSampled" = NotSampled(unknown="")
    verdict: tuple[str, ...] = ()
    bottleneck: Bottleneck = Bottleneck()
    choices: "tuple[Choice, ...]" = ()
    ceilings: "Mapping[str, tuple[Ceiling, ...]]" = field(default_factory=dict)
    measured_rate_per_second: Mapping[str, float] = field(default_factory=dict)
    hints: "tuple[Hint, ...]" = ()
    crossover: Crossover = Crossover()
    break_even: BreakEven = BreakEven()
    command_seconds: Mapping[str, float] | None = None

    @property
    def sampled(self) -> "Samples":
        """What the sampler saw; empty where it saw nothing."""
        from batchproc.measure.samples import Samples

        return Samples() if isinstance(self.samples, NotSampled) else self.samples

    @property
    def measured_leg(self) -> "LegRecord":
        """The part of the run that the stages' figures are of; the whole, in the file of a build without legs."""
        from batchproc.record.stage import LegRecord

        return self.leg or LegRecord(
            items=self.counts.processed,
            seconds=self.line_seconds,
            startup_seconds=self.line_startup_seconds,
            retry_wait_seconds=self.retry_wait_seconds,
            pause_wait_seconds=self.pause_wait_seconds,
        )

    def setting(self, table: str, key: str, default: Any = None) -> Any:
        """A value of the config as it was resolved; `default` where the build that wrote it had none."""
        return (self.config.get(table) or {}).get(key, default)
