"""Whether each stage's mode was right, by what was measured and what the other modes are predicted to do; and what to
change next, best first.

A single run cannot vary its workers, so the counter-checks that need a second run are answered by the model where it
fits this run, and are left open by name where it does not."""

import itertools
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from batchproc.explain.predict import Limit, cpu_seconds, gil_seconds, predict, start_seconds
from batchproc.explain.run_model import (
    BLOCKED,
    QUIET,
    SOME,
    RunModel,
    full_workers,
    gil_wait_share,
    held_by_hosts,
    held_step_seconds,
    process_cpu,
)
from batchproc.kinds import Code, Effect, kind_of
from batchproc.record.explanation import (
    Advice,
    Alternative,
    Cause,
    Choice,
    ExecutionPlan,
    Figure,
    Hint,
    Judgement,
    Rank,
    Value,
)
from batchproc.record.run_json import HostsRecord, RunRecord
from batchproc.record.run_parts import MODES, STAGES, ModeName, StageRecord

TIE = 0.05  # a predicted difference below that is none
ALIKE, ALIKE_ERROR = 0.15, 0.20  # a predicted difference, and an error, that still allow to call two modes alike
NETWORK_BOUND = 0.8  # of a download: that much waiting decides its mode
MUCH_HELD = 0.3  # of the CPU with the GIL in hand: that much decides by itself
MUCH_START = 0.05  # of the run: a start that is worth a word


def find_alternatives(record: RunRecord, run: RunModel, stage: str) -> list[Alternative]:
    """The other modes with the same number of workers, then this mode with twice and with half as many."""
    mode, workers = getattr(run.plan, stage), getattr(run.plan, f"{stage}_workers")
    others: list[tuple[ModeName, int]] = [
        (other, full_workers(record, stage, other)) for other in MODES if other != mode
    ]
    if mode != "serial":
        others += [(mode, number) for number in (2 * workers, workers // 2) if number]
    return [compare(run, plan_with(run.plan, stage, other, number), stage) for other, number in others]


def plan_with(plan: ExecutionPlan, stage: str, mode: ModeName, workers: int) -> ExecutionPlan:
    """The plan with one stage run in another way."""
    if stage == "download":
        return replace(plan, download=mode, download_workers=workers)
    return replace(plan, transform=mode, transform_workers=workers)


def compare(run: RunModel, plan: ExecutionPlan, stage: str) -> Alternative:
    """A plan against this run, as far as it changes `stage`.

    The interval covers both ends of the GIL shares and the model's error (`RunModel.error_of`).
    """
    mode, workers = getattr(plan, stage), getattr(plan, f"{stage}_workers")
    if not run.fits:
        unknown = {"miss": abs(run.miss)}
        return Alternative(mode=mode, workers=workers, rank=Rank.UNKNOWN, code=Judgement.MODEL_MISSES, values=unknown)
    ratios = [_ratio(run, edge, plan) for edge in ("low", "point", "high")]
    error = run.error_of(plan)
    low, high = min(ratios) * max(0.0, 1.0 - error), max(ratios) * (1.0 + error)
    return Alternative(
        mode=mode,
        workers=workers,
        predicted_ratio=ratios[1],
        low=low,
        high=high,
        error=error,
        rank=_rank(ratios[1], low, high, error),
        code=predict(run.job, plan).bound.name,
        values=_pace(run, plan),
    )


def _rank(ratio: float, low: float, high: float, error: float) -> Rank:
    """Better and worse by more than the error; a tie is a claim too, made only where the error is small enough."""
    if ratio > 1.0 + TIE and low > 1.0:
        return Rank.BETTER
    if ratio < 1.0 - TIE and high < 1.0:
        return Rank.WORSE
    return Rank.ALIKE if abs(ratio - 1.0) <= ALIKE and error <= ALIKE_ERROR else Rank.OPEN


def _ratio(run: RunModel, edge: str, plan: ExecutionPlan) -> float:
    job = run.with_phi(edge)
    return predict(job, plan).rate_per_second / predict(job, run.plan).rate_per_second


def _pace(run: RunModel, plan: ExecutionPlan) -> dict[str, Value]:
    """What would set the pace, and what else differs from this run."""
    prediction = predict(run.job, plan)
    values = _limit(run, prediction.bound, plan)
    values["cpu_seconds"], values["cpu_seconds_here"] = cpu_seconds(run.job, plan), cpu_seconds(run.job, run.plan)
    extra = start_seconds(run.job, plan) - start_seconds(run.job, run.plan)
    values["start_seconds_more"] = extra if abs(extra) > MUCH_START * prediction.seconds else None
    return values


def _limit(run: RunModel, limit: Limit, plan: ExecutionPlan) -> dict[str, Value]:
    values: dict[str, Value] = {
        "pace": limit.name, "pace_stage": limit.stage, "pace_rate_per_second": limit.rate_per_second,
        "pace_cores": run.job.cores,
    }  # fmt: skip
    if limit.stage:
        mode = getattr(plan, limit.stage)
        values["pace_mode"] = mode
        values["pace_workers"] = 1 if mode == "serial" else getattr(plan, f"{limit.stage}_workers")
    return values


def find_choice(record: RunRecord, run: RunModel, stage: str) -> Choice:
    """Whether one stage's mode was right."""
    alternatives = find_alternatives(record, run, stage)
    phi = run.shares[stage]
    code, found = _judge(record, run, stage, alternatives)
    mode, values = getattr(run.plan, stage), {**(phi.values if phi else {}), **found}
    best = _best_mode(code, mode, values)
    return Choice(
        stage=stage,
        mode=mode,
        workers=getattr(run.plan, f"{stage}_workers"),
        best=best,
        cause=_find_cause(run, stage, best, values) if best else "",
        evidence=tuple(_evidence(record, run, stage)),
        alternatives=tuple(alternatives),
        code=code,
        values=values,
    )


def _best_mode(code: Judgement, mode: str, values: Mapping[str, Value]) -> str:
    """The mode to take; empty where that is open."""
    if code in (Judgement.WON, Judgement.TIE):
        return mode
    key = {Judgement.NOT_BEST: "best", Judgement.LIGHTER_WOULD_DO: "lightest"}.get(code, "")
    return str(values.get(key, ""))


def _find_cause(run: RunModel, stage: str, best: str, values: Mapping[str, Value]) -> Cause:
    """What says most about why a mode is best: waiting, then the GIL, then what sets the pace in any mode."""
    elsewhere = Cause.PACE if values.get("pace") else Cause.COST
    if best == "serial":
        return elsewhere
    if values.get("network_share"):
        return Cause.WAITING
    share = run.shares[stage]
    if stage == "download" or share is None or not share.is_known:
        return elsewhere
    if best == "thread":
        return Cause.GIL_FREE if share.point * run.job.cores < 1.0 else elsewhere
    if share.point >= MUCH_HELD:
        return Cause.GIL_HELD
    threads = predict(run.job, plan_with(run.plan, stage, "thread", getattr(run.plan, f"{stage}_workers")))
    return Cause.ONE_GIL if threads.bound.name == "gil" else elsewhere


def _judge(
    record: RunRecord, run: RunModel, stage: str, alternatives: list[Alternative]
) -> tuple[Judgement, Mapping[str, Value]]:
    mode = getattr(run.plan, stage)
    others = [one for one in alternatives if one.mode != mode]
    hidden = unexplained(record, stage)
    if hidden is not None:
        return Judgement.UNEXPLAINED, {"unexplained_share": hidden}
    if not run.fits:
        return Judgement.MODEL_MISSES, {**_disturbance(run), "miss": abs(run.miss)}
    best = max(others, key=lambda one: one.predicted_ratio or 0.0)
    if best.rank == Rank.BETTER:
        overlap = waits_overlap(record, run) if stage == "download" else {}
        return Judgement.NOT_BEST, {**best.values, **overlap, "best": best.mode, "ratio": best.predicted_ratio}
    values = _own_figures(record, run, stage)
    ties = [one for one in others if one.rank != Rank.WORSE]
    if not ties:
        return Judgement.WON, values
    if any(one.rank != Rank.ALIKE for one in ties):
        return Judgement.OPEN, {**values, **_disturbance(run), "error": max(one.error for one in ties)}
    lightest = next(name for name in MODES if name in (mode, *(one.mode for one in ties)))
    code = Judgement.TIE if lightest == mode else Judgement.LIGHTER_WOULD_DO
    return code, {**values, **_pace_elsewhere(run, stage), "lightest": lightest}


def _disturbance(run: RunModel) -> dict[str, Value]:
    """What other programs took, where that alone explains a doubt."""
    return {"others": run.others} if run.others > QUIET else {}


def _pace_elsewhere(run: RunModel, stage: str) -> dict[str, Value]:
    """What sets this run's pace, where that is not the stage itself."""
    bound = predict(run.job, run.plan).bound
    return {} if bound.stage == stage else _limit(run, bound, run.plan)


def _own_figures(record: RunRecord, run: RunModel, stage: str) -> dict[str, Value]:
    """What decides between the modes: this stage's own numbers."""
    overlap = waits_overlap(record, run) if stage == "download" else {}
    cpu, blocked = _costs(record.stages[stage])
    return {"cpu_seconds": cpu, "blocked_seconds": blocked, **overlap}


def _costs(stage: StageRecord) -> tuple[float, float]:
    """What one image costs the stage: CPU as `cpu_per_item_seconds` has it, and waiting for network and disk."""
    blocked = sum(stage.account.get(category, 0.0) for category in BLOCKED)
    return stage.cpu_seconds / stage.tasks, blocked / stage.tasks


def _evidence(record: RunRecord, run: RunModel, stage: str) -> Iterator[Figure]:
    measured, phi = record.stages[stage], run.shares[stage]
    cpu, blocked = _costs(measured)
    yield Figure(code="cpu", value=cpu, unit="s")
    yield Figure(code="blocked", value=blocked, unit="s")
    yield Figure(code="gil_wait", value=measured.account.get("gil_wait"), unit="s")
    yield Figure(code="run_queue", value=measured.account.get("run_queue"), unit="s")
    yield Figure(code="gil_held", value=phi.point if phi else None, unit="")
    yield Figure(code="rate_of_model", value=predict(run.job, run.plan).rate_per_second, unit="items/s")
    yield Figure(code="rate", value=run.rate_per_second, unit="items/s")


def unexplained(record: RunRecord, stage: str) -> float | None:
    """The share of a stage's worker-seconds that nothing explains, when it is too large to conclude anything."""
    for check in record.checks:
        if check.name == f"remainder.{stage}" and check.passed is False:
            return abs(check.value or 0.0)
    return None


def waits_overlap(record: RunRecord, run: RunModel) -> dict[str, Value]:
    """How much of a download is waiting, and how many waited at once; says less when the model misses the run."""
    stage = record.stages["download"]
    network = stage.account.get("network", stage.account.get("blocked", 0.0))
    if not stage.busy_seconds or network < NETWORK_BOUND * stage.busy_seconds:
        return {}
    together = stage.busy_seconds / run.working_seconds
    return {"network_share": network / stage.busy_seconds, "downloads_at_once": together if run.fits else None}


MOST = 8


def find_hints(record: RunRecord, run: RunModel) -> list[Hint]:
    """At most eight, the largest predicted gain first, then those whose gain is not known."""
    hints = [*_from_predictions(record, run), *from_evidence(record, run)]
    return sorted(hints, key=lambda hint: -(hint.gain or 0.0))[:MOST]


def _from_predictions(record: RunRecord, run: RunModel) -> Iterator[Hint]:
    """The best change of each stage alone, and of both together where that is clearly better still."""
    best_alone = 1.0
    for stage in STAGES:
        found = [one for one in find_alternatives(record, run, stage) if one.rank == Rank.BETTER]
        if found:
            best = max(found, key=lambda one: one.predicted_ratio or 0.0)
            best_alone = max(best_alone, best.predicted_ratio or 0.0)
            yield _change(run, stage, best)
    plan, both = _best_pair(record, run)
    if both.rank == Rank.BETTER and (both.predicted_ratio or 0.0) > 1.1 * best_alone:
        modes = {"download": plan.download, "transform": plan.transform}
        yield Hint(code=Advice.CHANGE_BOTH_MODES, values={**both.values, **modes}, gain=both.predicted_ratio)


def _best_pair(record: RunRecord, run: RunModel) -> tuple[ExecutionPlan, Alternative]:
    plans = [
        ExecutionPlan(
            download=download,
            download_workers=full_workers(record, "download", download),
            transform=transform,
            transform_workers=full_workers(record, "transform", transform),
        )
        for download, transform in itertools.product(MODES, MODES)
    ]
    compared = [(plan, compare(run, plan, "transform")) for plan in plans]
    return max(compared, key=lambda pair: pair[1].predicted_ratio or 0.0)


def _change(run: RunModel, stage: str, one: Alternative) -> Hint:
    is_same_mode = one.mode == getattr(run.plan, stage)
    return Hint(
        code=Advice.CHANGE_WORKERS if is_same_mode else Advice.CHANGE_MODE,
        values={
            **one.values,
            "stage": stage,
            "mode": one.mode,
            "workers": one.workers,
            "workers_now": getattr(run.plan, f"{stage}_workers"),
        },
        gain=one.predicted_ratio,
    )


FULL = 0.9
FEW_WAITS = 0.05


def from_evidence(record: RunRecord, run: RunModel) -> Iterator[Hint]:
    """The rules that end in advice."""
    yield from _gil_is_full(run)
    yield from _held_steps(record)
    yield from _too_many_workers(record, run)
    yield from _pipe(record, run)
    yield from _hosts(record, run)
    yield from whatever_the_modes(record)


def whatever_the_modes(record: RunRecord) -> Iterator[Hint]:
    """The rules that need neither a model nor many items."""
    yield from _servers(record)
    yield from _retries(record)
    yield from _machine(record)


def _gil_is_full(run: RunModel) -> Iterator[Hint]:
    held = gil_seconds(run.job, run.plan)
    load = held * run.rate_per_second
    if load >= FULL and predict(run.job, run.plan).bound.name == "gil":
        values: dict[str, Value] = {"held_share": min(1.0, load), "held_seconds": held}
        yield Hint(code=Advice.GIL_IS_FULL, values=values)


def _held_steps(record: RunRecord) -> Iterator[Hint]:
    """A step that holds the GIL matters only to threads beside it; that they did wait is the counter-check."""
    stage = record.stages["transform"]
    held = held_step_seconds(stage)
    waited = gil_wait_share(stage)
    if waited is None or not stage.cpu_seconds or held < SOME * stage.cpu_seconds:
        return
    if waited > FEW_WAITS:
        values = {"held_share": held / stage.cpu_seconds, "waited": waited}
        yield Hint(code=Advice.STEPS_HOLD_GIL, values=values)


def _too_many_workers(record: RunRecord, run: RunModel) -> Iterator[Hint]:
    """Ready but no core free; the counter-check is that neighbours did not take the cores."""
    stage = record.stages["transform"]
    queue, busy = stage.account.get("run_queue"), stage.busy_seconds
    if queue is None or not busy or queue < 0.25 * busy or _failed(record, "others") or stage.mode == "serial":
        return
    free = round(run.job.cores)
    if stage.workers > free >= 1:
        values: dict[str, Value] = {
            "workers": free, "mode": stage.mode, "workers_now": stage.workers, "queued_share": queue / busy,
        }  # fmt: skip
        yield Hint(code=Advice.FEWER_WORKERS, values=values)


def _pipe(record: RunRecord, run: RunModel) -> Iterator[Hint]:
    """Parent near one core while processes starve. The echo control is a run of its own, so this stays a suspicion."""
    main = process_cpu(record, "main")
    if main is None or run.plan.transform != "process":
        return
    load = main / run.working_seconds
    starved = record.stages["transform"].load.starved
    if load >= FULL and starved > SOME:
        yield Hint(code=Advice.PIPE_SUSPECTED, values={"main_share": load, "starved": starved})


def _hosts(record: RunRecord, run: RunModel) -> Iterator[Hint]:
    """Idle workers beside waiting items; the counter-check is that this limit is the one that binds in the model."""
    held = held_by_hosts(record)
    if record.concurrency:  # how many may run at once is found out on the way: not the hosts' limit alone
        return
    if held is None or predict(run.job, run.plan).bound.name != "per_host" or not run.fits:
        return
    download, hosts = record.stages["download"], record.hosts
    if hosts.lowest_limit < hosts.per_host:
        values: dict[str, Value] = {
            "per_host": hosts.per_host, "lowest_limit": hosts.lowest_limit, "downloads_allowed": held,
        }  # fmt: skip
        yield Hint(code=Advice.HOST_STRUGGLED, values=values)
        return
    twice = predict(replace(run.job, connections=2.0 * held), run.plan).rate_per_second
    yield Hint(
        code=Advice.MORE_PER_HOST,
        values={
            "per_host": int(record.setting("download", "per_host")),
            "downloads_allowed": held,
            "mode": download.mode,
            "workers": download.workers,
            "waiting": record.samples.gauge_means["waiting"],
            "busiest_share": _busiest_share(hosts),
        },
        gain=twice / predict(run.job, run.plan).rate_per_second,
    )


def _busiest_share(hosts: HostsRecord) -> float | None:
    """How much of the list is on one host, where that is known."""
    return hosts.top[0].starts / sum(entry.starts for entry in hosts.top) if hosts.top else None


def _servers(record: RunRecord) -> Iterator[Hint]:
    codes = record.failures_this_run or {}
    answers = {code: number for code, number in codes.items() if code != Code.CONNECT}
    refused = {code: number for code, number in answers.items() if kind_of(code).effect is Effect.REFUSED}
    if refused:
        yield Hint(code=Advice.SERVER_REFUSED, values={**refused})


def _retries(record: RunRecord) -> Iterator[Hint]:
    idle, line = record.retry_wait_seconds or 0.0, record.line_seconds
    if idle > SOME * line:
        yield Hint(code=Advice.RETRIES_WAITED, values={"idle_seconds": idle, "seconds": line})


def _machine(record: RunRecord) -> Iterator[Hint]:
    for check in record.checks:
        if check.name in ("others", "steal", "throttling") and check.passed is False:
            yield Hint(code=Advice.MEASURE_AGAIN, values={"check": check.name})


def _failed(record: RunRecord, name: str) -> bool:
    return any(check.name == name and check.passed is False for check in record.checks)
