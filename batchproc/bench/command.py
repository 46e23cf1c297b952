"""`batchproc bench`: from a config to bench.json. Fixes everything first, predicts, measures, concludes."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from batchproc.bench.bench_json import BenchPrediction
from batchproc.bench.cases import Case, named, plan_comparisons
from batchproc.bench.conclude import conclude, count_undecided
from batchproc.bench.job_file import toml_value, write_job_file
from batchproc.bench.material import find_material
from batchproc.bench.predictions import calibrate, favourite_of, predict_cases, sample
from batchproc.bench.record import FILE_NAME, Record, Round, make_rounds
from batchproc.bench.result import CaseResult
from batchproc.bench.runner import Interrupt, OutputCheck, Ran, Runner
from batchproc.bench.schedule import disturbances
from batchproc.bench.task import (
    QUICK_ITEMS,
    BenchOptions,
    Load,
    Task,
    Tell,
    bounds_of,
    find_cases,
    find_length,
    open_record,
    plan_of,
    timestamp,
)
from batchproc.config import Config
from batchproc.errors import DiskError, UsageError
from batchproc.lock import RunLock
from batchproc.measure.hardware import usable_cores
from batchproc.model import Mode
from batchproc.origin import EmbeddedOrigin
from batchproc.sink import write_atomically
from batchproc.sink.atomic import point_atomically

CALIBRATION_TRIES = 3
WORK_NAME = "work"

After: TypeAlias = Callable[[Config, Interrupt], Mapping[str, Any]]  # further keys of bench.json, made after the rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """The content of bench.json, and the folder it is in."""

    facts: Mapping[str, Any]
    folder: Path


def run_bench(load: Load, options: BenchOptions, tell: Tell, after: After | None = None) -> BenchResult:
    """Runs a bench, or continues one that was interrupted. `load` reads the config under further KEY=VALUE settings.

    Call it in the main thread. Raises `UsageError` before anything runs, `BenchError` when a run breaks or outputs
    differ, `LockHeldError` when another bench of this job is under way, and `BenchStopped` after SIGINT or SIGTERM.
    """
    load = _with_as_many_workers(load, tell)
    config, _ = load(())
    root = config.paths.output / "bench"
    cases, length = find_cases(config, options), find_length(config, options)
    loaded = {case.name: load(case.overrides) for case in cases}
    make_folder(root)
    with RunLock(root / "lock"), Interrupt() as interrupt:
        limit = options.limit or (QUICK_ITEMS if options.quick else 0)
        material = find_material(config, root / "cache", limit=limit, tell=tell)
        task = Task(
            config=config,
            options=options,
            cases=cases,
            plans={case.name: plan_of(case, *loaded[case.name]) for case in cases},
            bounds={name: bounds_of(pair[0], config, material) for name, pair in loaded.items()},
            length=length,
            material=material,
        )
        try:
            bench = _Bench(task, open_record(task, root, tell), interrupt, tell)
            bench.run_rounds()
            return bench.finish(after(config, interrupt) if after else {})
        except OSError as error:
            raise DiskError(f"{root}: the bench cannot go on: {error}") from error


def _with_as_many_workers(load: Load, tell: Tell) -> Load:
    """The same with a fixed number of download workers: all modes get as many, or it is not the modes that differ."""
    config, _ = load(())
    if config.download.workers != "auto":
        return load
    workers = config.download.worker_count("process", usable_cores())
    tell(f'[download] workers = "auto": {workers} in every mode here, so that nothing but the mode differs')
    return lambda more: load([f"download.workers={workers}", *more])


class _Bench:
    """One bench under way; used in the main thread alone."""

    def __init__(self, task: Task, record: Record, interrupt: Interrupt, tell: Tell) -> None:
        self._task = task
        self._interrupt = interrupt
        self._record = record
        self._tell = tell
        (record.folder / WORK_NAME).mkdir(exist_ok=True)
        self._check = OutputCheck(record.folder / WORK_NAME)

    def run_rounds(self) -> None:
        """Runs all that is missing."""
        task, record = self._task, self._record
        work = record.folder / WORK_NAME
        self._tell(f"bench: {len(task.cases)} cases and the baseline again; {task.material.text}")
        with EmbeddedOrigin(task.material.origin) as origin:
            items, job_file = work / "items.txt", work / "job.toml"
            _write_list(items, task.material.paths)
            write_job_file(
                job_file, task.config, items=items, base_url=f"{origin.base_url}/", per_host=task.material.per_host
            )
            runner = Runner(
                job_file, work / "cases", self._interrupt, origin_pid=origin.pid, keep=task.options.keep
            )
            if "predictions" not in record.header:
                self._predict(runner)
            make_rounds(
                record,
                task.schedule,
                named(task.cases),
                task.length,
                lambda case: self._run_case(runner, case),
                self._count_undecided,
                saved=self._save,
            )

    def _predict(self, runner: Runner) -> None:
        """Calibrates with small runs, the first of which is the cold start, and writes the predictions down."""
        task, header = self._task, self._record.header
        items = self._record.folder / WORK_NAME / "calibration.txt"
        _write_list(items, sample(task.material.paths))
        setting = f"job.input={toml_value(str(items))}"
        self._tell("calibrating with small runs ...")
        cold, serial = self._run_undisturbed(runner, task.cases[0], setting)
        has_processes = any(Mode.PROCESS in (case.download, case.transform) for case in task.cases)
        both = replace(task.cases[0], download=Mode.PROCESS, transform=Mode.PROCESS, varied=())
        process = self._run_undisturbed(runner, both, setting)[1].record if has_processes else None
        cores = usable_cores()
        calibration = calibrate(serial.record, process, items=len(task.material.paths), cores=cores)
        header["cold_start"] = _cold_start(cold.result)
        header["calibration"] = calibration.to_json() if calibration else None
        predictions = predict_cases(calibration, task.cases, task.bounds)
        header["predictions"] = [asdict(row) for row in predictions]
        header["favourite"] = favourite_of(predictions, task.cases)
        header["plan"] = plan_comparisons(task.cases, header["favourite"])
        self._record.save()
        self._tell(f"predicted winner: {header['favourite'] or 'unknown'}")

    def _run_case(self, runner: Runner, case: Case) -> CaseResult:
        ran = runner.run(case)
        self._check.compare(self._task.plans[case.name], ran.result.outputs, case.name)
        runner.clear(ran)
        return ran.result

    def _run_undisturbed(self, runner: Runner, case: Case, setting: str) -> tuple[Ran, Ran]:
        """The first run, and the fastest of as many as it takes until one is undisturbed."""
        made: list[Ran] = []
        while len(made) < CALIBRATION_TRIES and (not made or disturbances(made[-1].result.conditions)):
            made.append(runner.run(case, setting))
            runner.clear(made[-1])
        return made[0], min(made, key=lambda ran: ran.result.seconds)

    def _save(self, one: Round) -> None:
        """After each case: everything is on disk. After each round: a word to the user."""
        record = self._record
        record.found = self._conclusions()
        record.save()
        if one.complete:
            took = sum(run.command_seconds for run in one.runs.values())
            name = f"round {one.number}" if one.number else "warm-up round, thrown away"
            again = f", attempt {one.attempt}" if one.attempt > 1 else ""
            noise = f"; disturbed: {', '.join(one.disturbances)}" if one.disturbances and one.number else ""
            self._tell(f"{name}{again}: {took:.0f} s{noise}")

    def _conclusions(self) -> dict[str, Any]:
        task, header = self._task, self._record.header
        return conclude(
            self._record.measured,
            task.cases,
            task.schedule.again,
            header["plan"],
            [BenchPrediction(**row) for row in header["predictions"]],
            favourite=header["favourite"],
            level=task.level,
            rerun=task.length.rerun,
        )

    def _count_undecided(self, rounds: int) -> int:
        task = self._task
        return count_undecided(
            self._record.measured,
            task.cases,
            task.schedule.again,
            self._record.header["plan"],
            rounds=rounds,
            level=task.level,
        )

    def finish(self, more: Mapping[str, Any]) -> BenchResult:
        """Concludes; `more` are further keys of bench.json."""
        record = self._record
        outputs = {"identical": True, "items_by_plan": self._check.to_json()}
        record.found = self._conclusions() | dict(more) | {"outputs": outputs, "ended": timestamp(), "complete": True}
        record.save()
        point_atomically(record.folder.parent / "latest", record.folder)
        if not self._task.options.keep:
            shutil.rmtree(record.folder / WORK_NAME)
        return BenchResult(facts=json.loads((record.folder / FILE_NAME).read_bytes()), folder=record.folder)


def _cold_start(first: CaseResult) -> dict[str, Any]:
    """The bench's very first run, of the calibration: nothing of it was in the page cache by our doing."""
    return {
        "command_seconds": first.command_seconds,
        "line_seconds": first.seconds,
        "outside_line_seconds": first.command_seconds - first.seconds,
        "startup_seconds": first.startup_seconds,
    }


def make_folder(root: Path) -> None:
    """The folder of a job's benches. Raises `UsageError`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root}: cannot be made: {error.strerror}") from error


def _write_list(path: Path, paths: Sequence[str]) -> None:
    write_atomically(path, (f"{each}\n".encode() for each in paths))
