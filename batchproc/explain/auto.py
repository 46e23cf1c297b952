"""`mode = "auto"`: in which modes a run should go on, from what its first seconds measured. Arithmetic
alone.

The run begins in the modes that are right most often, so going on in them costs nothing; a change costs the end of what
is in flight and the start of new workers. A `Candidate` is therefore ranked by the time it needs for the rest of the
work, its start included, and is tried only where what it may win pays for having to come back.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from batchproc.explain.predict import predict, start_seconds
from batchproc.explain.run_model import FIT_LIMIT, RunModel
from batchproc.record.explanation import AutoReason, AutoVerdict, Candidate, ExecutionPlan, ModelInputs, TieBreak, Value
from batchproc.record.run_parts import ModeName

LEAST_ITEMS = 100  # of work: with fewer, measuring costs more than the right choice could win
NEAR = 0.15  # rates that close to each other are not told apart by a model
TIE = 0.05
SURE = 0.5  # faster by so much, no drift of a run explains it; new folders alone make a quarter
CHANGES_OF_A_RACE, WINDOW_SECONDS = 3, 2.0
BUSY = 0.25  # of the machine, used by others: their next second may be quite another
FREE_SHARE = 0.02  # of the time that is left: what a race may cost without hope of a gain
WEIGHTS: dict[ModeName, int] = {"serial": 0, "thread": 1, "process": 2}


class Decision(Struct, frozen=True, kw_only=True):
    """What to do now, and why. `rival`: the pair to try for `RACE`, else the runner-up; `margin`: its rate by ours,
    less 1."""

    verdict: AutoVerdict
    reason: AutoReason
    values: Mapping[str, Value] = field(default_factory=dict)
    rival: Candidate | None = None
    margin: float | None = None


def rank(run: RunModel, plans: Iterable[ExecutionPlan], *, rate_per_second: float, rest: int) -> list[Candidate]:
    """Every pair by the time it needs for the `rest` items, the quickest first; ties go to the lighter pair.

    `rate_per_second` is what the present pair was seen to do; the model only says how the others compare to it.
    """
    job = replace(run.job, items=max(1, rest))
    here = predict(job, run.plan).steady_rate_per_second
    found = []
    for one in plans:
        prediction = predict(job, one)
        rate = rate_per_second * prediction.steady_rate_per_second / here
        change = 0.0 if one == run.plan else change_seconds(run, one)
        found.append(
            Candidate(
                **asdict(one),
                predicted_rate_per_second=rate,
                change_seconds=change,
                rest_seconds=change + rest / rate,
                bound=prediction.bound.name,
                bound_stage=prediction.bound.stage,
            )
        )
    return sorted(found, key=lambda one: (one.rest_seconds, _weight(one.plan)))


def change_seconds(run: RunModel, plan: ExecutionPlan) -> float:
    """Seconds in which little is done: an item's way through both stages, to empty the line and to fill it again, and
    the start of the new workers, without the fork server, which stays."""
    job = run.job
    way = sum(stage.blocked_seconds + stage.cpu_seconds for stage in (job.download, job.transform))
    start = start_seconds(job, plan) - job.start.always_seconds
    warm = "process" in (run.plan.download, run.plan.transform) and "process" in (plan.download, plan.transform)
    return way + max(0.0, start - (job.start.first_process_seconds if warm else 0.0))


def choose(run: RunModel, ranked: Sequence[Candidate], *, open_web: bool, fragile: bool = False) -> Decision:
    """Whether to go on as it is or to try another pair.

    `open_web`: strangers made the images. `fragile`: a worker crashed on one of them, hung or ran out of memory: then
    nothing that gives up isolation is asked about.
    """
    own = next(one for one in ranked if one.plan == run.plan)
    rivals = [one for one in ranked if one.plan != run.plan]
    allowed = [one for one in rivals if not (fragile and _gives_up_isolation(run.plan, one.plan))]
    if not allowed:
        return Decision(verdict=AutoVerdict.KEPT, reason=AutoReason.LOST_WORKER, rival=rivals[0])
    rival = allowed[0]
    margin = rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0
    miss = abs(predict(run.job, run.plan).steady_rate_per_second / own.predicted_rate_per_second - 1.0)
    doubt = miss if miss > FIT_LIMIT else TIE
    verdict, reason = _verdict(own, rival, doubt), AutoReason.PREDICTED
    values = _predicted(own, rival, margin, open_web)
    if run.others > BUSY:
        verdict, reason, values = AutoVerdict.UNKNOWN, AutoReason.OTHERS_BUSY, {"others": run.others}
    elif miss > FIT_LIMIT and verdict is not AutoVerdict.RACE:
        verdict, reason, values = AutoVerdict.UNKNOWN, AutoReason.MODEL_MISSES, {"miss": miss}
    return Decision(verdict=verdict, reason=reason, values=values, rival=rival, margin=margin)


class Race(Struct, frozen=True, kw_only=True):
    """What both pairs were seen to do, in items/s, one after the other: own, rival, and own again once it went back.

    A run drifts: folders are made, caches fill, so later is faster. The mean of before and after cancels that.
    """

    own: ExecutionPlan
    rival: Candidate
    own_rates: tuple[float, ...]
    rival_rate: float
    rest: int  # items left
    change_seconds: float  # to the other pair, from where the run is now
    open_web: bool
    fragile: bool = False  # a worker was lost meanwhile

    @property
    def own_rate(self) -> float:
        """The mean of what was seen of the own pair."""
        return sum(self.own_rates) / len(self.own_rates)


def after_trying(race: Race) -> Decision:
    """The rival runs: whether to stay with it. `RACE`: go back and look again, because a drift would explain it."""
    gain = race.rival_rate / race.own_rate - 1.0
    stays = race.rest / race.rival_rate
    back = race.rest / race.own_rate + race.change_seconds
    if gain >= SURE or (stays <= back and gain <= 0.0):
        return _change(race)
    if gain <= 0.0:
        return _keep(race)
    return Decision(
        verdict=AutoVerdict.RACE, reason=AutoReason.TRIED, values=_tried(race), rival=race.rival, margin=gain
    )


def after_returning(race: Race) -> Decision:
    """The own pair runs again: whether to change for good."""
    gain = race.rival_rate / race.own_rate - 1.0
    needed = 1.0 + race.change_seconds * race.own_rate / race.rest if race.rest else 2.0
    if gain > TIE and race.rival_rate / race.own_rate > needed:
        return _change(race)
    return _keep(race)


def _change(race: Race) -> Decision:
    if race.fragile and _gives_up_isolation(race.own, race.rival.plan):
        return _keep(race)
    margin = race.own_rate / race.rival_rate - 1.0
    left = replace(race.rival, **asdict(race.own), predicted_rate_per_second=race.own_rate)
    values = {**_tried(race), "lost_isolation": int(_gives_up_isolation(race.own, race.rival.plan))}
    return Decision(
        verdict=AutoVerdict.CHANGED, reason=AutoReason.TRIED, values=values, rival=left, margin=margin
    )


def _keep(race: Race) -> Decision:
    margin = race.rival_rate / race.own_rate - 1.0
    is_tie = race.open_web and 0.0 < margin <= TIE and _gives_up_isolation(race.own, race.rival.plan)
    values = {**_tried(race), "tie_break": TieBreak.ISOLATION if is_tie else TieBreak.NONE}
    return Decision(
        verdict=AutoVerdict.KEPT_AFTER_RACE, reason=AutoReason.TRIED, values=values, rival=race.rival, margin=margin
    )


def _tried(race: Race) -> dict[str, Value]:
    """What both pairs were seen to do."""
    before, *after = race.own_rates
    return {"rival_rate_per_second": race.rival_rate, "own_rate_per_second": before,
            "own_rate_after_per_second": after[0] if after else None}  # fmt: skip


def _verdict(own: Candidate, rival: Candidate, doubt: float) -> AutoVerdict:
    """A race pays where the rival is clearly predicted to win, or where all of its changes cost next to nothing.

    `doubt`: a predicted gain below that share of the time is none.
    """
    if _same_limit(own, rival):
        return AutoVerdict.KEPT
    gain = own.rest_seconds - rival.rest_seconds
    is_near = abs(rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0) <= NEAR
    price = CHANGES_OF_A_RACE * rival.change_seconds + WINDOW_SECONDS * max(0.0, -gain / own.rest_seconds)
    is_clear = gain > max(rival.change_seconds, max(doubt, NEAR) * own.rest_seconds)
    return AutoVerdict.RACE if is_clear or (is_near and price < FREE_SHARE * own.rest_seconds) else AutoVerdict.KEPT


def _same_limit(own: Candidate, rival: Candidate) -> bool:
    """The same thing binds both, at the same rate: then their modes make no difference."""
    same = (own.bound, own.bound_stage) == (rival.bound, rival.bound_stage)
    return same and abs(rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0) < TIE / 5


def _predicted(own: Candidate, rival: Candidate, margin: float, open_web: bool) -> dict[str, Value]:
    """What both pairs are predicted to do, and what decides where that is alike."""
    tie = TieBreak.ISOLATION if open_web and _gives_up_isolation(own.plan, rival.plan) else TieBreak.PRESENT
    return {
        "own_rate_per_second": own.predicted_rate_per_second,
        "rival_rate_per_second": rival.predicted_rate_per_second,
        "change_seconds": rival.change_seconds,
        "tie_break": tie if abs(margin) <= TIE else TieBreak.NONE,
    }


def _gives_up_isolation(own: ExecutionPlan, rival: ExecutionPlan) -> bool:
    return own.transform == "process" and rival.transform != "process"


def describe_inputs(run: RunModel) -> ModelInputs:
    """What the prediction was made from."""
    return ModelInputs(
        **asdict(run.job), others_cpu_share=run.others, model_error=run.miss, assumed=run.assumed
    )


def _weight(one: ExecutionPlan) -> int:
    return WEIGHTS[one.download] + WEIGHTS[one.transform]
