"""Every sentence on the modes of a run: which is best, by how much, and why. From codes and numbers alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from batchproc.explain.words import Words, count, pair, seconds, significant
from batchproc.record.explanation import (
    Alternative,
    AutoReason,
    AutoRecord,
    AutoVerdict,
    Cause,
    Choice,
    Doubt,
    GilDoubt,
    GilMethod,
    Judgement,
    Rank,
    TieBreak,
)
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import MODES

if TYPE_CHECKING:
    from batchproc.record.explanation import Figure

# what sets a run's pace where it is not the workers of a stage, by the name of the model's limit
PACE_SETTERS: Mapping[str, str] = {
    "cores": "the cores",
    "gil": "the one GIL of the main process",
    "pipe": "copying images through pipes",
    "per_host": "the limit of connections to one host",
}
PLURALS = {"thread": "threads", "process": "processes"}
METHODS: Mapping[str, str] = {
    GilMethod.SOURCE: "from Pillow's source and this run's CPU per step",
    GilMethod.ASKED: "found in this run by asking for it while the custom steps worked",
    GilMethod.THREADS: "from this run's threads and what they waited for the GIL",
    GilMethod.TYPICAL: "from the user and system time of a thread that fetched images of 146 KB, not measured in this "
    "run",
}


def doubt_text(record: RunRecord, doubt: str, words: Words) -> str:
    """Why nothing is said of a run's modes."""
    if doubt == Doubt.FEW_ITEMS:
        items = _too_few(record.measured_phase.items)
        return words.fill(f"no verdict on modes: {items} to compare them ({{items_needed}} at least)")
    if doubt == Doubt.MOSTLY_WAITED:
        return f"no verdict on modes: {waiting_text(record)}"
    return "unknown: too little was processed to explain"


def _too_few(items: int) -> str:
    return f"{count(items, 'item')} {'is' if items == 1 else 'are'} too few"


def waiting_text(record: RunRecord) -> str:
    """How long a run waited, and for what."""
    phase = record.measured_phase
    retry, pause = phase.retry_wait_seconds or 0.0, phase.pause_wait_seconds or 0.0
    what = "a paused or paced host" if pause > retry else "a retry"
    return f"for {seconds(retry + pause)} of {seconds(phase.seconds)} there was nothing to do but wait for {what}"


_WAITED = "the threads waited {waited:share} of their time for the GIL, which "
_DOUBTS: Mapping[str, str] = {
    GilDoubt.WAITED_LESS: f"{_WAITED}is less than the {{waited_expected:share}} that this estimate asks for",
    GilDoubt.WAITED_MORE: f"{_WAITED}is more than this estimate explains",
}


def gil_doubt_text(words: Words) -> str:
    """What the measured waiting for the GIL says against the estimate; empty where nothing."""
    return words.fill(_DOUBTS.get(words.text("phi_doubt"), ""))


def word_choice(record: RunRecord, choice: "Choice") -> "Choice":
    """What is best and by how much, why in a few words, and the figures behind it."""
    words = Words(choice.values)
    choice = replace(
        choice,
        alternatives=tuple(replace(one, because=_alternative_text(one)) for one in choice.alternatives),
        evidence=tuple(replace(one, text=_figure_text(record, choice, one, words)) for one in choice.evidence),
    )
    headline, reason = _headline(choice, words), reason_text(record, choice, words)
    if choice.code == Judgement.NO_VERDICT:
        brief = verdict = doubt_text(record, words.text("doubt"), words)
    else:
        told = f"{headline} ({reason})"
        brief, verdict = f"{choice.stage}: {told}", f"{told}{_details(choice, words)}"
    return replace(choice, headline=headline, reason=reason, brief=brief, verdict=verdict)


def _details(choice: "Choice", words: Words) -> str:
    """The figures behind a judgement."""
    if choice.code == Judgement.UNEXPLAINED:
        return ""
    if choice.code == Judgement.MODEL_MISSES:
        return "; it is not asked about other modes"
    if choice.code == Judgement.NOT_BEST:
        return f"; {pace_text(words)}"
    is_isolated = choice.code == Judgement.LIGHTER_WOULD_DO and choice.mode == "process"
    kill = "; but only a process can be killed when an item hangs, and takes no other item with it"
    return f"{kill if is_isolated else ''}; {_own_text(words)}"


def _headline(choice: "Choice", words: Words) -> str:
    """Which mode is best, and by how much; of the one that was used where that is open."""
    mode, others = choice.mode, _others(choice)
    ties = " and ".join(one.mode for one in others if one.rank != Rank.WORSE)
    worse = _lead(one for one in others if one.rank == Rank.WORSE)
    if choice.code == Judgement.NOT_BEST:
        return words.fill(f"{choice.best} is best, {{ratio:rate}} times {mode}")
    if choice.code == Judgement.LIGHTER_WOULD_DO:
        return f"{choice.best} would be as fast as {mode} and is lighter{worse}"
    if choice.code == Judgement.TIE:
        return f"{mode} is best, as fast as {ties} and lighter{worse}"
    if choice.code == Judgement.OPEN:
        return f"{mode} was used{worse}; {ties} may be faster"
    return f"{mode} is best{worse}" if choice.code == Judgement.WON else f"{mode} was used"


def _lead(slower: "Iterable[Alternative]") -> str:
    """By how much a mode leads others, the closest first."""
    known = sorted((one for one in slower if one.predicted_ratio), key=lambda one: -(one.predicted_ratio or 0.0))
    ratios = [(1.0 / (one.predicted_ratio or 1.0), one.mode) for one in known]
    return "".join(f", {significant(round(ratio, 1 if ratio >= 2 else 2))} times {mode}" for ratio, mode in ratios)


def reason_text(record: RunRecord, choice: "Choice", words: Words) -> str:
    """Why the best mode is best, or why none is named: at most twelve words."""
    if choice.code == Judgement.NO_VERDICT:
        if words.text("doubt") == Doubt.MOSTLY_WAITED:
            return "unknown: most of the time went by waiting for a retry or host"
        items = _too_few(record.measured_phase.items)
        return words.fill(f"unknown: {items} to compare modes, {{items_needed}} suffice")
    others = "other programs used {others:share} of the machine" if words.number("others") else ""
    if choice.code == Judgement.UNEXPLAINED:
        return words.fill("unknown: {unexplained_share:share} of its workers' time is unexplained")
    if choice.code == Judgement.MODEL_MISSES:
        return words.fill(f"unknown: {others or MISSES}")
    if choice.code == Judgement.OPEN:
        open_modes = [choice.mode, *(one.mode for one in _others(choice) if one.rank != Rank.WORSE)]
        if words.number("network_share") and "serial" not in open_modes:
            return f"{' or '.join(PLURALS[mode] for mode in open_modes)}: {cause_text(Cause.WAITING, words)}"
        return words.fill(f"undecided: {others or 'predictions may be off by {error:share} here'}")
    return f"{PLURALS.get(choice.best, choice.best)}: {cause_text(choice.cause, words)}"


MISSES = "the model misses this run by {miss:share}"
_CAUSES: Mapping[str, str] = {
    Cause.WAITING: "{network_share:share} of a download is waiting",
    Cause.GIL_HELD: "{phi:share} of the CPU holds the GIL",
    Cause.GIL_FREE: "only {phi:share} of the CPU holds the GIL",
    Cause.ONE_GIL: "the one GIL of the main process would hold threads back",
    Cause.COST: "{cpu_seconds:seconds} of CPU and {blocked_seconds:seconds} of waiting per image",
}


def cause_text(cause: str, words: Words) -> str:
    """The figure that decides; ten words at most."""
    where = _who(words) if cause == Cause.PACE else ""
    if where:
        return f"{where} set{'' if where.endswith(')') else 's'} the pace"
    return words.fill(_CAUSES.get(cause, _CAUSES[Cause.COST]))


def _others(choice: "Choice") -> "list[Alternative]":
    return [one for one in choice.alternatives if one.mode != choice.mode]


def _own_text(words: Words) -> str:
    """What decides between the modes, from the stage's own numbers."""
    text = "an image takes {cpu_seconds:seconds} of CPU and {blocked_seconds:seconds} of waiting"
    if words.number("network_share") is not None:
        text += "; {network_share:share} of a download is waiting for the network"
        together = ", and on average {downloads_at_once:tenths} downloads waited at the same time"
        text += together if words.number("downloads_at_once") else ""
    elif words.number("phi") is None:
        doubt = gil_doubt_text(words)
        text += f", and how much of the CPU holds the GIL is not known{': ' if doubt else ''}{doubt}"
    else:
        text += f"; about {{phi:share}} of the CPU holds the GIL ({METHODS[words.text('phi_method')]})"
    return words.fill(text)


def _alternative_text(one: "Alternative") -> str:
    words = Words(one.values)
    return words.fill(f"unknown: {MISSES}") if one.code == Judgement.MODEL_MISSES else pace_text(words)


def pace_text(words: Words) -> str:
    """What would set the pace, in words, and what else differs from this run."""
    text = words.fill(f"{_who(words)} would set the pace at {{pace_rate_per_second:rate}} items/s")
    cpu, here = words.number("cpu_seconds") or 0.0, words.number("cpu_seconds_here") or 0.0
    if words.text("pace") == "cores" and significant(1000 * cpu) != significant(1000 * here):
        text += f", with {seconds(cpu)} of CPU per item in all instead of {seconds(here)}"
    extra = words.number("start_seconds_more")
    if extra:
        text += f"; starting takes {seconds(abs(extra))} {'longer' if extra > 0 else 'less'}"
    return text


def _who(words: Words) -> str:
    """What sets the pace; empty where that is not one thing."""
    if words.text("pace") == "workers" and words.text("pace_mode"):
        return words.fill("{pace_stage} with {pace_workers:workers pace_mode}")
    if words.text("pace") == "cores":
        return words.fill("the free cores ({pace_cores:cores})")
    return "one thread for everything" if words.text("pace") == "workers" else PACE_SETTERS.get(words.text("pace"), "")


def _figure_text(record: RunRecord, choice: "Choice", figure: "Figure", words: Words) -> str:
    """The name of a measured figure, with how it was found."""
    if figure.code == "gil_wait":
        method = record.stages[choice.stage].gil_method
        how = f"({method})" if figure.value is not None else "is unknown here and counts as waiting"
        return f"waiting for the GIL, all workers together {how}"
    if figure.code == "gil_held":
        doubt = gil_doubt_text(words)
        found = METHODS.get(words.text("phi_method"))
        how = f"({found}{'; but ' if doubt else ''}{doubt})" if found else "is unknown"
        return f"share of its CPU that holds the GIL {how}"
    return FIGURES[figure.code]


FIGURES: Mapping[str, str] = {
    "cpu": "CPU per image",
    "blocked": "waiting for network and disk per image",
    "run_queue": "ready, but no core was free, all workers together",
    "rate_of_model": "rate of this run by the model",
    "rate": "rate of this run, failed items included, without waits for retries",
}


def auto_text(found: "AutoRecord") -> str:
    """What a run with `mode = "auto"` did about its modes, and why."""
    chosen = pair(found.chosen)
    begin = {
        AutoVerdict.KEPT: f"{chosen} to the end: ",
        AutoVerdict.UNKNOWN: f"{chosen} to the end: ",
        AutoVerdict.RACE: f"{chosen} were being tried when the work ended: ",
        AutoVerdict.KEPT_AFTER_RACE: f"back to {chosen}: ",
        AutoVerdict.CHANGED: f"changed to {chosen}: ",
    }.get(AutoVerdict(found.verdict), "")
    words = Words(found.values)
    lost = "; [transform] timeout and memory_limit do not hold there, and a crash ends the run"
    return f"{begin}{_auto_reason(found, words)}{lost if words.number('lost_isolation') else ''}"


_AUTO_REASONS: Mapping[str, str] = {  # in place of %s the chosen pair
    AutoReason.ENDED_EARLY: "the run ended before there was enough to choose from, so %s to the end",
    AutoReason.LOST_WORKER: (
        "a worker crashed, hung or ran out of memory on an item of this list: only a process survives that"
    ),
    AutoReason.OTHERS_BUSY: "other programs used {others:share} of the machine, so nothing measured here would last",
    AutoReason.MODEL_MISSES: f"{MISSES}, so others are not predicted",
}


def _auto_reason(found: "AutoRecord", words: Words) -> str:
    chosen = pair(found.chosen)
    if found.reason == AutoReason.FEW_ITEMS:
        few = f"{_too_few(int(words.number('items') or 0))} to measure what would be better"
        return f"{few}, so {chosen}: threads for what waits, processes for what computes"
    if found.reason in _AUTO_REASONS:
        return words.fill(_AUTO_REASONS[found.reason]).replace("%s", chosen)
    return f"{_both_pairs(found, words)}{TIE_BREAKS[words.text('tie_break')]}"


def _both_pairs(found: "AutoRecord", words: Words) -> str:
    """What the pair that the run began in and its rival did, or are predicted to do."""
    began = found.began or found.chosen
    other = found.runner_up if found.runner_up and found.runner_up != began else found.chosen
    if found.reason == AutoReason.TRIED:
        twice = " and {own_rate_after_per_second:rate} before and after"
        text = (
            f"tried on the job's own items, {pair(other)} did {{rival_rate_per_second:rate}} items/s and {pair(began)} "
            f"{{own_rate_per_second:rate}}{'' if words.number('own_rate_after_per_second') is None else twice}"
        )
        return words.fill(text)
    text = (
        f"{pair(began)} does {{own_rate_per_second:rate}} items/s here, and {pair(other)} is predicted to do "
        "{rival_rate_per_second:rate}"
    )
    change = "" if words.text("tie_break") else "; a change would take {change_seconds:seconds}"
    return words.fill(text + change)


TIE_BREAKS: Mapping[str, str] = {
    TieBreak.NONE: "",
    TieBreak.PRESENT: ": a tie, and then what runs already",
    TieBreak.ISOLATION: (
        ": a tie, and then processes, because an image of the open web that crashes or hangs Pillow costs one item "
        "there and the whole run in a thread"
    ),
}


PAIRS_SHOWN = 5


class ModeRate(Struct, frozen=True, kw_only=True):
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
        return f"{significant(self.rate)}{span} {'measured' if self.is_measured else 'predicted'}"


class StageRates(Struct, frozen=True, kw_only=True):
    """The modes of one stage beside each other. `headline`: which is best and by how much; `reason`: why."""

    stage: str
    rates: Sequence[ModeRate]
    headline: str
    reason: str
    unit: str = "images per second"

    @property
    def sentence(self) -> str:
        """The chart in words."""
        return f"{self.stage}, {self.unit}: " + "; ".join(f"{one.title} {one.note}" for one in self.rates)


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
    tried = {pair(phase): phase.rate_per_second for phase in auto.legs if phase.rate_per_second}
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
    return StageRates(stage="pairs of modes", unit="items per second", rates=rates, headline=auto.text, reason="")
