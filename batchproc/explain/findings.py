"""The whole explanation of a run: what held it back, how fast each stage could go by each limit, when processes pay.

Codes and numbers first, then the words for them. Unknown is an answer.
"""

import math
from collections.abc import Mapping

from msgspec.structs import replace

from batchproc.explain.choices import find_choice, find_hints, whatever_the_modes
from batchproc.explain.predict import Limit, cpu_seconds, gil_seconds, limits, predict, start_seconds
from batchproc.explain.run_model import SOME, RunModel, held_by_hosts, measure, waited_seconds, working_seconds
from batchproc.explain.wording import unknown, worded
from batchproc.record.explanation import (
    BreakEvenReason,
    Ceiling,
    CeilingReason,
    Choice,
    CrossoverReason,
    Doubt,
    Judgement,
    Reason,
    StageModel,
    Value,
)
from batchproc.record.run_json import Bottleneck, BreakEven, Crossover, RunRecord
from batchproc.record.run_parts import StageLoad, StageRecord

# The time of an item differs from the next one's by some 0.7 of their mean (sizes of the open web's images). The mean
# over 50 is known to a tenth then, and a tenth is the error that the model is granted anyway.
LEAST_ITEMS = 50
# With more of the run spent waiting for a retry or a paused host, what is left is mostly the edges of those waits: a
# few items at once, with an empty pipeline before and behind them.
MOST_WAITED = 0.5
LEAST_EACH = 3  # items per worker: below that most of a stage's time is its first item and its last


def doubt_about_modes(record: RunRecord) -> Doubt | None:
    """Why this run has no verdict on modes; None when it has one."""
    if record.measured_phase.items < LEAST_ITEMS:
        return Doubt.FEW_ITEMS
    return Doubt.MOSTLY_WAITED if mostly_waited(record) else None


def mostly_waited(record: RunRecord) -> bool:
    """Whether a run spent most of its time waiting for what was no work of anybody's."""
    phase = record.measured_phase
    return waited_seconds(record) > MOST_WAITED * phase.seconds and phase.items >= LEAST_ITEMS


def is_little(record: RunRecord, workers: int) -> bool:
    """Whether a stage with so many workers had nearly nothing to do."""
    items = record.measured_phase.items
    return items < LEAST_ITEMS and items < LEAST_EACH * workers


BUSY = 0.9  # a stage whose workers are busier than that sets the pace (EVIDENCE: utilisation >= 90%)
RESERVE = 0.75  # below that share of their time a stage's workers could have done clearly more


def find_bottleneck(record: RunRecord) -> Bottleneck:
    """Judges by independent measures: how busy each stage's workers were, and who waited for whom."""
    stages = record.stages
    if not record.counts.processed or len(stages) < 2:
        return Bottleneck(reason=Reason.NOTHING_DONE)
    download, transform = stages["download"], stages["transform"]
    loads = {name: stages[name].load for name in ("download", "transform")}
    if mostly_waited(record):
        return Bottleneck(reason=Reason.MOSTLY_WAITED, loads=loads)
    if download.mode == transform.mode == "serial":
        longer = "download" if download.busy_seconds >= transform.busy_seconds else "transform"
        return Bottleneck(stage=longer, reason=Reason.ONE_THREAD, loads=loads)
    for name, stage in (("transform", transform), ("download", download)):
        if loads[name].busy >= BUSY and not is_little(record, stage.workers):
            return Bottleneck(stage=name, reason=Reason.BUSY, loads=loads)
    if is_little(record, download.workers):
        return Bottleneck(reason=Reason.LITTLE_TO_DO, loads=loads)
    return _less_than_full(record, transform, loads)


def _less_than_full(record: RunRecord, transform: StageRecord, loads: Mapping[str, StageLoad]) -> Bottleneck:
    """No stage is full: who waits for input tells where the pace was set, if anybody does."""
    busy, starved = loads["transform"].busy, loads["transform"].starved
    if not transform.tasks:
        return Bottleneck(reason=Reason.NO_IMAGE_CAME, loads=loads)
    if starved > SOME and busy < RESERVE:
        allowed = held_by_hosts(record)
        return Bottleneck(stage="download", reason=Reason.STARTS_LIMITED, loads=loads, downloads_allowed=allowed)
    if busy >= RESERVE:
        return Bottleneck(stage="transform", reason=Reason.NEARLY_BUSY, loads=loads)
    return Bottleneck(reason=Reason.UNDECIDED, loads=loads)


BINDS = 0.75  # a ceiling binds when the run came that near to it and no other is lower
NAMES = ("workers", "cores", "gil", "pipe", "network", "per_host")

Finding = tuple[CeilingReason, Mapping[str, Value]]


def find_ceilings(record: RunRecord, run: RunModel) -> dict[str, tuple[Ceiling, ...]]:
    """Every ceiling by stage. Rates are of the job's items per second, comparable across stages."""
    found = {(limit.name, limit.stage): limit for limit in limits(run.job, run.plan)}
    lowest = predict(run.job, run.plan).bound
    reached = run.rate_per_second >= BINDS * lowest.rate_per_second

    def ceiling(name: str, stage: str) -> Ceiling:
        limit = found.get((name, stage)) or found.get((name, None))
        code, values = _finding(name, stage, record, run, limit)
        rate = limit.rate_per_second if limit else float("inf")
        return Ceiling(
            name=name,
            rate_per_second=rate if rate < float("inf") else None,
            binds=reached and limit == lowest,
            code=code,
            values=values,
        )

    return {stage: tuple(ceiling(name, stage) for name in NAMES) for stage in ("download", "transform")}


def _finding(name: str, stage: str, record: RunRecord, run: RunModel, limit: Limit | None) -> Finding:
    """What the ceiling is made of."""
    if name == "workers":
        return _workers(stage, record, run, limit)
    if name == "cores":
        return CeilingReason.CORES, {"cores": run.job.cores, "cpu_seconds": cpu_seconds(run.job, run.plan)}
    if name == "gil":
        return CeilingReason.GIL, {"held_seconds": gil_seconds(run.job, run.plan)}
    if name == "pipe":
        if limit is None:
            return CeilingReason.NO_PIPE, {}
        return CeilingReason.PIPE, {"parent_seconds": 1.0 / limit.rate_per_second}
    if name == "network":
        return CeilingReason.NETWORK_UNTESTED, {}
    return _hosts(stage, record, run)


def _hosts(stage: str, record: RunRecord, run: RunModel) -> Finding:
    if stage != "download":
        return CeilingReason.NO_HOSTS, {}
    if run.job.connections is None:
        return CeilingReason.HOSTS_UNKNOWN, {}
    allowed = held_by_hosts(record)
    if allowed is not None:
        return CeilingReason.HOSTS_HELD, {"downloads_allowed": allowed}
    is_serial = run.plan.download == "serial"
    code = CeilingReason.ONE_HOST_SERIAL if is_serial else CeilingReason.ONE_HOST
    return code, {"connections": round(run.job.connections)}


def _workers(stage: str, record: RunRecord, run: RunModel, limit: Limit | None) -> Finding:
    if limit is not None and limit.stage is None:
        return CeilingReason.ONE_THREAD, {}
    model: StageModel = getattr(run.job, stage)
    return CeilingReason.WORKERS, {
        "mode": record.stages[stage].mode,
        "workers": record.stages[stage].workers,
        "cpu_seconds": model.cpu_seconds,
        "blocked_seconds": model.blocked_seconds,
    }


def find_crossover(run: RunModel) -> Crossover:
    """P* = 1 / phi for the transform stage, with the rest of the main process's GIL time in the same sum."""
    phi = run.shares["transform"]
    if phi is None:
        return Crossover(code=CrossoverReason.NO_CPU)
    if not phi.is_known:
        unknown = CrossoverReason.GIL_UNKNOWN
        return Crossover(phi_low=phi.low, phi_high=phi.high, code=unknown, values=phi.values)
    limit, here = _crossover_cores(run), run.job.cores
    return Crossover(
        phi=phi.point,
        phi_low=phi.low,
        phi_high=phi.high,
        cores=limit,
        code=CrossoverReason.THREADS_REACH if limit > here else CrossoverReason.PROCESSES_NEEDED,
        values={**phi.values, "cores": limit, "cores_free": here},
    )


def _crossover_cores(run: RunModel) -> float:
    """CPU of both stages per second of the one GIL, were both in threads."""
    job = run.job
    held = job.glue_seconds + sum(stage.phi * stage.cpu_seconds for stage in (job.download, job.transform))
    return (job.glue_seconds + job.download.cpu_seconds + job.transform.cpu_seconds) / held


def find_break_even(run: RunModel) -> BreakEven:
    """The number of items from which transform in processes repays its start against transform in threads."""
    phi = run.shares["transform"]
    if phi is None or not phi.is_known or not run.fits:
        return BreakEven(code=BreakEvenReason.UNKNOWN)
    workers = max(2, run.plan.transform_workers)
    threads = replace(run.plan, transform="thread", transform_workers=workers)
    processes = replace(threads, transform="process")
    slow, quick = (predict(run.job, one).steady_rate_per_second for one in (threads, processes))
    gain = 1.0 / slow - 1.0 / quick
    cost = start_seconds(run.job, processes) - start_seconds(run.job, threads)
    values = {"workers": workers, "start_seconds": cost, "gain_seconds": gain}
    if gain <= 0:
        return BreakEven(code=BreakEvenReason.NEVER, values=values)
    items = max(1, math.ceil(cost / gain))
    return BreakEven(items=items, code=BreakEvenReason.PAYS, values={**values, "items": items})


def explain(record: RunRecord) -> RunRecord:
    """The record with its explanation. Pure; unknown is None, with a code and a sentence that say why."""
    return worded(find_reasons(record))


def find_reasons(record: RunRecord) -> RunRecord:
    """The record with the codes and numbers of its explanation, without a word."""
    bottleneck, run = find_bottleneck(record), measure(record)
    if run is None:
        return unknown(record, bottleneck, Doubt.TOO_LITTLE)
    if doubt := doubt_about_modes(record):
        why: dict[str, Value] = {"doubt": doubt, "items_needed": LEAST_ITEMS}
        choices = tuple(
            Choice(stage=name, mode=stage.mode, workers=stage.workers, code=Judgement.NO_VERDICT, values=why)
            for name, stage in record.stages.items()
        )
        found = _with_ceilings(unknown(record, bottleneck, doubt, why), run)
        return replace(found, choices=choices, hints=tuple(whatever_the_modes(record)))
    return replace(
        _with_ceilings(record, run),
        bottleneck=bottleneck,
        choices=tuple(find_choice(record, run, stage) for stage in ("download", "transform")),
        hints=tuple(find_hints(record, run)),
        crossover=find_crossover(run),
        break_even=find_break_even(run),
    )


def _with_ceilings(record: RunRecord, run: RunModel) -> RunRecord:
    rates = {name: stage.tasks / working_seconds(record) for name, stage in record.stages.items()}
    return replace(record, ceilings=find_ceilings(record, run), measured_rate_per_second=rates)
