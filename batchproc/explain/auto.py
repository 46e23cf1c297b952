"""`mode = "auto"`: in which modes a run should go on, from what its first seconds measured. Arithmetic and sentences.

The run begins in the modes that are right most often, so going on in them costs nothing; a change costs the end of what
is in flight and the start of new workers. A `Candidate` is therefore ranked by the time it needs for the rest of the
work, its start included, and is tried only where what it may win pays for having to come back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from batchproc.explain.measured import FIT_LIMIT, Measured
from batchproc.explain.predict import predict, start_seconds
from batchproc.explain.words import crew, seconds, share, significant
from batchproc.record.explanation import Candidate, ModelInputs, Variant
from batchproc.record.stage import ModeName

LEAST_ITEMS = 100  # of work: with fewer, measuring costs more than the right choice could win
NEAR = 0.15  # rates that close to each other are not told apart by a model
TIE = 0.05
SURE = 0.5  # faster by so much, no drift of a run explains it; new folders alone make a quarter
CHANGES_OF_A_RACE, WINDOW_SECONDS = 3, 2.0
BUSY = 0.25  # of the machine, used by others: their next second may be quite another
FREE_SHARE = 0.02  # of the time that is left: what a race may cost without hope of a gain
ISOLATION = (
    "processes, because an image of the open web that crashes or hangs Pillow costs one item there and the whole run "
    "in a thread"
)
WEIGHTS: dict[ModeName, int] = {"serial": 0, "thread": 1, "process": 2}


class Verdict(StrEnum):
    """What became of the question."""

    NOT_WORTH_IT = "not_worth_it"  # too few items: the usual modes, unmeasured
    TOO_SHORT = "too_short"  # the work ended before there was enough to choose from
    UNKNOWN = "unknown"  # the model does not describe this run
    KEPT = "kept"
    RACE = "race"  # to be decided by trying
    KEPT_AFTER_RACE = "kept_after_race"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to do now. `rival`: the pair to try for `RACE`, else the runner-up; `margin`: its rate by ours, less 1."""

    verdict: Verdict
    because: str
    rival: Candidate | None = None
    margin: float | None = None


def rank(run: Measured, crews: Iterable[Variant], *, rate_per_second: float, rest: int) -> list[Candidate]:
    """Every pair by the time it needs for the `rest` items, the quickest first; ties go to the lighter pair.

    `rate_per_second` is what the present pair was seen to do; the model only says how the others compare to it.
    """
    job = replace(run.job, items=max(1, rest))
    here = predict(job, run.variant).steady_rate_per_second
    found = []
    for one in crews:
        prediction = predict(job, one)
        rate = rate_per_second * prediction.steady_rate_per_second / here
        change = 0.0 if one == run.variant else change_seconds(run, one)
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
    return sorted(found, key=lambda one: (one.rest_seconds, _weight(one.crew)))


def change_seconds(run: Measured, crew: Variant) -> float:
    """Seconds in which little is done: an item's way through both stages, to empty the line and to fill it again, and
    the start of the new workers, without the fork server, which stays."""
    job = run.job
    way = sum(stage.blocked_seconds + stage.cpu_seconds for stage in (job.download, job.transform))
    start = start_seconds(job, crew) - job.start.always_seconds
    warm = "process" in (run.variant.download, run.variant.transform) and "process" in (crew.download, crew.transform)
    return way + max(0.0, start - (job.start.first_process_seconds if warm else 0.0))


def choose(run: Measured, ranked: Sequence[Candidate], *, open_web: bool, fragile: bool = False) -> Choice:
    """Whether to go on as it is or to try another pair.

    `open_web`: strangers made the images. `fragile`: a worker crashed on one of them, hung or ran out of memory: then
    nothing that gives up isolation is asked about.
    """
    own = next(one for one in ranked if one.crew == run.variant)
    rivals = [one for one in ranked if one.crew != run.variant]
    allowed = [one for one in rivals if not (fragile and _gives_up_isolation(run.variant, one.crew))]
    if not allowed:
        because = "a worker crashed, hung or ran out of memory on an item of this list: only a process survives that"
        return Choice(verdict=Verdict.KEPT, because=because, rival=rivals[0])
    rival = allowed[0]
    margin = rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0
    miss = abs(predict(run.job, run.variant).steady_rate_per_second / own.predicted_rate_per_second - 1.0)
    doubt = miss if miss > FIT_LIMIT else TIE
    verdict, because = _verdict(own, rival, doubt), _because(own, rival, margin, open_web)
    if run.others > BUSY:
        verdict = Verdict.UNKNOWN
        because = f"other programs used {share(run.others)} of the machine, so nothing measured here would last"
    elif miss > FIT_LIMIT and verdict is not Verdict.RACE:
        verdict, because = Verdict.UNKNOWN, f"the model misses this run by {share(miss)}, so others are not predicted"
    return Choice(verdict=verdict, because=because, rival=rival, margin=margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What both pairs were seen to do, in items/s, one after the other: own, rival, and own again once it went back.

    A run drifts: folders are made, caches fill, so later is faster. The mean of before and after cancels that.
    """

    own: Variant
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


def after_trying(race: Race) -> Choice:
    """The rival runs: whether to stay with it. `RACE`: go back and look again, because a drift would explain it."""
    gain = race.rival_rate / race.own_rate - 1.0
    stays = race.rest / race.rival_rate
    back = race.rest / race.own_rate + race.change_seconds
    if gain >= SURE or (stays <= back and gain <= 0.0):
        return _change(race)
    if gain <= 0.0:
        return _keep(race)
    return Choice(verdict=Verdict.RACE, because=_measured(race), rival=race.rival, margin=gain)


def after_returning(race: Race) -> Choice:
    """The own pair runs again: whether to change for good."""
    gain = race.rival_rate / race.own_rate - 1.0
    needed = 1.0 + race.change_seconds * race.own_rate / race.rest if race.rest else 2.0
    if gain > TIE and race.rival_rate / race.own_rate > needed:
        return _change(race)
    return _keep(race)


def _change(race: Race) -> Choice:
    if race.fragile and _gives_up_isolation(race.own, race.rival.crew):
        return _keep(race)
    margin = race.own_rate / race.rival_rate - 1.0
    left = replace(race.rival, **asdict(race.own), predicted_rate_per_second=race.own_rate)
    return Choice(verdict=Verdict.CHANGED, because=_measured(race), rival=left, margin=margin)


def _keep(race: Race) -> Choice:
    margin = race.rival_rate / race.own_rate - 1.0
    because = _measured(race)
    if race.open_web and 0.0 < margin <= TIE and _gives_up_isolation(race.own, race.rival.crew):
        because = f"{because}: a tie, and then {ISOLATION}"
    return Choice(verdict=Verdict.KEPT_AFTER_RACE, because=because, rival=race.rival, margin=margin)


def _measured(race: Race) -> str:
    rates = " and ".join(significant(rate) for rate in race.own_rates)
    return (
        f"tried on the job's own items, {name(race.rival.crew)} did {significant(race.rival_rate)} items/s "
        f"and {name(race.own)} {rates}{' before and after' if len(race.own_rates) > 1 else ''}"
    )


def _verdict(own: Candidate, rival: Candidate, doubt: float) -> Verdict:
    """A race pays where the rival is clearly predicted to win, or where all of its changes cost next to nothing.

    `doubt`: a predicted gain below that share of the time is none.
    """
    if _same_limit(own, rival):
        return Verdict.KEPT
    gain = own.rest_seconds - rival.rest_seconds
    is_near = abs(rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0) <= NEAR
    price = CHANGES_OF_A_RACE * rival.change_seconds + WINDOW_SECONDS * max(0.0, -gain / own.rest_seconds)
    is_clear = gain > max(rival.change_seconds, max(doubt, NEAR) * own.rest_seconds)
    return Verdict.RACE if is_clear or (is_near and price < FREE_SHARE * own.rest_seconds) else Verdict.KEPT


def _same_limit(own: Candidate, rival: Candidate) -> bool:
    """The same thing binds both, at the same rate: then their modes make no difference."""
    same = (own.bound, own.bound_stage) == (rival.bound, rival.bound_stage)
    return same and abs(rival.predicted_rate_per_second / own.predicted_rate_per_second - 1.0) < TIE / 5


def _because(own: Candidate, rival: Candidate, margin: float, open_web: bool) -> str:
    text = (
        f"{name(own)} does {significant(own.predicted_rate_per_second)} items/s here, and {name(rival)} is predicted "
        f"to do {significant(rival.predicted_rate_per_second)}"
    )
    if abs(margin) > TIE:
        return f"{text}; a change would take {seconds(rival.change_seconds)}"
    if open_web and _gives_up_isolation(own.crew, rival.crew):
        return f"{text}: a tie, and then {ISOLATION}"
    return f"{text}: a tie, and then what runs already"


def _gives_up_isolation(own: Variant, rival: Variant) -> bool:
    return own.transform == "process" and rival.transform != "process"


def name(crew_: Variant) -> str:
    """As `32 threads + 2 processes`."""
    sides = ((crew_.download, crew_.download_workers), (crew_.transform, crew_.transform_workers))
    return " + ".join("serial" if mode == "serial" else crew(mode, number) for mode, number in sides)


def sentence(choice: Choice, crew_: Variant) -> str:
    """What was done about the modes, and why."""
    begin = {
        Verdict.KEPT: f"{name(crew_)} to the end: ",
        Verdict.RACE: f"{name(crew_)} were being tried when the work ended: ",
        Verdict.KEPT_AFTER_RACE: f"back to {name(crew_)}: ",
        Verdict.CHANGED: f"changed to {name(crew_)}: ",
        Verdict.UNKNOWN: f"{name(crew_)} to the end: ",
    }
    lost = ""
    if choice.verdict is Verdict.CHANGED and choice.rival and _gives_up_isolation(choice.rival.crew, crew_):
        lost = "; [transform] timeout and memory_limit do not hold there, and a crash ends the run"
    return f"{begin.get(choice.verdict, '')}{choice.because}{lost}"


def describe_inputs(run: Measured) -> ModelInputs:
    """What the prediction was made from."""
    job = run.job
    return ModelInputs(
        items=job.items,
        download=job.download,
        transform=job.transform,
        glue_seconds=job.glue_seconds,
        origin_cpu_seconds=job.origin_cpu_seconds,
        connections=job.connections,
        cores=job.cores,
        others_cpu_share=run.others,
        model_error=run.miss,
        assumed=run.assumed,
    )


def _weight(one: Variant) -> int:
    return WEIGHTS[one.download] + WEIGHTS[one.transform]
