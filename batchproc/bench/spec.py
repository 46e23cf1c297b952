"""What a bench compares: the pairs of modes, times the values of `[bench] vary`, and the comparisons among them."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import combinations, product
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from batchproc.bench.bench_json import FILE_NAME, SCHEMA, Bench, BenchSettings, Makespan, read_bench, write_bench
from batchproc.bench.dataset import Dataset, toml_value
from batchproc.bench.verdicts import LEVEL, weight_of
from batchproc.config import BenchTable, Config, resolved
from batchproc.errors import Problem, UsageError
from batchproc.measure.processes import describe_machine, usable_cores
from batchproc.model import Mode
from batchproc.pipeline.opening import make_transform
from batchproc.record.run_json import MachineRecord
from batchproc.transform.plan import fingerprint as plan_fingerprint
from batchproc.transform.steps.step import Step
from batchproc.version import VERSION

# What the bench itself decides, or what would change the work: the same in every case.
FIXED_TABLES = frozenset(("job", "origin", "bench", "report", "metrics"))
FIXED_KEYS = frozenset(("download.mode", "transform.mode", "download.allow_addresses", "download.proxy"))


class Case(Struct, frozen=True, kw_only=True):
    """One configuration. `varied` holds dotted keys of `[bench] vary` with their values, in the order of the config.

    `alone` names the stage that runs by itself, empty for a whole run; the other one's mode then means nothing.
    """

    download: Mode
    transform: Mode
    varied: tuple[tuple[str, Any], ...] = ()
    alone: str = ""

    @property
    def name(self) -> str:
        """As `thread+process`, `thread+process transform.workers=2`, or `transform alone: thread`."""
        if self.alone:
            return alone_name(self.alone, self.download)
        varied = [f"{key}={_shown(value)}" for key, value in self.varied]
        return " ".join([f"{self.download}+{self.transform}", *varied])

    @property
    def overrides(self) -> tuple[str, ...]:
        """What `--set` is given, as KEY=VALUE."""
        modes = (f'download.mode="{self.download}"', f'transform.mode="{self.transform}"')
        return (*modes, *(f"{key}={toml_value(value)}" for key, value in self.varied))

    @property
    def weight(self) -> tuple[int, int]:
        """How heavy it is, for the choice between ties."""
        return weight_of(self.download) if self.alone else weight_of(self.download, self.transform)

    @property
    def baseline(self) -> str:
        """The name of what it is compared with when it is a stage alone: the same stage, serial."""
        return alone_name(self.alone, Mode.SERIAL)


def alone_name(stage: str, mode: Mode) -> str:
    """The name of a stage's case."""
    return f"{stage} alone: {mode}"


def make_alone_cases(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Each stage by itself, in every mode that it has in `cases`, serial first."""
    found = []
    for stage in ("download", "transform"):
        modes = dict.fromkeys([Mode.SERIAL, *(getattr(case, stage) for case in cases)])
        found += [Case(download=mode, transform=mode, alone=stage) for mode in modes]
    return tuple(found)


def make_cases(modes: Sequence[str], vary: Mapping[str, Sequence[Any]]) -> tuple[Case, ...]:
    """Every case, the baseline first. Raises `UsageError`.

    `modes` holds modes, which are combined with each other, and pairs as `thread+process`, which are taken as they are.
    The baseline serial + serial, with the first of all varied values, is always among them.
    """
    _refuse_fixed(vary)
    pairs = dict.fromkeys([(Mode.SERIAL, Mode.SERIAL), *_pairs(modes)])
    values = [tuple((key, value) for value in vary[key]) for key in vary]
    return tuple(dict.fromkeys(_case(pair, varied) for pair in pairs for varied in product(*values)))


def plan_comparisons(cases: Sequence[Case], favourite: str) -> tuple[tuple[str, str], ...]:
    """What is compared, fixed before the first round: all with the baseline, and the predicted winner with all.

    The second half is what allows to name a winner: one chosen after the measurement would have to be counted as a
    choice among all pairs. Empty `favourite`: nothing was predicted, then only the first half. Of a stage alone all
    modes are compared with each other.
    """
    names, baseline = [case.name for case in cases if not case.alone], cases[0].name
    plan = tuple((name, baseline) for name in names if name != baseline)
    if favourite not in ("", baseline):
        plan += tuple((favourite, name) for name in names if name not in (favourite, baseline))
    for stage in ("download", "transform"):
        alone = [case.name for case in cases if case.alone == stage]
        plan += tuple((heavier, lighter) for lighter, heavier in combinations(alone, 2))
    return plan


def named(cases: Iterable[Case]) -> dict[str, Case]:
    """The cases by name."""
    return {case.name: case for case in cases}


def _pairs(modes: Sequence[str]) -> Iterator[tuple[Mode, Mode]]:
    """The grid of the single modes, then the pairs given as such."""
    problems = []
    singles: list[Mode] = []
    given: list[tuple[Mode, Mode]] = []
    for text in modes:
        words = text.strip().split("+")
        if len(words) > 2 or any(word not in list(Mode) for word in words):
            message = "must be serial, thread or process, or two of them as thread+process"
            problems.append(Problem(where=f"--modes {text}", message=message))
        elif len(words) == 2:
            given.append((Mode(words[0]), Mode(words[1])))
        else:
            singles.append(Mode(words[0]))
    if problems:
        raise UsageError(problems)
    yield from product(singles, singles)
    yield from given


def _case(pair: tuple[Mode, Mode], varied: tuple[tuple[str, Any], ...]) -> Case:
    """The number of workers is no matter to a serial stage, so such cases are one."""
    modes = dict(zip(("download", "transform"), pair, strict=True))
    idle = {f"{stage}.workers" for stage, mode in modes.items() if mode is Mode.SERIAL}
    return Case(**modes, varied=tuple(one for one in varied if one[0] not in idle))


def _refuse_fixed(vary: Mapping[str, Sequence[Any]]) -> None:
    problems = []
    for key, values in vary.items():
        if key.split(".")[0] in FIXED_TABLES or key in FIXED_KEYS:
            message = "is the same in every case: the bench decides it, or it would change the work"
            problems.append(Problem(where=f"[bench] vary {key}", message=message))
        if not values:
            problems.append(Problem(where=f"[bench] vary {key}", message="must have at least one value"))
    if problems:
        raise UsageError(problems)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


LOOKS = (10, 20, 30)  # rounds after which `--until-decided` looks
LOOK_LEVEL = LEVEL / len(LOOKS)  # Bonferroni over the looks: simple, and 10 of 10 still passes Holm over eight
QUICK_ROUNDS = 5
QUICK_ITEMS = 60
SEED = 20
MAKESPAN = "line_seconds"
WHY_MAKESPAN = (
    "line_seconds of run.json: from opening the first worker to the last outcome and the end of the last worker, so "
    "start-up and drain of threads and processes are in it; the interpreter's start, reading the list and closing the "
    "ledger, which no mode changes, are not: they are the cold start, shown by itself"
)

Load: TypeAlias = Callable[[Sequence[str]], tuple[Config, tuple[Step, ...]]]
Notify: TypeAlias = Callable[[str], None]


class Schedule(Struct, frozen=True, kw_only=True):
    """The cases of a bench by name, the one that runs twice in each round, and the seed of their orders.

    Complete rounds, each in a fresh order that the seed alone decides: an order depends on nothing but seed, round and
    attempt, so a bench that was stopped goes on with the orders it would have had. Complete randomised blocks take out
    what a whole round shares (Fisher, The Design of Experiments, 1935).
    """

    cases: tuple[str, ...]
    baseline: str
    seed: int

    @property
    def again(self) -> str:
        """The name of the baseline's second run: a case of its own, compared only with the first."""
        return f"{self.baseline} (again)"

    @property
    def entries(self) -> tuple[str, ...]:
        """What every round runs: each case once, and the baseline again."""
        return (*self.cases, self.again)

    def order(self, number: int, attempt: int = 1) -> tuple[str, ...]:
        """The order of a round; `attempt` counts from 1 and goes up when a disturbed round is run again."""
        return tuple(random.Random(f"{self.seed}/{number}/{attempt}").sample(self.entries, len(self.entries)))


class Bounds(Struct, frozen=True, kw_only=True):
    """What the model needs to know of one case besides its modes."""

    download_workers: int
    transform_workers: int
    per_host: int


class BenchOptions(Struct, frozen=True, kw_only=True):
    """What the command line asks of a bench. 0 and empty: as the config says."""

    rounds: int = 0
    quick: bool = False
    until_decided: bool = False
    modes: tuple[str, ...] = ()
    limit: int = 0
    keep: bool = False
    alone: bool = False
    fresh: bool = False


class Spec(Struct, frozen=True, kw_only=True):
    """All that is fixed before the first round."""

    config: Config
    options: BenchOptions
    cases: tuple[Case, ...]
    plans: Mapping[str, str]  # the settings hash by case, see `plan_of`
    bounds: Mapping[str, Bounds]
    settings: BenchSettings
    dataset: Dataset

    @property
    def schedule(self) -> Schedule:
        """Which case runs when."""
        names = tuple(case.name for case in self.cases)
        return Schedule(cases=names, baseline=names[0], seed=SEED)


def find_cases(config: Config, options: BenchOptions) -> tuple[Case, ...]:
    """The cases, in the order of the report; the first is the baseline. Raises `UsageError` for an unknown mode."""
    table = config.bench or BenchTable()
    cases = make_cases(options.modes or table.modes, table.vary)
    return cases + make_alone_cases(cases) if options.alone else cases


def find_settings(config: Config, options: BenchOptions) -> BenchSettings:
    """How many rounds, at which level. Raises `UsageError` for options that exclude each other."""
    if options.until_decided and (options.rounds or options.quick):
        looks = ", ".join(map(str, LOOKS))
        raise UsageError(f"--until-decided looks after {looks} rounds; it does not go with --rounds or --quick")
    table = config.bench or BenchTable()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else table.rounds)
    return BenchSettings(
        rounds=rounds,
        until_decided=options.until_decided,
        rerun=not options.quick,
        seed=SEED,
        level=LOOK_LEVEL if options.until_decided else LEVEL,  # looking before the end costs some of it
        quick=options.quick,
    )


def plan_of(case: Case, config: Config, steps: tuple[Step, ...]) -> str:
    """The settings hash: who has the same must make the same files."""
    return "originals" if case.alone == "download" else plan_fingerprint(make_transform(config, steps))


def bounds_of(case: Config, shared: Config, dataset: Dataset) -> Bounds:
    """Workers and connections of a case; `per_host` is the dataset's unless the case varies it."""
    varies = case.download.per_host != shared.download.per_host
    return Bounds(
        download_workers=case.download.worker_count(case.download.first_mode, usable_cores()),
        transform_workers=case.transform.worker_count(usable_cores()),
        per_host=case.download.per_host if varies else dataset.per_host,
    )


def open_bench(spec: Spec, root: Path, notify: Notify) -> tuple[Bench, Path]:
    """The interrupted bench of the same fingerprint, or a new one; and its folder."""
    host = describe_machine()
    wanted = fingerprint(
        {
            "version": VERSION,
            "host": host,
            "config": spec.config.model_dump(mode="json"),
            "cases": [case.name for case in spec.cases],
            "plans": spec.plans,
            "length": to_builtins(spec.settings),
            "material": spec.dataset.identity(),
        }
    )
    found = None if spec.options.fresh else find_unfinished(root, wanted)
    if found is not None:
        notify(f"continuing {found[1].name}: {len(found[0].measured)} rounds are made")
        return found
    bench = replace(
        new_bench(spec.config),
        fingerprint=wanted,
        makespan=Makespan(figure=MAKESPAN, because=WHY_MAKESPAN),
        settings=spec.settings,
        baseline=spec.schedule.baseline,
        baseline_again=spec.schedule.again,
        material=spec.dataset.describe(),
    )
    folder = new_folder(root, datetime.now(UTC))
    write_bench(bench, folder)
    return bench, folder


def new_bench(config: Config) -> Bench:
    """What is known of every bench before anything runs."""
    return Bench(
        schema=SCHEMA,
        version=VERSION,
        job=config.job.name,
        started=timestamp(),
        host=MachineRecord(**describe_machine()),
        config=resolved(config),
        rounds=(),
    )


def fingerprint(identity: Mapping[str, object]) -> str:
    """What tells one bench from another: only with the same one an interrupted bench is continued."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def find_unfinished(root: Path, wanted: str) -> tuple[Bench, Path] | None:
    """The newest bench in `root` that was interrupted and has this fingerprint, and its folder."""
    for path in sorted(root.glob(f"*/{FILE_NAME}"), reverse=True):
        folder = path.parent
        if folder.is_symlink():
            continue
        with suppress(UsageError):  # of another version
            bench = read_bench(folder)
            if bench.fingerprint == wanted and not bench.complete:
                return bench, folder
    return None


def new_folder(root: Path, now: datetime) -> Path:
    """Makes the folder of a bench that starts `now`, named by its UTC second; `-2` and up for more in one second."""
    name = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder, number = root / name, 1
    while folder.exists():
        number += 1
        folder = root / f"{name}-{number}"
    folder.mkdir()
    return folder


def timestamp() -> str:
    """Now, as bench.json writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
