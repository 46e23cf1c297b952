"""All that is fixed before the first round of a bench: cases, length, who must make the same files; its bench.json."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from batchproc.bench.bench_json import FILE_NAME, SCHEMA, Bench, BenchSettings, Makespan, read_bench, write_bench
from batchproc.bench.cases import Case, make_alone_cases, make_cases
from batchproc.bench.dataset import Dataset
from batchproc.bench.predictions import Bounds
from batchproc.bench.schedule import LOOK_LEVEL, LOOKS, Schedule
from batchproc.bench.statistics import LEVEL
from batchproc.config import BenchTable, Config, resolved
from batchproc.errors import UsageError
from batchproc.measure.hardware import describe_machine, usable_cores
from batchproc.pipeline.opening import make_transform
from batchproc.record.run_json import MachineRecord
from batchproc.transform.plan import fingerprint as plan_fingerprint
from batchproc.transform.steps.step import Step
from batchproc.version import VERSION

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
class Spec:
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
            "length": asdict(spec.settings),
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
