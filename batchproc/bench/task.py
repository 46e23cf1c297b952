"""All that is fixed before the first round of a bench: cases, length, who must make the same files; its bench.json."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from batchproc.bench.cases import Case, make_alone_cases, make_cases
from batchproc.bench.material import Material
from batchproc.bench.predictions import Bounds
from batchproc.bench.record import Length, Record, find_unfinished, fingerprint, new_folder
from batchproc.bench.result import MAKESPAN, WHY_MAKESPAN
from batchproc.bench.schedule import LOOK_LEVEL, LOOKS, Schedule
from batchproc.bench.statistics import LEVEL
from batchproc.config import BenchTable, Config, resolved
from batchproc.errors import UsageError
from batchproc.measure.hardware import describe_machine, usable_cores
from batchproc.pipeline.assembly import transform_settings
from batchproc.transform.plan_fingerprint import fingerprint as plan_fingerprint
from batchproc.transform.steps.step import Step
from batchproc.version import VERSION

QUICK_ROUNDS = 5
QUICK_ITEMS = 60
SEED = 20

Load: TypeAlias = Callable[[Sequence[str]], tuple[Config, tuple[Step, ...]]]
Tell: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What the command line asks of a bench. 0 and empty: as the config says."""

    rounds: int = 0
    quick: bool = False
    until_decided: bool = False
    modes: tuple[str, ...] = ()
    limit: int = 0
    keep: bool = False
    alone: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that is fixed before the first round."""

    config: Config
    options: BenchOptions
    cases: tuple[Case, ...]
    plans: Mapping[str, str]  # by case, see `plan_of`
    bounds: Mapping[str, Bounds]
    length: Length
    material: Material

    @property
    def schedule(self) -> Schedule:
        """Which case runs when."""
        names = tuple(case.name for case in self.cases)
        return Schedule(cases=names, baseline=names[0], seed=SEED)

    @property
    def level(self) -> float:
        """Of significance; looking before the end costs some of it."""
        return LOOK_LEVEL if self.length.until_decided else LEVEL


def find_cases(config: Config, options: BenchOptions) -> tuple[Case, ...]:
    """The cases, in the order of the report; the first is the baseline. Raises `UsageError` for an unknown mode."""
    table = config.bench or BenchTable()
    cases = make_cases(options.modes or table.modes, table.vary)
    return cases + make_alone_cases(cases) if options.alone else cases


def find_length(config: Config, options: BenchOptions) -> Length:
    """How many rounds. Raises `UsageError` for wishes that exclude each other."""
    if options.until_decided and (options.rounds or options.quick):
        looks = ", ".join(map(str, LOOKS))
        raise UsageError(f"--until-decided looks after {looks} rounds; it does not go with --rounds or --quick")
    table = config.bench or BenchTable()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else table.rounds)
    return Length(rounds=rounds, until_decided=options.until_decided, rerun=not options.quick)


def plan_of(case: Case, config: Config, steps: tuple[Step, ...]) -> str:
    """Who has the same plan must make the same files."""
    return "originals" if case.alone == "download" else plan_fingerprint(transform_settings(config, steps))


def bounds_of(case: Config, shared: Config, material: Material) -> Bounds:
    """Workers and connections of a case; `per_host` is the material's unless the case varies it."""
    varies = case.download.per_host != shared.download.per_host
    return Bounds(
        download_workers=case.download.worker_count(case.download.first_mode, usable_cores()),
        transform_workers=case.transform.worker_count(usable_cores()),
        per_host=case.download.per_host if varies else material.per_host,
    )


def open_record(task: Task, root: Path, tell: Tell) -> Record:
    """The interrupted bench of the same fingerprint, or a new one."""
    host = describe_machine()
    wanted = fingerprint(
        {
            "version": VERSION,
            "host": host,
            "config": task.config.model_dump(mode="json"),
            "cases": [case.name for case in task.cases],
            "plans": task.plans,
            "length": asdict(task.length),
            "material": task.material.identity(),
        }
    )
    found = None if task.options.fresh else find_unfinished(root, wanted)
    if found is not None:
        tell(f"continuing {found.folder.name}: {len(found.measured)} rounds are made")
        return found
    record = Record(folder=new_folder(root, datetime.now(UTC)), header=_header(task, wanted))
    record.save()
    return record


def header_of(config: Config) -> dict[str, Any]:
    """What every bench.json begins with."""
    return {
        "version": VERSION,
        "job": config.job.name,
        "started": timestamp(),
        "host": describe_machine(),
        "config": resolved(config),
    }


def _header(task: Task, fingerprint_text: str) -> dict[str, Any]:
    """What of bench.json is known before anything runs."""
    return header_of(task.config) | {
        "fingerprint": fingerprint_text,
        "makespan": {"figure": MAKESPAN, "because": WHY_MAKESPAN},
        "settings": asdict(task.length) | {"seed": SEED, "level": task.level, "quick": task.options.quick},
        "baseline": task.schedule.baseline,
        "baseline_again": task.schedule.again,
        "material": task.material.to_json(),
    }


def timestamp() -> str:
    """Now, as bench.json writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
