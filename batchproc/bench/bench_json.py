"""bench.json as frozen dataclasses, checked when it is read; what an older or interrupted bench lacks has a default."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from batchproc.bench.record import FILE_NAME
from batchproc.bench.schedule import Conditions, RoundCounts
from batchproc.bench.statistics import LEVEL
from batchproc.bench.verdicts import Comparison, NoiseFloor
from batchproc.errors import UsageError
from batchproc.record.explanation import StageModel
from batchproc.record.run import MachineRecord
from batchproc.record.stage import ModeName

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What was asked for."""

    rounds: int | None = None
    seed: int | None = None
    level: float = LEVEL
    quick: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchMaterial:
    """The pictures."""

    text: str = "unknown pictures"
    items: int = 1
    left_out: int | None = None
    per_host: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCalibration:
    """The model's parameters, from small runs before the first round."""

    download: StageModel
    transform: StageModel
    glue_seconds: float
    origin_cpu_seconds: float
    cores: float
    phi_transform_low: float | None = None
    phi_transform_high: float | None = None
    miss_of_its_own_run: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPrediction:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """One run of a round."""

    seconds: float
    conditions: Conditions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRound:
    """One attempt at a round; 0 is the warm-up."""

    number: int
    attempt: int = 1
    complete: bool = False
    disturbances: tuple[str, ...] = ()
    runs: Mapping[str, BenchRun] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStage:
    """A stage of a case, averaged over its runs."""

    mode: str
    workers: int
    account: Mapping[str, float] = field(default_factory=dict)
    cpu_per_item_seconds: float | None = None
    utilisation: float | None = None
    service_p50_seconds: float | None = None
    ipc_bytes_per_item: float | None = None
    startup_per_worker_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchMemory:
    """Medians over the runs of a case; None where the system does not tell."""

    peak_pss_bytes: float | None = None
    per_worker_pss_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCase:
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
    memory: BenchMemory = field(default_factory=BenchMemory)

    def mode(self, stage: str) -> str:
        """The mode of a stage, also of one that did not run."""
        return self.download if stage == "download" else self.transform

    @property
    def numbers(self) -> dict[str, float]:
        """The varied settings that are numbers."""
        return {key: value for key, value in self.varied.items()
                if isinstance(value, int | float) and not isinstance(value, bool)}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """Which case to take, and what is proven of it."""

    case: str
    fastest_median: str
    favourite: str = ""
    predicted: bool = False
    beats: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    not_told_apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Makespan:
    """What is timed, and why that."""

    because: str = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """The bench's very first run."""

    outside_line_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Whether all modes made the same files."""

    identical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One bench; without a `baseline` it has experiments alone. The laboratory checks its own two keys."""

    schema: int
    rounds: tuple[BenchRound, ...]
    version: str = UNKNOWN
    job: str = UNKNOWN
    started: str = UNKNOWN
    ended: str | None = None
    complete: bool = False
    fingerprint: str = UNKNOWN
    settings: BenchSettings = field(default_factory=BenchSettings)
    baseline: str = ""
    baseline_again: str = ""
    favourite: str = ""
    makespan: Makespan = field(default_factory=Makespan)
    material: BenchMaterial = field(default_factory=BenchMaterial)
    calibration: BenchCalibration | None = None
    cold_start: ColdStart = field(default_factory=ColdStart)
    cases: tuple[BenchCase, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    predictions: tuple[BenchPrediction, ...] = ()
    noise_floor: NoiseFloor | None = None
    contamination: RoundCounts = field(default_factory=RoundCounts)
    winner: Winner | None = None
    outputs: Outputs | None = None
    notes: tuple[str, ...] = ()
    experiments: tuple[object, ...] = ()
    claims: tuple[object, ...] = ()
    host: MachineRecord = field(default_factory=MachineRecord)
    config: Mapping[str, object] = field(default_factory=dict)

    def case(self, name: str) -> BenchCase | None:
        """The case of that name."""
        return next((case for case in self.cases if case.name == name), None)


_BENCH = TypeAdapter(Bench)


def parse_bench(facts: object) -> Bench:
    """From the content of bench.json. Raises `pydantic.ValidationError`."""
    return _BENCH.validate_python(facts)


def read_bench(folder: Path) -> Bench:
    """bench.json. Raises `UsageError` when it is none."""
    path = folder / FILE_NAME
    try:
        return parse_bench(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(f"{path}: is not the bench.json of a batchproc bench: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {type(error).__name__}") from error
