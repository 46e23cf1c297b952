"""All that is fixed before the first round of a bench: its cases, its length, who must make the same files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from batchproc.bench.cases import Case, make_alone_cases, make_cases
from batchproc.bench.material import Material
from batchproc.bench.predictions import Bounds
from batchproc.bench.rounds import Length
from batchproc.bench.schedule import LOOK_LEVEL, LOOKS, Schedule
from batchproc.bench.statistics import LEVEL
from batchproc.config import BenchTable, Config
from batchproc.errors import UsageError
from batchproc.measure.cores import usable_cores
from batchproc.pipeline.assembly import transform_settings
from batchproc.transform.plan_fingerprint import fingerprint as plan_fingerprint
from batchproc.transform.steps.step import Step

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
