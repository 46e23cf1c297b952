"""What to change next, best first: what the model predicts, and what rules find, each with its counter-check.

A single run cannot vary its workers, so the counter-checks that need a second run are answered by the model where it
fits this run, and are left open by name where it does not.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from batchproc.explain.bottleneck import SOME
from batchproc.explain.choices import compare, find_alternatives
from batchproc.explain.phi import gil_wait_share, held_step_seconds
from batchproc.explain.predict import MODES, gil_seconds, predict
from batchproc.explain.reasons import Advice, Rank
from batchproc.explain.run_model import RunModel, full_workers, held_by_hosts, process_cpu
from batchproc.kinds import Code, Effect, kind_of
from batchproc.record.explanation import Alternative, Hint, Value, Variant
from batchproc.record.run_json import HostsRecord, RunRecord

MOST = 8
STAGES = ("download", "transform")


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
    variant, both = _best_pair(record, run)
    if both.rank == Rank.BETTER and (both.predicted_ratio or 0.0) > 1.1 * best_alone:
        modes = {"download": variant.download, "transform": variant.transform}
        yield Hint(code=Advice.CHANGE_BOTH_MODES, values={**both.values, **modes}, gain=both.predicted_ratio)


def _best_pair(record: RunRecord, run: RunModel) -> tuple[Variant, Alternative]:
    variants = [
        Variant(
            download=download,
            download_workers=full_workers(record, "download", download),
            transform=transform,
            transform_workers=full_workers(record, "transform", transform),
        )
        for download, transform in itertools.product(MODES, MODES)
    ]
    compared = [(variant, compare(run, variant, "transform")) for variant in variants]
    return max(compared, key=lambda pair: pair[1].predicted_ratio or 0.0)


def _change(run: RunModel, stage: str, one: Alternative) -> Hint:
    is_same_mode = one.mode == getattr(run.variant, stage)
    return Hint(
        code=Advice.CHANGE_WORKERS if is_same_mode else Advice.CHANGE_MODE,
        values={
            **one.values,
            "stage": stage,
            "mode": one.mode,
            "workers": one.workers,
            "workers_now": getattr(run.variant, f"{stage}_workers"),
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
    held = gil_seconds(run.job, run.variant)
    load = held * run.rate_per_second
    if load >= FULL and predict(run.job, run.variant).bound.name == "gil":
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
    if main is None or run.variant.transform != "process":
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
    if held is None or predict(run.job, run.variant).bound.name != "per_host" or not run.fits:
        return
    download, hosts = record.stages["download"], record.hosts
    if hosts.lowest_limit < hosts.per_host:
        values: dict[str, Value] = {
            "per_host": hosts.per_host, "lowest_limit": hosts.lowest_limit, "downloads_allowed": held,
        }  # fmt: skip
        yield Hint(code=Advice.HOST_STRUGGLED, values=values)
        return
    twice = predict(replace(run.job, connections=2.0 * held), run.variant).rate_per_second
    yield Hint(
        code=Advice.MORE_PER_HOST,
        values={
            "per_host": int(record.setting("download", "per_host")),
            "downloads_allowed": held,
            "mode": download.mode,
            "workers": download.workers,
            "waiting": record.sampled.gauge_means["waiting"],
            "busiest_share": _busiest_share(hosts),
        },
        gain=twice / predict(run.job, run.variant).rate_per_second,
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
