"""How fast each mode of a stage is, measured or predicted, and why one is best: a page and a summary begin with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batchproc.explain.predict import MODES
from batchproc.explain.reasons import Judgement
from batchproc.explain.words import pair, significant
from batchproc.record.explanation import Alternative, AutoRecord, Choice
from batchproc.record.run_json import RunRecord

PAIRS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRate:
    """A mode, in images per second of the whole run; None is unknown. `low`, `high`: the interval, where there is one.

    `is_used`: in this run; a bench used all of them.
    """

    name: str
    rate: float | None
    low: float | None = None
    high: float | None = None
    is_used: bool = False
    is_best: bool = False
    is_measured: bool = True

    @property
    def marks(self) -> str:
        """What it was, as `used, best`."""
        return ", ".join(word for word, holds in (("used", self.is_used), ("best", self.is_best)) if holds)

    @property
    def title(self) -> str:
        """Its name with its marks."""
        return f"{self.name} ({self.marks})" if self.marks else self.name

    @property
    def note(self) -> str:
        """Its rate with its interval, and whether it was measured."""
        if self.rate is None:
            return "not predicted"
        is_sharp = self.low is None or self.high is None
        span = "" if is_sharp else f" ({significant(self.low)} to {significant(self.high)})"
        return f"{significant(self.rate)}/s{span} {'measured' if self.is_measured else 'predicted'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRates:
    """The modes of one stage beside each other. `headline`: which is best and by how much; `reason`: why."""

    stage: str
    rates: Sequence[ModeRate]
    headline: str
    reason: str

    @property
    def sentence(self) -> str:
        """The chart in words."""
        return f"{self.stage}: " + "; ".join(f"{one.title} {one.note}" for one in self.rates)


def rates_of_run(record: RunRecord) -> list[StageRates]:
    """Each stage of a run whose modes can be judged: its own rate is the run's, the others are predicted from it."""
    rate = record.images_per_second
    return [
        StageRates(stage=one.stage, rates=tuple(_rates(one, rate)), headline=one.headline, reason=one.reason)
        for one in record.choices if rate and one.headline and one.code != Judgement.NO_VERDICT
    ]  # fmt: skip


def _rates(choice: Choice, rate: float) -> Iterator[ModeRate]:
    others = {one.mode: one for one in reversed(choice.alternatives) if one.mode != choice.mode}
    for mode in MODES:
        if mode == choice.mode:
            yield ModeRate(name=mode, rate=rate, is_used=True, is_best=mode == choice.best)
        elif mode in others:
            yield _predicted(others[mode], rate, is_best=mode == choice.best)


def _predicted(one: Alternative, rate: float, *, is_best: bool) -> ModeRate:
    rates = (None if ratio is None else ratio * rate for ratio in (one.predicted_ratio, one.low, one.high))
    middle, low, high = rates
    return ModeRate(
        name=one.mode, rate=middle, low=low, high=high, is_best=is_best, is_measured=False
    )


def pairs_of_auto(auto: AutoRecord) -> StageRates:
    """The pairs of modes that `auto` weighed: measured where it tried them, else predicted."""
    tried = {pair(leg): leg.rate_per_second for leg in auto.legs if leg.rate_per_second}
    chosen = pair(auto.chosen)
    shown = [one for one in auto.candidates if pair(one) in {*tried, chosen}]
    shown += [one for one in auto.candidates if one not in shown][: max(0, PAIRS_SHOWN - len(shown))]
    rates = [
        ModeRate(
            name=pair(one),
            rate=tried.get(pair(one), one.predicted_rate_per_second),
            is_used=pair(one) == chosen,
            is_measured=pair(one) in tried,
        )
        for one in shown
    ]
    return StageRates(stage="pairs of modes, items/s", rates=rates, headline=auto.text, reason="")

