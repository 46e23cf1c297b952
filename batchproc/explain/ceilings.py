"""How fast each stage could go at most, by each limit, and from where on processes overtake threads."""

import math
from collections.abc import Mapping
from dataclasses import replace

from batchproc.explain.predict import Limit, cpu_seconds, gil_seconds, limits, predict, start_seconds
from batchproc.explain.reasons import BreakEvenReason, CeilingReason, CrossoverReason
from batchproc.explain.run_model import RunModel, held_by_hosts
from batchproc.record.explanation import Ceiling, StageModel, Value
from batchproc.record.run_json import BreakEven, Crossover, RunRecord

BINDS = 0.75  # a ceiling binds when the run came that near to it and no other is lower
NAMES = ("workers", "cores", "gil", "pipe", "network", "per_host")

Finding = tuple[CeilingReason, Mapping[str, Value]]


def find_ceilings(record: RunRecord, run: RunModel) -> dict[str, tuple[Ceiling, ...]]:
    """Every ceiling by stage. Rates are of the job's items per second, comparable across stages."""
    found = {(limit.name, limit.stage): limit for limit in limits(run.job, run.variant)}
    lowest = predict(run.job, run.variant).bound
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
        return CeilingReason.CORES, {"cores": run.job.cores, "cpu_seconds": cpu_seconds(run.job, run.variant)}
    if name == "gil":
        return CeilingReason.GIL, {"held_seconds": gil_seconds(run.job, run.variant)}
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
    is_serial = run.variant.download == "serial"
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
    workers = max(2, run.variant.transform_workers)
    threads = replace(run.variant, transform="thread", transform_workers=workers)
    processes = replace(threads, transform="process")
    slow, quick = (predict(run.job, one).steady_rate_per_second for one in (threads, processes))
    gain = 1.0 / slow - 1.0 / quick
    cost = start_seconds(run.job, processes) - start_seconds(run.job, threads)
    values = {"workers": workers, "start_seconds": cost, "gain_seconds": gain}
    if gain <= 0:
        return BreakEven(code=BreakEvenReason.NEVER, values=values)
    items = max(1, math.ceil(cost / gain))
    return BreakEven(items=items, code=BreakEvenReason.PAYS, values={**values, "items": items})
