"""The parts of a run's record: of each stage its mode, times and workers; the hosts; a shared run; the data set."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

ModeName: TypeAlias = Literal["serial", "thread", "process"]
MODES: tuple[ModeName, ...] = ("serial", "thread", "process")  # the lightest first
STAGES = ("download", "transform")


class Percentiles(Struct, frozen=True, kw_only=True):
    """Of a time in seconds. None: nothing was timed."""

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """One worker's own clocks, in seconds. None: it did not come that far, or the mode has no such moment."""

    worker: str = ""
    tasks: int = 0
    startup_seconds: float = 0.0
    start_to_first_line_seconds: float | None = None
    first_line_to_ready_seconds: float | None = None
    ready_to_first_task_seconds: float | None = None
    starved_seconds: float = 0.0
    output_blocked_seconds: float = 0.0
    lost_seconds: float = 0.0
    ipc_seconds: float = 0.0
    starts: int = 0
    max_rss_bytes: int = 0


class HostConnections(Struct, frozen=True, kw_only=True):
    """The connections to one host; `dropped`: closed before the end, by whichever side."""

    host: str = ""
    opened: int = 0
    reused: int = 0
    dropped: int = 0


class ConnectionTotals(Struct, frozen=True, kw_only=True):
    """The connections of a stage in all, and of the hosts that were asked most."""

    opened: int = 0
    reused: int = 0
    dropped: int = 0
    hosts: tuple[HostConnections, ...] = ()


class PhaseRecord(Struct, frozen=True, kw_only=True):
    """The part of the run that the stages' figures are of: all of it, where modes were not searched for."""

    number: int = 1
    items: int = 0
    seconds: float = 0.0
    startup_seconds: float | None = None
    retry_wait_seconds: float | None = 0.0
    pause_wait_seconds: float | None = 0.0


class StageLoad(Struct, frozen=True, kw_only=True):
    """How busy a stage's workers were: shares of the time in which they could work, 0 to 1.

    That is their time without their start, their end, and what was not yet due. `busy`: with an item in hand, or
    handing it over. `starved`: waiting for input. `held_up`: finished, waiting for room downstream.
    """

    busy: float = 0.0
    starved: float = 0.0
    held_up: float = 0.0


NOT_AT_WORK = ("startup", "unstaffed", "retry_wait", "pause_wait")


def load_of(account: Mapping[str, float], *, whole_seconds: float, busy_seconds: float) -> StageLoad:
    """The load that follows from a time breakdown; all zero where no worker could work."""
    present = whole_seconds - sum(account.get(category, 0.0) for category in NOT_AT_WORK)
    if present <= 0:
        return StageLoad()
    return StageLoad(
        busy=min(1.0, (busy_seconds + account.get("ipc", 0.0)) / present),
        starved=min(1.0, account.get("starved", 0.0) / present),
        held_up=min(1.0, account.get("output_blocked", 0.0) / present),
    )


class Cost(StrEnum):
    """What a step costs per pixel that it gets: nothing, less than 3 ns, less than 12 ns, more; on a core of 2026."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    UNKNOWN = "unknown"


class StepRecord(Struct, frozen=True, kw_only=True):
    """What is known of a step, whatever the run: `holds_gil` and `overhead_seconds` are None where nobody says it.

    `overhead_seconds`: of Python around the work on the pixels, which holds the GIL in any case. Of a custom step that
    says nothing: `gil_held_fraction` of its CPU, as worker processes found by asking for the GIL `gil_asks` times.
    """

    op: str = ""
    version: str = ""
    holds_gil: bool | None = None
    cost: Cost = Cost.UNKNOWN
    overhead_seconds: float | None = None
    gil_held_fraction: float | None = None
    gil_asks: int = 0

    def pooled(self, other: "StepRecord | None") -> "StepRecord":
        """With what asking for the GIL told of the same step elsewhere."""
        asks = self.gil_asks + (other.gil_asks if other else 0)
        if other is None or not asks:
            return self
        held = sum((one.gil_held_fraction or 0.0) * one.gil_asks for one in (self, other))
        return replace(self, gil_held_fraction=held / asks, gil_asks=asks)


class StageRecord(Struct, frozen=True, kw_only=True):
    """One stage. Seconds are of all its workers together but `wall_seconds`; None is unknown.

    `account`: worker-seconds by category of time, which sum to `whole_seconds`. `busy_seconds`: with an item in hand.
    `spare_workers`: threads that went on where others waited for a silent server, `spare_seconds` beside the others.
    `utilisation`: the share of their time that its workers were busy, as `StageLoad` has it.
    `inside_seconds`: sum over the items, queues included. `parts`: wall seconds inside tasks by name.
    `service_histogram`, `waiting_histogram`: tasks per bucket of `batchproc.measure.samples`, as `number:count`, so
    that what several machines measured can be added up. `steps`: of the transform stage; each stands once.
    """

    mode: ModeName = "serial"
    workers: int = 1
    spare_workers: int = 0
    spare_seconds: float = 0.0
    capacity: int | None = None
    wall_seconds: float = 0.0
    tasks: int = 0
    service_seconds: Percentiles = Percentiles()
    waiting_seconds: Percentiles = Percentiles()
    service_histogram: str = ""
    waiting_histogram: str = ""
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    cpu_per_item_seconds: float | None = None
    blocked_share: float | None = None
    utilisation: float | None = None
    account: Mapping[str, float] = field(default_factory=dict)
    account_notes: tuple[str, ...] = ()
    gil_method: str = "unknown"
    gil_error_seconds: float | None = None
    inside_seconds: float = 0.0
    ipc_bytes_per_item: float = 0.0
    ipc_parent_cpu_seconds: float = 0.0
    worker_starts: int = 0
    process_cpu_seconds: float | None = None
    startup_per_worker_seconds: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    connections: ConnectionTotals | None = None
    parts_cpu: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()
    per_worker: tuple[WorkerRecord, ...] = ()

    @property
    def whole_seconds(self) -> float:
        """Workers x wall time, and what spare workers added: what the time breakdown splits."""
        return self.workers * self.wall_seconds + self.spare_seconds

    @property
    def load(self) -> StageLoad:
        """How busy its workers were."""
        return load_of(self.account, whole_seconds=self.whole_seconds, busy_seconds=self.busy_seconds)


class HostStarts(Struct, frozen=True, kw_only=True):
    """How many requests one host was asked."""

    host: str = ""
    starts: int = 0


class TroubledHost(Struct, frozen=True, kw_only=True):
    """What came of a host's refusals."""

    host: str = ""
    refused: int = 0
    accepted: int = 0
    per_second: float = 0.0
    away: str = ""


class LocalTrouble(Struct, frozen=True, kw_only=True):
    """How often nothing could start for reasons of this machine's own, for how long, and why."""

    pauses: int = 0
    paused_seconds: float = 0.0
    codes: Mapping[str, int] = field(default_factory=dict)


class ConcurrencyRecord(Struct, frozen=True, kw_only=True):
    """What `workers = "auto"` came to. `changes` are the first and the last, as (seconds, limit, reason)."""

    start: int = 0
    limit: int = 0
    highest: int = 0
    lowest: int = 0
    changes: tuple[tuple[float, int, str], ...] = ()


class ImageClass(Struct, frozen=True, kw_only=True):
    """Images of about one size or shape, and the originals of the data set that are. `name`: as people say it."""

    name: str
    images: int
    originals: int = 0


class RejectedExample(Struct, frozen=True, kw_only=True):
    """An item that a check rejected. URLs are redacted. `like`: that of the earlier image that it looks like."""

    url: str
    message: str
    like: str = ""


class RejectedItems(Struct, frozen=True, kw_only=True):
    """All items that were rejected for one reason, with the first ones of the list."""

    code: str
    items: int
    examples: tuple[RejectedExample, ...] = ()


class HostImages(Struct, frozen=True, kw_only=True):
    """The images that came from one host."""

    host: str
    images: int


class ShardSize(Struct, frozen=True, kw_only=True):
    """One shard."""

    name: str
    images: int
    size_bytes: int


class ShardsRecord(Struct, frozen=True, kw_only=True):
    """The shards of a data set; `first` are those at its beginning."""

    count: int = 0
    size_bytes: int = 0
    least_bytes: int = 0
    most_bytes: int = 0
    first: tuple[ShardSize, ...] = ()


class DataSetRecord(Struct, frozen=True, kw_only=True):
    """The data set as it is after a run, of whichever runs. `hosts`: those with the most images, of `hosts_total`."""

    images: int = 0
    size_bytes: int = 0
    sides: tuple[ImageClass, ...] = ()
    shapes: tuple[ImageClass, ...] = ()
    hosts: tuple[HostImages, ...] = ()
    hosts_total: int = 0
    rejected: tuple[RejectedItems, ...] = ()
    shards: ShardsRecord | None = None


class ClusterWorker(Struct, frozen=True, kw_only=True):
    """One worker: the parts that it did in this run, the items that came to their end there, and its rate.

    `choices`: whether each stage's mode was right there, as the run's own `choices` say it of all workers.
    """

    worker: str
    parts: int = 0
    processed: int = 0
    done: int = 0
    seconds: float = 0.0
    images_per_second: float | None = None
    choices: tuple[str, ...] = ()


class ClusterPart(Struct, frozen=True, kw_only=True):
    """One part as it was committed in this run."""

    number: int
    generation: int
    worker: str
    seconds: float
    processed: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0


class ClusterRecord(Struct, frozen=True, kw_only=True):
    """A run that shared out its list. `parts` are those of this run that took longest; `parts.jsonl` has them all.

    `skew`: the seconds of the slowest part, divided by the mean. `quarantined`: a line for each part that was given up.
    """

    scheduler: str = ""
    dashboard: str = ""
    plan: str = ""
    parts_planned: int = 0
    parts_committed: int = 0
    parts_this_run: int = 0
    skew: float | None = None
    workers: tuple[ClusterWorker, ...] = ()
    parts: tuple[ClusterPart, ...] = ()
    quarantined: tuple[str, ...] = ()
