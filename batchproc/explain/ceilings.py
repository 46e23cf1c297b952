"""The ceilings of each stage against its measured rate, and the one that binds."""

from collections.abc import Mapping

from batchproc.explain.measured import Measured, held_by_hosts
from batchproc.explain.predict import Limit, cpu_seconds, gil_seconds, limits, predict
from batchproc.explain.words import cores, count, seconds, workers
from batchproc.record.explanation import Ceiling, StageModel
from batchproc.record.run import RunRecord

BINDS = 0.75  # a ceiling binds when the run came that near to it and no other is lower
NAMES = ("workers", "cores", "gil", "pipe", "network", "per_host")


def find_ceilings(record: RunRecord, run: Measured) -> dict[str, tuple[Ceiling, ...]]:
    """Every ceiling by stage. Rates are of the job's items per second, comparable across stages."""
    found = {(limit.name, limit.stage): limit for limit in limits(run.job, run.variant)}
    lowest = predict(run.job, run.variant).bound
    reached = run.rate_per_second >= BINDS * lowest.rate_per_second
    return {
        stage: tuple(_ceiling(name, stage, record, run, found, lowest if reached else None) for name in NAMES)
        for stage in ("download", "transform")
    }


def _ceiling(
    name: str,
    stage: str,
    record: RunRecord,
    run: Measured,
    found: Mapping[tuple[str, str | None], Limit],
    lowest: Limit | None,
) -> Ceiling:
    limit = found.get((name, stage)) or found.get((name, None))
    rate = limit.rate_per_second if limit else None
    return Ceiling(
        name=name,
        rate_per_second=rate if rate is None or rate < float("inf") else None,
        binds=limit is not None and limit == lowest,
        because=_because(name, stage, record, run, limit),
    )


def _because(name: str, stage: str, record: RunRecord, run: Measured, limit: Limit | None) -> str:
    if name == "workers":
        return _workers_text(stage, record, run, limit)
    if name == "cores":
        cpu = cpu_seconds(run.job, run.variant)
        return f"{cores(run.job.cores)} free for this run, and an image costs {seconds(cpu)} of CPU in all"
    if name == "gil":
        held = gil_seconds(run.job, run.variant)
        return f"the main process holds its GIL for about {seconds(held)} per image; it has one, whatever the cores"
    if name == "pipe":
        if limit is None:
            return "no stage runs in processes, so nothing is copied through pipes"
        return f"the main process spends {seconds(1.0 / limit.rate_per_second)} per image on handing it to processes"
    if name == "network":
        return "unknown: one run at one number of workers does not show where server or network are full"
    if stage != "download":
        return "does not apply: this stage asks no host"
    if run.job.connections is None:
        return "unknown: how many hosts the list has is not in the facts"
    allowed = held_by_hosts(record)
    if allowed is not None:
        return f"on average {allowed:.1f} downloads were under way, though workers and items were waiting to start"
    text = f"at most {count(round(run.job.connections), 'connection')} at once to the one host of this run"
    return f"{text}; a serial download uses one" if run.variant.download == "serial" else text


def _workers_text(stage: str, record: RunRecord, run: Measured, limit: Limit | None) -> str:
    if limit is not None and limit.stage is None:
        return "one thread does everything in turn: the times of both stages add up"
    model: StageModel = getattr(run.job, stage)
    parts = f"{seconds(model.cpu_seconds)} of CPU and {seconds(model.blocked_seconds)} of waiting per image"
    return f"{workers(record.stages[stage])} with {parts}"
