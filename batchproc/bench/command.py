"""`batchproc bench`: from a config to bench.json. Fixes everything first, predicts, measures in rounds, concludes.

Which round comes next is decided by what was made, so a stopped bench goes on. The rule for running a round again was
fixed beforehand: it looks at the machine, never at the times, and no other round is ever left out. Both attempts stay
in the raw file; of each round the last attempt counts.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.bench.bench_json import (
    WARM_UP,
    Bench,
    BenchCase,
    BenchMemory,
    BenchRound,
    BenchSettings,
    BenchStage,
    CaseRun,
    ColdStart,
    Outputs,
    RoundCounts,
    Winner,
    disturbances,
    write_bench,
)
from batchproc.bench.dataset import find_dataset, toml_value, write_job_file
from batchproc.bench.predictions import calibrate, favourite_of, is_gil_known, predict_cases, sample, with_measured
from batchproc.bench.runner import Interrupt, OutputCheck, Ran, Runner
from batchproc.bench.spec import (
    LOOKS,
    QUICK_ITEMS,
    BenchOptions,
    Case,
    Load,
    Notify,
    Schedule,
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
from batchproc.bench.verdicts import (
    CaseComparison,
    NoiseFloor,
    Verdict,
    compare,
    fewest_rounds,
    median_interval,
    noise_floor,
)
from batchproc.config import Config
from batchproc.errors import DiskError, UsageError
from batchproc.explain.run_model import measure
from batchproc.lock import RunLock
from batchproc.measure.processes import usable_cores
from batchproc.model import Mode
from batchproc.origin import EmbeddedOrigin
from batchproc.record.run_parts import StageRecord
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


MOST_EXTRA_ROUNDS = 5
CountUndecided = Callable[[Sequence[BenchRound]], int]  # of the comparisons, by these rounds alone


def counting(rounds: Sequence[BenchRound]) -> list[BenchRound]:
    """Of complete rounds those that count: the last attempt of each number, in order."""
    last = {one.number: one for one in rounds}
    return [last[number] for number in sorted(last)]


def must_rerun(rounds: Sequence[BenchRound]) -> bool:
    """Whether the last round made must be run again whole, before the next one."""
    return bool(rounds) and bool(rounds[-1].disturbances) and _extra(rounds) < MOST_EXTRA_ROUNDS


def count_rounds(rounds: Sequence[BenchRound]) -> RoundCounts:
    """How many rounds count, how many were disturbed, run again, and taken although disturbed."""
    disturbed = sum(bool(one.disturbances) for one in rounds)
    kept, extra = sum(bool(one.disturbances) for one in counting(rounds)), _extra(rounds)
    counted = len(rounds) - extra
    text = f"{counted} rounds count; {disturbed} of the {len(rounds)} made were disturbed, {extra} run again"
    if kept:
        text += f"; {kept} disturbed count, as {MOST_EXTRA_ROUNDS} extra rounds are the most: this machine is noisy"
    return RoundCounts(
        rounds=counted, extra=extra, disturbed=disturbed, counted_disturbed=kept, noisy=kept > 0, text=text
    )


def _extra(rounds: Sequence[BenchRound]) -> int:
    return len(rounds) - len({one.number for one in rounds})


def next_look(rounds: int, *, undecided: int) -> int | None:
    """After how many rounds in all to look again; None to stop, as nothing is undecided or the last look was taken."""
    if rounds and not undecided:
        return None
    return next((look for look in LOOKS if look > rounds), None)


def next_round(
    rounds: Sequence[BenchRound], settings: BenchSettings, count_undecided: CountUndecided
) -> tuple[int, int] | None:
    """Number and attempt of the next round to make; None when all is done."""
    complete = [one for one in rounds if one.complete]
    if not complete:
        return WARM_UP, 1
    last, measured = complete[-1], [one for one in complete if one.number != WARM_UP]
    if settings.rerun and must_rerun(measured):
        return last.number, last.attempt + 1
    target = settings.rounds or 0
    if settings.until_decided:
        target = _looked_target(last.number, counting(measured), count_undecided)
    return (last.number + 1, 1) if last.number < target else None


def make_rounds(
    rounds: Sequence[BenchRound],
    schedule: Schedule,
    cases: Mapping[str, Case],
    settings: BenchSettings,
    run_case: Callable[[Case], CaseRun],
    count_undecided: CountUndecided,
) -> Iterator[tuple[BenchRound, ...]]:
    """Makes what is missing. After each run of a case: all rounds so far, the last of them as far as it has come."""
    made = tuple(rounds)
    entries = {**cases, schedule.again: cases[schedule.baseline]}
    while (following := next_round(made, settings, count_undecided)) is not None:
        number, attempt = following
        one = BenchRound(number=number, attempt=attempt, order=schedule.order(number, attempt))
        before = made
        for entry in one.order:
            one = replace(one, runs={**one.runs, entry: run_case(entries[entry])})
            made = (*before, one)
            yield made


def _looked_target(made: int, rounds: Sequence[BenchRound], count_undecided: CountUndecided) -> int:
    """How many rounds the looks up to now ask for: each sees only the rounds before it, as when it was taken."""
    target = LOOKS[0]
    while made >= target:
        seen = [one for one in rounds if one.number <= target]
        further = next_look(target, undecided=count_undecided(seen))
        if further is None:
            return target
        target = further
    return target


def conclude(bench: Bench, cases: Sequence[Case]) -> Bench:
    """The bench with all that follows from its rounds so far."""
    rounds, plan = counting(bench.measured), bench.plan or ()
    if not rounds:
        return bench
    runs = {case.name: [one.runs[case.name] for one in rounds] for case in cases}
    comparisons = compare_cases(bench, rounds, cases)
    medians = {name: median(run.rate_per_second for run in of) for name, of in runs.items()}
    whole = [case for case in cases if not case.alone]
    return replace(
        bench,
        cases=tuple(_describe_case(case, runs[case.name]) for case in cases),
        noise_floor=_noise_floor(bench, rounds),
        contamination=_contamination(bench),
        comparisons=comparisons,
        predictions=tuple(with_measured(bench.predictions, medians, _ratios(comparisons, cases))),
        winner=find_winner(comparisons, medians, whole, bench.favourite),
        notes=tuple(_notes(len(rounds), len(plan), bench.settings.level)),
    )


def compare_cases(bench: Bench, rounds: Sequence[BenchRound], cases: Sequence[Case]) -> tuple[CaseComparison, ...]:
    """The verdicts on the bench's plan, from rounds that count."""
    return compare(
        {case.name: _times(rounds, case.name) for case in cases},
        bench.plan or (),
        margin=_noise_floor(bench, rounds).margin,
        weights={case.name: case.weight for case in cases},
        level=bench.settings.level,
    )


def count_undecided(bench: Bench, rounds: Sequence[BenchRound], cases: Sequence[Case]) -> int:
    """How many comparisons these rounds leave undecided."""
    return sum(one.verdict is Verdict.UNDECIDED for one in compare_cases(bench, rounds, cases))


def find_winner(
    comparisons: Sequence[CaseComparison],
    medians: Mapping[str, float],
    cases: Sequence[Case],
    favourite: str,
) -> Winner:
    """Which case to take. The favourite was named before the first round, so its comparisons prove what they say.

    If some case is proven faster than the favourite, the fastest of those is the winner. Else the favourite is, or the
    lightest of those that tie with it. Without a favourite the fastest by median, proven against the baseline only.
    """
    medians = {case.name: medians[case.name] for case in cases}
    fastest = max(medians, key=lambda name: medians[name])
    leader = favourite or fastest
    with_leader = [one for one in comparisons if leader in (one.pair, one.against)]
    others = {one.against if one.pair == leader else one.pair: one for one in with_leader}
    faster = [name for name, one in others.items() if one.verdict is Verdict.WIN and one.winner == name]
    if faster:
        name = max(faster, key=lambda each: medians[each])
        beaten, ties, undecided = [leader], [], [each for each in medians if each not in (name, leader)]
    else:
        ties = [each for each, one in others.items() if one.verdict is Verdict.TIE]
        weights = {case.name: case.weight for case in cases}
        name = min([leader, *ties], key=lambda each: (weights[each], -medians[each]))
        beaten = [each for each, one in others.items() if one.verdict is Verdict.WIN]
        ties = [each for each in [leader, *ties] if each != name]
        undecided = [each for each in medians if each not in (name, *ties, *beaten)]
    return Winner(
        case=name,
        fastest_median=fastest,
        favourite=favourite,
        predicted=bool(favourite) and name == favourite,
        beats=tuple(beaten),
        ties=tuple(ties),
        not_told_apart=tuple(undecided),
    )


def _contamination(bench: Bench) -> RoundCounts:
    counts = count_rounds(bench.measured)
    taken = f"{counts.rounds} rounds count; {counts.disturbed} of them were disturbed and are taken as they are"
    return counts if bench.settings.rerun else replace(counts, text=taken)


def _ratios(comparisons: Sequence[CaseComparison], cases: Sequence[Case]) -> dict[str, float]:
    """The measured ratio of each case to its own baseline."""
    own = {case.name: case.baseline if case.alone else cases[0].name for case in cases}
    found = {name: 1.0 for name, baseline in own.items() if name == baseline}
    for one in comparisons:
        if own[one.pair] == one.against:
            found[one.pair] = one.ratio
    return found


def _noise_floor(bench: Bench, rounds: Sequence[BenchRound]) -> NoiseFloor:
    first, second = _times(rounds, bench.baseline), _times(rounds, bench.baseline_again)
    return noise_floor(first, second, level=bench.settings.level)


def _times(rounds: Sequence[BenchRound], name: str) -> list[float]:
    return [one.runs[name].seconds for one in rounds]


def _describe_case(case: Case, runs: Sequence[CaseRun]) -> BenchCase:
    """Every point, and the time breakdown of a mean run (its categories still add up)."""
    rates = tuple(run.rate_per_second for run in runs)
    interval = median_interval(rates)
    return BenchCase(
        name=case.name,
        download=case.download.value,
        transform=case.transform.value,
        varied=dict(case.varied),
        alone=case.alone or None,
        seconds=tuple(run.seconds for run in runs),
        rates_per_second=rates,
        median_rate_per_second=median(rates),
        rate_interval=(interval.low, interval.high) if interval else None,
        startup_seconds=_median(run.startup_seconds for run in runs),
        command_seconds=median(run.command_seconds for run in runs),
        origin_cpu_seconds=_median(run.origin_cpu_seconds for run in runs),
        memory=BenchMemory(
            peak_pss_bytes=_median(run.peak_pss_bytes for run in runs),
            per_worker_pss_bytes=_median(run.per_worker_pss_bytes for run in runs),
        ),
        stages={name: _mean_stage([run.stages[name] for run in runs]) for name in runs[0].stages},
    )


def _mean_stage(stages: Sequence[StageRecord]) -> BenchStage:
    """Averaged over the runs; a category of time that a run lacks counts as 0 there."""
    categories = dict.fromkeys(name for stage in stages for name in stage.account)
    return BenchStage(
        mode=stages[0].mode,
        workers=stages[0].workers,
        account={name: fmean(stage.account.get(name, 0.0) for stage in stages) for name in categories},
        cpu_per_item_seconds=_mean(stage.cpu_per_item_seconds for stage in stages),
        utilisation=_mean(stage.utilisation for stage in stages),
        service_p50_seconds=_mean(stage.service_seconds.p50 for stage in stages),
        ipc_bytes_per_item=_mean(stage.ipc_bytes_per_item for stage in stages),
        startup_per_worker_seconds=_mean(stage.startup_per_worker_seconds for stage in stages),
    )


def _notes(rounds: int, comparisons: int, level: float) -> Iterator[str]:
    fewest = fewest_rounds(comparisons, level)
    if rounds < fewest:
        yield f"{rounds} rounds are indicative only: no win among {comparisons} comparisons needs less than {fewest}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
