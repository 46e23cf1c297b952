"""`batchproc bench --claims` and `--experiments`: after the rounds of a bench, or by itself.

Each experiment runs in a process of its own, bounded in time; then tables that others predict get what they predict,
and the claims are judged by what all gave.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import psutil
from msgspec import DecodeError, json
from msgspec.structs import replace

from batchproc.bench.bench_json import Bench
from batchproc.bench.command import BenchResult, finish_bench, make_folder, run_bench
from batchproc.bench.runner import BenchStopped, Interrupt, launch
from batchproc.bench.spec import BenchOptions, Load, Notify, new_bench, new_folder
from batchproc.config import Config
from batchproc.errors import DiskError
from batchproc.explain.mode_wording import PLURALS
from batchproc.lab.claims import CLAIMS, ClaimJob, judge
from batchproc.lab.experiments import EXPERIMENTS, LOOP, Experiment
from batchproc.lab.results import Judged, Measurements, Result, ResultTable, computed
from batchproc.lock import RunLock
from batchproc.measure.processes import machine_times, usable_cores
from batchproc.transform.plan import build_steps, record_steps

LOST = "the experiments were stopped; they are short, and the same command makes them again"
NEAR = 3.0  # times the cores' ceiling: a higher one is not shown
PROBE_SECONDS = 0.5
TAIL_CHARACTERS = 500


def run_with_lab(load: Load, options: BenchOptions, notify: Notify, *, everything: bool) -> BenchResult:
    """A bench with the experiments (all, or those of the claims) after its rounds; alone where no rounds are wished.

    Call it in the main thread. Raises what `run_bench` raises, and `BenchStopped` after SIGINT or SIGTERM.
    """

    def add_experiments(bench: Bench, config: Config, interrupt: Interrupt) -> Bench:
        results = run_experiments(interrupt, notify, everything=everything)
        return replace(bench, experiments=tuple(results), claims=tuple(judge_claims(results, config)))

    if options != BenchOptions():
        return run_bench(load, options, notify, add_experiments)
    config, _ = load(())
    root = config.paths.output / "bench"
    make_folder(root)
    bench = new_bench(config)
    with RunLock(root / "lock"), Interrupt() as interrupt:
        try:
            bench = add_experiments(bench, config, interrupt)
            return finish_bench(bench, new_folder(root, datetime.now(UTC)))
        except BenchStopped as stopped:
            raise BenchStopped(stopped.number, LOST) from None
        except OSError as error:
            raise DiskError(f"{root}: the bench cannot be kept: {error}") from error


def run_experiments(interrupt: Interrupt, notify: Callable[[str], None], *, everything: bool) -> list[Result]:
    """All experiments, or those that the claims need, with what they predict of each other."""
    chosen = [one for one in EXPERIMENTS.values() if everything or one.claims]
    results = []
    for number, experiment in enumerate(chosen, 1):
        notify(f"experiment {number} of {len(chosen)}: {experiment.question}")
        results.append(run_experiment(experiment, "full" if everything else "claims", interrupt))
    tables = add_predictions({one.name: one.table for one in results if one.table})
    return [replace(one, table=tables.get(one.name)) for one in results]


def judge_claims(results: Sequence[Result], config: Config) -> list[Judged]:
    """The thirteen claims."""
    steps = build_steps(config.transform.steps, search_path=config.paths.root)
    job = ClaimJob(
        download_mode=config.download.first_mode,
        download_workers=config.download.worker_count(config.download.first_mode, usable_cores()),
        transform_mode=config.transform.first_mode,
        holding_steps=tuple(step.op for step in record_steps(steps) if step.holds_gil is not False),
        cores=usable_cores(),
    )
    tables = {one.name: one.table for one in results if one.table}
    failures = {one.name: one.failure for one in results if one.failure}
    return [judge(claim, Measurements(tables=tables, failures=failures), job) for claim in CLAIMS]


def run_experiment(experiment: Experiment, size: str, interrupt: Interrupt) -> Result:
    """Its table, or why there is none. Its whole process group ends with it."""
    started, machine, children = time.perf_counter(), machine_times(), _children_seconds()
    child: subprocess.Popen[str] | None = None
    try:
        with interrupt.held():
            child = launch(experiment.command(size))
        text, errors, seen_seconds = _collect(child, started + experiment.limit_seconds)
    finally:
        if child is not None:
            _end(child)
    took, busy = time.perf_counter() - started, machine_times().busy_seconds - machine.busy_seconds
    own_seconds = max(seen_seconds, _children_seconds() - children)
    failure, table = _failure(child.returncode, errors, experiment.limit_seconds), None
    if failure is None:
        try:
            table = json.decode(text, type=ResultTable)
        except DecodeError as error:
            failure = f"its table is none: {error}"
    return Result(
        name=experiment.name,
        question=experiment.question,
        table=table,
        failure=failure,
        seconds=took,
        others_cpu_share=max(0.0, busy - own_seconds) / (took * machine.cores),
    )


def _collect(child: "subprocess.Popen[str]", deadline: float) -> tuple[str, str, float]:
    """The child's stdout and stderr, and the CPU seconds seen in its processes: a little less than they used."""
    used: dict[int, float] = {}
    while True:
        try:
            text, errors = child.communicate(timeout=PROBE_SECONDS)
            return text, errors, sum(used.values())
        except subprocess.TimeoutExpired:
            used |= _family_seconds(child.pid)
            if time.perf_counter() > deadline:
                os.killpg(child.pid, signal.SIGKILL)


def _end(child: "subprocess.Popen[str]") -> None:
    """Ends what is left of the child's session: it leads a process group of its own, which its workers share."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def _failure(status: int, errors: str, limit_seconds: float) -> str | None:
    if status == 0:
        return None
    if status == -signal.SIGKILL:
        return f"it was ended after {limit_seconds:g} s"
    lines = errors.strip().splitlines() or ["it said nothing"]
    return f"it ended with status {status}: {lines[-1][-TAIL_CHARACTERS:]}"


def _children_seconds() -> float:
    """CPU seconds of children that have ended, and of theirs; a fork server's workers are not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family_seconds(pid: int) -> dict[int, float]:
    """CPU seconds so far, by process, of the child and all below it."""
    found = {}
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return {}
    for process in family:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        found[process.pid] = float(times.user + times.system)
    return found


def add_predictions(tables: Mapping[str, ResultTable]) -> dict[str, ResultTable]:
    """The tables, those that others predict with what they predict."""
    found = dict(tables)
    if "job_size" in found:
        found["job_size"] = _predict_job_size(found["job_size"], found.get("startup"), found.get("steps"))
    if "workers" in found:
        found["workers"] = _add_ceilings(found["workers"], found.get("steps"))
    return found


def items_that_repay(start_seconds: float, gain_seconds: float) -> float | None:
    """N* = start cost / gain per item; None when nothing is gained per item."""
    return start_seconds / gain_seconds if gain_seconds > 0 else None


def _add_ceilings(table: ResultTable, steps: ResultTable | None) -> ResultTable:
    """n/c, what the cores allow, and 1/(phi c) by the largest phi that the steps' table allows."""
    cores, cpu_seconds = table.facts["cores"], table.facts["cpu_seconds_per_item"]
    unit, places = table.series[0].unit, [x for x in table.places if isinstance(x, float)]
    roof = cores / cpu_seconds
    models = [computed("n/c", unit, {n: n / cpu_seconds for n in places if n < cores} | {cores: roof}),
              computed("all cores", unit, dict.fromkeys(places, roof))]  # fmt: skip
    held = steps.find("GIL-held fraction") if steps else None
    phi = held.cells[0].ends[1] if held else 0.0  # the first step is the one whose workers were counted
    if phi > 0 and 1 / (phi * cpu_seconds) < NEAR * roof:
        models.append(computed("the GIL, lowest", unit, dict.fromkeys(places, 1 / (phi * cpu_seconds))))
    return replace(table, series=(*table.series, *models))


def _predict_job_size(table: ResultTable, startup: ResultTable | None, steps: ResultTable | None) -> ResultTable:
    """Start and time per item, from experiments that know nothing of whole jobs; unchanged without them."""
    lines = {mode: line for mode in ("thread", "process") if (line := _job_line(mode, startup, steps)) is not None}
    if len(lines) < 2:
        return table
    (thread_start, thread_item), (process_start, process_item) = lines["thread"], lines["process"]
    repaid = items_that_repay(process_start - thread_start, thread_item - process_item)
    places = [x for x in table.places if isinstance(x, float)]
    models = [
        computed(f"{PLURALS[mode]}, predicted", "s", {n: start + n * item for n in places}, predicts=PLURALS[mode])
        for mode, (start, item) in lines.items()
    ]
    met = tuple(replace(each, predicted=repaid, is_predicted=True) for each in table.crossings)
    return replace(table, series=(*table.series, *models), crossings=met)


def _job_line(mode: str, startup: ResultTable | None, steps: ResultTable | None) -> tuple[float, float] | None:
    """Seconds until the workers of a mode are ready, and then per item of a loop in Python."""
    ready = _value(startup, "ready after", f"a {mode}")
    serial, gain = (_value(steps, name, LOOP) for name in ("serial", f"{PLURALS[mode]} gain"))
    return None if ready is None or serial is None or not gain else (ready, serial / gain)


def _value(table: ResultTable | None, name: str, x: str) -> float | None:
    series = table.find(name) if table else None
    cell = series.at(x) if series else None
    return cell.value if cell else None
