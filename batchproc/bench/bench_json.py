"""bench.json: the one record of a bench as frozen Structs, written after each run and checked when it is read.

What an older or an interrupted bench lacks has a default. The names of the keys are those of the fields.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, ValidationError, convert, field

from batchproc.bench.verdicts import LEVEL, CaseComparison, NoiseFloor
from batchproc.errors import DiskError, UsageError
from batchproc.measure.breakdown import OTHERS_LIMIT, STEAL_LIMIT
from batchproc.measure.samples import MachineUsage
from batchproc.record.explanation import JobModel
from batchproc.record.run_json import MachineRecord
from batchproc.record.run_parts import ModeName, StageRecord
from batchproc.sink import write_atomically

FILE_NAME = "bench.json"
SCHEMA = 1
UNKNOWN = "unknown"
WARM_UP = 0  # the number of the round that is thrown away; those that count are numbered from 1


class RoundCounts(Struct, frozen=True, kw_only=True):
    """How many rounds count, and how many something disturbed; None before the first is complete.

    `noisy`: a round counts although it was disturbed, for the extra rounds did not suffice.
    """

    rounds: int | None = None
    extra: int | None = None
    disturbed: int | None = None
    counted_disturbed: int | None = None
    noisy: bool = False
    text: str = "unknown"


class BenchSettings(Struct, frozen=True, kw_only=True):
    """What was asked for. `rerun` False: every round is taken as it is, for a bench that is indicative only."""

    rounds: int | None = None
    until_decided: bool = False
    rerun: bool = True
    seed: int | None = None
    level: float = LEVEL
    quick: bool = False


class Latencies(Struct, frozen=True, kw_only=True):
    """How long the origin lets an image wait, in seconds."""

    median: float
    min: float
    max: float


class BenchDataset(Struct, frozen=True, kw_only=True):
    """The images. `left_out`: what the list has beyond them."""

    kind: str = UNKNOWN  # origin, photos or replay
    text: str = "unknown images"
    items: int = 1
    left_out: int | None = None
    per_host: int | None = None
    latency_seconds: Latencies | None = None


class BenchCalibration(JobModel, frozen=True, kw_only=True):
    """The model's parameters, from small runs before the first round."""

    phi_transform_low: float | None = None
    phi_transform_high: float | None = None
    miss_of_its_own_run: float | None = None
    text: str = ""


class BenchPrediction(Struct, frozen=True, kw_only=True):
    """Of one case, with the measured value beside it. Ratios are of times; `error` is of the predicted time."""

    case: str
    rate_per_second: float | None = None
    seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    start_seconds: float | None = None
    bound: str | None = None
    bound_stage: str | None = None
    because: str = ""
    measured_rate_per_second: float | None = None
    measured_ratio: float | None = None
    error: float | None = None

    @property
    def speed_error(self) -> float | None:
        """The error of the predicted speed, 0.1 for 10% too fast."""
        return None if self.error is None or self.error <= -1 else 1 / (1 + self.error) - 1


class CaseRun(Struct, frozen=True, kw_only=True):
    """One run of a case. `seconds` is the makespan, `command_seconds` from the child's start to its end.

    `stages` are those of its run.json, without what they say of single workers, hosts and parts of tasks.
    """

    seconds: float
    command_seconds: float = 0.0
    startup_seconds: float | None = None
    done: int = 0
    failed: int = 0
    conditions: MachineUsage = MachineUsage()  # what the machine did besides
    origin_cpu_seconds: float | None = None
    peak_pss_bytes: int | None = None
    per_worker_pss_bytes: int | None = None
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    outputs_sha256: str = ""

    @property
    def rate_per_second(self) -> float:
        """Images done per second of makespan."""
        return self.done / self.seconds


class BenchRound(Struct, frozen=True, kw_only=True):
    """One attempt at a round, its runs in `order`; number 0 is the warm-up."""

    number: int
    attempt: int = 1
    order: tuple[str, ...] = ()
    runs: Mapping[str, CaseRun] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every case ran. A round that was cut is made again whole: its runs are to share their conditions."""
        return len(self.runs) == len(self.order)

    @property
    def disturbances(self) -> tuple[str, ...]:
        """What the machine did besides, in words."""
        return disturbances(worst_of(run.conditions for run in self.runs.values()))


class BenchStage(Struct, frozen=True, kw_only=True):
    """A stage of a case, averaged over its runs."""

    mode: str
    workers: int
    account: Mapping[str, float] = field(default_factory=dict)
    cpu_per_item_seconds: float | None = None
    utilisation: float | None = None
    service_p50_seconds: float | None = None
    ipc_bytes_per_item: float | None = None
    startup_per_worker_seconds: float | None = None


class BenchMemory(Struct, frozen=True, kw_only=True):
    """Medians over the runs of a case; None where the system does not tell."""

    peak_pss_bytes: float | None = None
    per_worker_pss_bytes: float | None = None


class BenchCase(Struct, frozen=True, kw_only=True):
    """One case over the rounds that count. `alone` names the stage that ran by itself."""

    name: str
    download: ModeName
    transform: ModeName
    seconds: tuple[float, ...]
    rates_per_second: tuple[float, ...]
    median_rate_per_second: float
    stages: Mapping[str, BenchStage]
    varied: Mapping[str, object] = field(default_factory=dict)
    alone: str | None = None
    startup_seconds: float | None = None
    command_seconds: float = 0.0
    rate_interval: tuple[float, float] | None = None
    origin_cpu_seconds: float | None = None
    memory: BenchMemory = BenchMemory()

    def mode(self, stage: str) -> str:
        """The mode of a stage, also of one that did not run."""
        return self.download if stage == "download" else self.transform

    @property
    def numbers(self) -> dict[str, float]:
        """The varied settings that are numbers."""
        return {key: value for key, value in self.varied.items()
                if isinstance(value, int | float) and not isinstance(value, bool)}  # fmt: skip


class Winner(Struct, frozen=True, kw_only=True):
    """Which case to take, and what is proven of it."""

    case: str
    fastest_median: str
    favourite: str = ""
    predicted: bool = False
    beats: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    not_told_apart: tuple[str, ...] = ()


class Makespan(Struct, frozen=True, kw_only=True):
    """What is timed, and why that."""

    figure: str = UNKNOWN
    because: str = UNKNOWN


class ColdStart(Struct, frozen=True, kw_only=True):
    """The bench's very first run, of the calibration: nothing of it was in the page cache by our doing."""

    command_seconds: float | None = None
    line_seconds: float | None = None
    outside_line_seconds: float | None = None
    startup_seconds: float | None = None


class Outputs(Struct, frozen=True, kw_only=True):
    """Whether all modes made the same files, and how many images and failures were compared, by settings hash."""

    identical: bool = False
    items_by_plan: Mapping[str, int] = field(default_factory=dict)


class Bench(Struct, frozen=True, kw_only=True):
    """One bench; without a `baseline` it has experiments alone. The laboratory checks its own two keys.

    `plan`: the comparisons, fixed with the predictions before the first round; None before that. From `cases` on
    everything follows from the rounds.
    """

    schema: int
    version: str = UNKNOWN
    job: str = UNKNOWN
    started: str = UNKNOWN
    host: MachineRecord = field(default_factory=MachineRecord)
    config: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str = UNKNOWN
    makespan: Makespan = Makespan()
    settings: BenchSettings = BenchSettings()
    baseline: str = ""
    baseline_again: str = ""
    material: BenchDataset = BenchDataset()
    cold_start: ColdStart = ColdStart()
    calibration: BenchCalibration | None = None
    favourite: str = ""
    plan: tuple[tuple[str, str], ...] | None = None
    rounds: tuple[BenchRound, ...]
    complete: bool = False
    cases: tuple[BenchCase, ...] = ()
    noise_floor: NoiseFloor | None = None
    contamination: RoundCounts = field(default_factory=RoundCounts)
    comparisons: tuple[CaseComparison, ...] = ()
    predictions: tuple[BenchPrediction, ...] = ()
    winner: Winner | None = None
    notes: tuple[str, ...] = ()
    experiments: tuple[object, ...] = ()
    claims: tuple[object, ...] = ()
    outputs: Outputs | None = None
    ended: str | None = None

    def case(self, name: str) -> BenchCase | None:
        """The case of that name."""
        return next((case for case in self.cases if case.name == name), None)

    @property
    def measured(self) -> tuple[BenchRound, ...]:
        """The complete rounds after the warm-up, in the order they were made, disturbed ones included."""
        return tuple(one for one in self.rounds if one.complete and one.number != WARM_UP)


def worst_of(runs: Iterable[MachineUsage]) -> MachineUsage:
    """The conditions of a round: the worst of its runs in each respect, for one disturbed run spoils its ratio."""
    listed = list(runs)
    return MachineUsage(
        others_cpu_share=_largest(run.others_cpu_share for run in listed),
        steal_share=_largest(run.steal_share for run in listed),
        throttled_seconds=_largest(run.throttled_seconds for run in listed),
    )


def disturbances(conditions: MachineUsage) -> tuple[str, ...]:
    """What contaminates a round, in words with numbers; empty when nothing is known to. Unknown is not contaminated."""
    found = []
    if (conditions.others_cpu_share or 0.0) > OTHERS_LIMIT:
        found.append(f"other programs used {conditions.others_cpu_share:.1%} of the CPU (limit {OTHERS_LIMIT:.0%})")
    if (conditions.steal_share or 0.0) > STEAL_LIMIT:
        found.append(f"the hypervisor took {conditions.steal_share:.1%} of the CPU (limit {STEAL_LIMIT:.0%})")
    if (conditions.throttled_seconds or 0.0) > 0.0:
        found.append(f"a CPU quota held the round back for {conditions.throttled_seconds:.2f} s")
    return tuple(found)


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def to_json(bench: Bench) -> dict[str, Any]:
    """The content of bench.json; what follows from a round stands in it for other readers."""
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(bench))
    for row, one in zip(content["rounds"], bench.rounds, strict=True):
        row |= {"complete": one.complete, "disturbances": list(one.disturbances)}
        for name, run in one.runs.items():
            row["runs"][name]["rate_per_second"] = run.rate_per_second
    return content


def parse_bench(content: object) -> Bench:
    """From the content of bench.json. Raises `msgspec.ValidationError`."""
    return convert(content, Bench)


def write_bench(bench: Bench, folder: Path) -> None:
    """Replaces bench.json. Raises `DiskError`."""
    path = folder / FILE_NAME
    try:
        write_atomically(path, [json.dumps(to_json(bench), indent=1, ensure_ascii=False).encode(), b"\n"])
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from error


def read_bench(folder: Path) -> Bench:
    """bench.json. Raises `UsageError` when it is none."""
    path = folder / FILE_NAME
    try:
        return parse_bench(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise UsageError(f"{path}: is not the bench.json of a batchproc bench: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {type(error).__name__}") from error
