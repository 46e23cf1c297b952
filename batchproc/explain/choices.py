"""Why each stage's mode was right or wrong: what was measured, and what the other modes are predicted to do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from batchproc.explain.measured import Measured, full_workers
from batchproc.explain.predict import MODES, Limit, Prediction, cpu_seconds, predict, start_seconds
from batchproc.explain.rules import unexplained, waits_overlap
from batchproc.explain.words import cores, crew, seconds, share, significant
from batchproc.record.explanation import Alternative, Choice, Figure, Variant
from batchproc.record.run import RunRecord
from batchproc.record.stage import ModeName

TIE = 0.05  # a predicted difference below that is none
ALIKE, ALIKE_ERROR = 0.15, 0.20  # a predicted difference, and an error, that still allow to call two modes alike
MUCH_START = 0.05  # of the run: a start that is worth a word
UNIT_RATE = "images/s"


def better(one: Alternative) -> bool:
    """Whether it is predicted to be faster by more than the model's error."""
    ratio, low = one.predicted_ratio, one.low
    return ratio is not None and low is not None and ratio > 1.0 + TIE and low > 1.0


def worse(one: Alternative) -> bool:
    """Whether it is predicted to be slower by more than the model's error."""
    ratio, high = one.predicted_ratio, one.high
    return ratio is not None and high is not None and ratio < 1.0 - TIE and high < 1.0


def alike(one: Alternative) -> bool:
    """Whether it is predicted to come to the same, by a model that is good enough to say so."""
    return one.predicted_ratio is not None and abs(one.predicted_ratio - 1.0) <= ALIKE and one.error <= ALIKE_ERROR


def find_alternatives(record: RunRecord, run: Measured, stage: str) -> list[Alternative]:
    """The other modes with the same number of workers, then this mode with twice and with half as many."""
    mode, workers = getattr(run.variant, stage), getattr(run.variant, f"{stage}_workers")
    others: list[tuple[ModeName, int]] = [
        (other, full_workers(record, stage, other)) for other in MODES if other != mode
    ]
    if mode != "serial":
        others += [(mode, number) for number in (2 * workers, workers // 2) if number]
    return [compare(run, variant_with(run.variant, stage, other, number), stage) for other, number in others]


def variant_with(variant: Variant, stage: str, mode: ModeName, workers: int) -> Variant:
    """The variant with one stage run in another way."""
    if stage == "download":
        return replace(variant, download=mode, download_workers=workers)
    return replace(variant, transform=mode, transform_workers=workers)


def compare(run: Measured, variant: Variant, stage: str) -> Alternative:
    """A variant against this run, in the words of the stage that it changes.

    The interval covers both ends of the GIL shares and the model's error (`Measured.error_of`).
    """
    mode, workers = getattr(variant, stage), getattr(variant, f"{stage}_workers")
    if not run.fits:
        return Alternative(mode=mode, workers=workers, because=f"unknown: {_miss_text(run)}")
    ratios = [_ratio(run, edge, variant) for edge in ("low", "point", "high")]
    error = run.error_of(variant)
    return Alternative(
        mode=mode,
        workers=workers,
        predicted_ratio=ratios[1],
        low=min(ratios) * max(0.0, 1.0 - error),
        high=max(ratios) * (1.0 + error),
        because=_bound_text(run, predict(run.job, variant), variant),
        error=error,
    )


def _miss_text(run: Measured) -> str:
    return f"the model misses this run by {share(abs(run.miss))}, so it is not asked about others"


def _ratio(run: Measured, edge: str, variant: Variant) -> float:
    job = run.with_phi(edge)
    return predict(job, variant).rate_per_second / predict(job, run.variant).rate_per_second


def _bound_text(run: Measured, prediction: Prediction, variant: Variant) -> str:
    """What would set the pace, in words, and what else differs from this run."""
    limit = prediction.bound
    text = f"{_who(run, limit, variant)} would set the pace at {significant(limit.rate_per_second)} {UNIT_RATE}"
    cpu, here = cpu_seconds(run.job, variant), cpu_seconds(run.job, run.variant)
    if limit.name == "cores" and significant(1000 * cpu) != significant(1000 * here):
        text += f", with {seconds(cpu)} of CPU per image in all instead of {seconds(here)}"
    extra = start_seconds(run.job, variant) - start_seconds(run.job, run.variant)
    if abs(extra) > MUCH_START * prediction.seconds:
        text += f"; starting takes {seconds(abs(extra))} {'longer' if extra > 0 else 'less'}"
    return text


def _who(run: Measured, limit: Limit, variant: Variant) -> str:
    if limit.stage and limit.name == "workers":
        return f"{limit.stage} with {_crew(variant, limit.stage)}"
    return {
        "cores": f"the free cores ({cores(run.job.cores)})",
        "gil": "the one GIL of the main process",
        "pipe": "copying images through pipes",
        "per_host": "the limit of connections to one host",
        "workers": "one thread for everything",
    }[limit.name]


def _crew(variant: Variant, stage: str) -> str:
    mode = getattr(variant, stage)
    return crew(mode, 1 if mode == "serial" else getattr(variant, f"{stage}_workers"))


def find_choice(record: RunRecord, run: Measured, stage: str) -> Choice:
    """Whether one stage's mode was right."""
    alternatives = find_alternatives(record, run, stage)
    judgement = _judge(record, run, stage, alternatives)
    return Choice(
        stage=stage,
        mode=getattr(run.variant, stage),
        workers=getattr(run.variant, f"{stage}_workers"),
        brief=f"{judgement.head}{judgement.ranking}",
        verdict=f"{judgement.head}{judgement.reason}{judgement.ranking}",
        evidence=tuple(_evidence(record, run, stage)),
        alternatives=tuple(alternatives),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A sentence in three pieces: what is so, why (with its numbers), and what the other modes are predicted to do."""

    head: str
    reason: str = ""
    ranking: str = ""


def _judge(record: RunRecord, run: Measured, stage: str, alternatives: list[Alternative]) -> Judgement:
    mode = getattr(run.variant, stage)
    others = [one for one in alternatives if one.mode != mode]
    hidden = unexplained(record, stage)
    unknown = f"unknown whether {mode} was right for {stage}: "
    if hidden is not None:
        return Judgement(head=f"{unknown}{share(hidden)} of its worker-seconds are unexplained")
    if not run.fits:
        return Judgement(head=f"{unknown}{_miss_text(run)}")
    best = max(others, key=lambda one: one.predicted_ratio or 0.0)
    if better(best):
        return Judgement(
            head=f"{mode} was not the best for {stage}: {best.mode} is predicted to make the whole run "
            f"{significant(best.predicted_ratio or 0.0)} times as fast",
            reason=f", because {best.because}",
        )
    return _won_or_tied(run, stage, others, _reason(record, run, stage))


def _won_or_tied(run: Measured, stage: str, others: list[Alternative], reason: str) -> Judgement:
    """No other mode is better. A tie is a claim too: it is made only where the error is small enough for one."""
    mode = getattr(run.variant, stage)
    ratios = ", ".join(f"{one.mode} {significant(one.predicted_ratio or 0.0)} times" for one in others)
    ranking = f" (predicted: {ratios} this run's rate)"
    ties = [one for one in others if not worse(one)]
    if not ties:
        return Judgement(head=f"{mode} won for {stage}", reason=f" because {reason}", ranking=ranking)
    if not all(alike(one) for one in ties):
        return Judgement(head=_undecided(mode, stage, others, ties), reason=f": {reason}", ranking=ranking)
    lightest = next(name for name in MODES if name in (mode, *(one.mode for one in ties)))
    because = f": {_common_pace(run, stage, ties)}{reason}"
    if lightest != mode:
        head = f"{lightest} would be as fast as {mode} for {stage}, and is lighter"
        if mode == "process":
            head += "; but only a process can be killed when an item hangs, and takes no other item with it"
        return Judgement(head=head, reason=because, ranking=ranking)
    names = " and ".join(one.mode for one in ties)
    head = f"{mode} was right for {stage}; {names} would be as fast, and no lighter"
    return Judgement(head=head, reason=because, ranking=ranking)


def _undecided(mode: str, stage: str, others: list[Alternative], ties: list[Alternative]) -> str:
    """What can be said where the error is too large for a tie: which modes are worse all the same."""
    error = share(max(one.error for one in ties))
    worse_ones = " and ".join(one.mode for one in others if one not in ties)
    open_ones = " or ".join(one.mode for one in ties)
    unknown = f"unknown whether {open_ones} would do better for {stage} (the error allowed for is {error})"
    return f"{mode} beat {worse_ones} for {stage}, and it is {unknown}" if worse_ones else unknown


def _common_pace(run: Measured, stage: str, ties: list[Alternative]) -> str:
    """Why modes tie, where one ceiling outside the stage binds in all of them."""
    variants = [run.variant, *(variant_with(run.variant, stage, one.mode, one.workers) for one in ties)]
    bounds = [predict(run.job, variant).bound for variant in variants]
    same = len({(bound.name, bound.stage) for bound in bounds}) == 1 and bounds[0].stage != stage
    if not same:
        return ""
    where = _who(run, bounds[0], run.variant)
    return f"{where} set{'' if where.endswith(')') else 's'} the pace in any case, and "


def _reason(record: RunRecord, run: Measured, stage: str) -> str:
    """What decides between the modes, from this stage's own numbers."""
    model = getattr(run.job, stage)
    overlap = waits_overlap(record, run) if stage == "download" else ""
    times = f"an image takes {seconds(model.cpu_seconds)} of CPU and {seconds(model.blocked_seconds)} of waiting"
    if overlap:
        return f"{times}; {overlap}"
    phi = run.shares[stage]
    if phi is None or not phi.is_known:
        doubt = f": {phi.doubt}" if phi and phi.doubt else ""
        return f"{times}, and how much of the CPU holds the GIL is not known{doubt}"
    return f"{times}; about {share(phi.point)} of the CPU holds the GIL ({phi.method})"


def _evidence(record: RunRecord, run: Measured, stage: str) -> Iterator[Figure]:
    measured, model, phi = record.stages[stage], getattr(run.job, stage), run.shares[stage]
    yield _figure("CPU per image of the job", model.cpu_seconds, "s")
    yield _figure("waiting for network and disk per image of the job", model.blocked_seconds, "s")
    wait = measured.account.get("gil_wait")
    method = f"({measured.gil_method})" if wait is not None else "is unknown here and counts as waiting"
    yield _figure(f"waiting for the GIL, all workers together {method}", wait, "s")
    yield _figure("ready, but no core was free, all workers together", measured.account.get("run_queue"), "s")
    held = f"({phi.method}{'; but ' + phi.doubt if phi.doubt else ''})" if phi else "is unknown"
    yield _figure(f"share of its CPU that holds the GIL {held}", phi.point if phi else None, "")
    yield _figure("rate of this run by the model", predict(run.job, run.variant).rate_per_second, UNIT_RATE)
    yield _figure("rate of this run, measured, without waits for retries", run.rate_per_second, UNIT_RATE)


def _figure(text: str, value: float | None, unit: str) -> Figure:
    return Figure(text=text, value=value, unit=unit)
