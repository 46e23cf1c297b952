"""`batchproc bench`: from a config to bench.json. Fixes everything first, predicts, measures, concludes."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.bench.bench_json import Bench, BenchRound, CaseRun, ColdStart, Outputs, disturbances, write_bench
from batchproc.bench.dataset import find_dataset, toml_value, write_job_file
from batchproc.bench.predictions import calibrate, favourite_of, is_gil_known, predict_cases, sample
from batchproc.bench.rounds import conclude, count_undecided, make_rounds
from batchproc.bench.runner import Interrupt, OutputCheck, Ran, Runner
from batchproc.bench.spec import (
    QUICK_ITEMS,
    BenchOptions,
    Case,
    Load,
    Notify,
    Spec,
    bounds_of,
    find_cases,
    find_settings,
    named,
    open_bench,
    plan_comparisons,
    plan_of,
    timestamp,
)
from batchproc.config import Config
from batchproc.errors import DiskError, UsageError
from batchproc.explain.run_model import measure
from batchproc.lock import RunLock
from batchproc.measure.hardware import usable_cores
from batchproc.model import Mode
from batchproc.origin import EmbeddedOrigin
from batchproc.sink import write_atomically
from batchproc.sink.atomic import point_atomically

CALIBRATION_TRIES = 3
WORK_NAME = "work"

After: TypeAlias = Callable[[Bench, Config, Interrupt], Bench]  # adds experiments and claims


class BenchResult(Struct, frozen=True, kw_only=True):
    """The content of bench.json, and the folder it is in."""

    bench: Bench
    folder: Path

    @property
    def with_page(self) -> bool:
        """Whether the job asks for a page."""
        report = self.bench.config["report"]
        return isinstance(report, Mapping) and bool(report["html"])


def run_bench(load: Load, options: BenchOptions, notify: Notify, after: After | None = None) -> BenchResult:
    """Runs a bench, or continues one that was interrupted. `load` reads the config under further KEY=VALUE settings.

    Call it in the main thread. Raises `UsageError` before anything runs, `BenchError` when a run breaks or outputs
    differ, `LockHeldError` when another bench of this job is under way, and `BenchStopped` after SIGINT or SIGTERM.
    """
    load = _with_as_many_workers(load, notify)
    config, _ = load(())
    root = config.paths.output / "bench"
    cases, settings = find_cases(config, options), find_settings(config, options)
    loaded = {case.name: load(case.overrides) for case in cases}
    make_folder(root)
    with RunLock(root / "lock"), Interrupt() as interrupt:
        limit = options.limit or (QUICK_ITEMS if options.quick else 0)
        dataset = find_dataset(config, root / "cache", limit=limit, notify=notify)
        spec = Spec(
            config=config,
            options=options,
            cases=cases,
            plans={case.name: plan_of(case, *loaded[case.name]) for case in cases},
            bounds={name: bounds_of(pair[0], config, dataset) for name, pair in loaded.items()},
            settings=settings,
            dataset=dataset,
        )
        try:
            under_way = _BenchUnderWay(spec, *open_bench(spec, root, notify), interrupt, notify)
            under_way.run_rounds()
            concluded = under_way.concluded()
            return under_way.finish(after(concluded, config, interrupt) if after else concluded)
        except OSError as error:
            raise DiskError(f"{root}: the bench cannot go on: {error}") from error


def _with_as_many_workers(load: Load, notify: Notify) -> Load:
    """The same with a fixed number of download workers: all modes get as many, or it is not the modes that differ."""
    config, _ = load(())
    if config.download.workers != "auto":
        return load
    workers = config.download.worker_count("process", usable_cores())
    notify(f'[download] workers = "auto": {workers} in every mode here, so that nothing but the mode differs')
    return lambda more: load([f"download.workers={workers}", *more])


class _BenchUnderWay:
    """Used in the main thread alone."""

    def __init__(self, spec: Spec, bench: Bench, folder: Path, interrupt: Interrupt, notify: Notify) -> None:
        self._spec = spec
        self._bench = bench
        self._folder = folder
        self._interrupt = interrupt
        self._notify = notify
        self._work = folder / WORK_NAME
        self._work.mkdir(exist_ok=True)
        self._outputs = OutputCheck(self._work)

    def run_rounds(self) -> None:
        """Runs all that is missing."""
        spec = self._spec
        self._notify(f"bench: {len(spec.cases)} cases and the baseline again; {spec.dataset.text}")
        with EmbeddedOrigin(spec.dataset.origin) as origin:
            items, job_file = self._work / "items.txt", self._work / "job.toml"
            _write_list(items, spec.dataset.paths)
            base_url, per_host = f"{origin.base_url}/", spec.dataset.per_host
            write_job_file(job_file, spec.config, items=items, base_url=base_url, per_host=per_host)
            cases, keep = self._work / "cases", spec.options.keep
            runner = Runner(job_file, cases, self._interrupt, origin_pid=origin.pid, keep=keep)
            if self._bench.plan is None:
                self._predict(runner)
            for rounds in make_rounds(
                self._bench.rounds,
                spec.schedule,
                named(spec.cases),
                spec.settings,
                lambda case: self._run_case(runner, case),
                lambda rounds: count_undecided(self._bench, rounds, spec.cases),
            ):
                self._save(rounds)

    def _predict(self, runner: Runner) -> None:
        """Calibrates with small runs, the first of which is the cold start, and writes the predictions down."""
        cases, paths = self._spec.cases, self._spec.dataset.paths
        items = self._work / "calibration.txt"
        _write_list(items, sample(paths))
        setting = f"job.input={toml_value(str(items))}"
        self._notify("calibrating with small runs ...")
        cold, serial = self._run_undisturbed(runner, cases[0], setting)
        has_processes = any(Mode.PROCESS in (case.download, case.transform) for case in cases)
        both = replace(cases[0], download=Mode.PROCESS, transform=Mode.PROCESS, varied=())
        is_needed = has_processes or not is_gil_known(measure(serial.record))
        process = self._run_undisturbed(runner, both, setting)[1].record if is_needed else None
        calibration = calibrate(serial.record, process, items=len(paths), cores=usable_cores())
        predictions = predict_cases(calibration, cases, self._spec.bounds)
        favourite = favourite_of(predictions, cases)
        self._bench = replace(
            self._bench,
            cold_start=_cold_start(cold.run),
            calibration=calibration.describe() if calibration else None,
            predictions=tuple(predictions),
            favourite=favourite,
            plan=plan_comparisons(cases, favourite),
        )
        write_bench(self._bench, self._folder)
        self._notify(f"predicted winner: {favourite or 'unknown'}")

    def _run_case(self, runner: Runner, case: Case) -> CaseRun:
        ran = runner.run(case)
        self._outputs.compare(self._spec.plans[case.name], ran.outputs, case.name)
        runner.clear(ran)
        return ran.run

    def _run_undisturbed(self, runner: Runner, case: Case, *settings: str) -> tuple[Ran, Ran]:
        """The first run, and the fastest of as many as it takes until one is undisturbed."""
        made: list[Ran] = []
        while len(made) < CALIBRATION_TRIES and (not made or disturbances(made[-1].run.conditions)):
            made.append(runner.run(case, *settings))
            runner.clear(made[-1])
        return made[0], min(made, key=lambda ran: ran.run.seconds)

    def _save(self, rounds: tuple[BenchRound, ...]) -> None:
        """After each case: everything is on disk. After each round: a line for the user."""
        self._bench, last = conclude(replace(self._bench, rounds=rounds), self._spec.cases), rounds[-1]
        write_bench(self._bench, self._folder)
        if last.complete:
            took = sum(run.command_seconds for run in last.runs.values())
            name = f"round {last.number}" if last.number else "warm-up round, thrown away"
            again = f", attempt {last.attempt}" if last.attempt > 1 else ""
            noise = f"; disturbed: {', '.join(last.disturbances)}" if last.disturbances and last.number else ""
            self._notify(f"{name}{again}: {took:.0f} s{noise}")

    def concluded(self) -> Bench:
        """The bench with what follows from its rounds."""
        return conclude(self._bench, self._spec.cases)

    def finish(self, bench: Bench) -> BenchResult:
        """Writes the bench as complete."""
        outputs = Outputs(identical=True, items_by_plan=self._outputs.compared)
        return finish_bench(replace(bench, outputs=outputs), self._folder, keep=self._spec.options.keep)


def finish_bench(bench: Bench, folder: Path, *, keep: bool = False) -> BenchResult:
    """Writes a bench that is complete, makes it the latest, and removes what its runs made unless it is to be kept."""
    complete = replace(bench, ended=timestamp(), complete=True)
    write_bench(complete, folder)
    point_atomically(folder.parent / "latest", folder)
    if not keep:
        shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
    return BenchResult(bench=complete, folder=folder)


def _cold_start(first: CaseRun) -> ColdStart:
    return ColdStart(
        command_seconds=first.command_seconds,
        line_seconds=first.seconds,
        outside_line_seconds=first.command_seconds - first.seconds,
        startup_seconds=first.startup_seconds,
    )


def make_folder(root: Path) -> None:
    """The folder of a job's benches. Raises `UsageError`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root}: cannot be made: {error.strerror}") from error


def _write_list(path: Path, paths: Sequence[str]) -> None:
    write_atomically(path, (f"{each}\n".encode() for each in paths))
