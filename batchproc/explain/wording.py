"""Every sentence that explains a run, made from codes and numbers alone: a sentence changes here and nowhere else.

Light: a run that found nothing to do takes its one sentence from here too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from batchproc.explain.reasons import (
    Advice,
    BreakEvenReason,
    CeilingReason,
    CrossoverReason,
    Doubt,
    GilDoubt,
    GilMethod,
    Judgement,
    Rank,
    Reason,
)
from batchproc.explain.words import cores, count, crew, seconds, share, significant, workers
from batchproc.record.run import Bottleneck, BreakEven, Crossover, RunRecord

if TYPE_CHECKING:
    from batchproc.record.explanation import Alternative, Ceiling, Choice, Figure, Hint, Value

WORTH_A_WORD = 0.1  # of the time
NOTHING_DONE = "nothing was processed, so nothing held the run back"
SOME_LIMIT = "what may start at once was limited (per_host, start-up, or a short list)"


class Words:
    """The values of a finding, each as people read it: `words.seconds("cpu_seconds")`."""

    def __init__(self, values: "Mapping[str, Value]") -> None:
        self._values = values

    def number(self, name: str) -> float | None:
        """A number; None where it is not known."""
        value = self._values.get(name)
        return None if value is None or isinstance(value, str) else value

    def text(self, name: str) -> str:
        """A word of the config, a whole number, or a code."""
        return str(self._values.get(name, ""))

    def seconds(self, name: str) -> str:
        """As `4.1 s`."""
        return seconds(self.number(name))

    def share(self, name: str) -> str:
        """As `12%`."""
        return share(self.number(name))

    def rate(self, name: str) -> str:
        """Three digits, without a unit."""
        return significant(self.number(name))

    def cores(self, name: str) -> str:
        """As `2 cores`."""
        return cores(self.number(name) or 0.0)

    def count(self, name: str, noun: str) -> str:
        """As `240 items`."""
        return count(round(self.number(name) or 0), noun)

    def workers(self, mode: str, number: str) -> str:
        """As `32 threads`."""
        return crew(self.text(mode), round(self.number(number) or 0))


def unknown(
    record: RunRecord, bottleneck: Bottleneck, doubt: Doubt, values: "Mapping[str, Value] | None" = None
) -> RunRecord:
    """The record with `bottleneck` as all that is known of it, and `doubt` as the reason."""
    return replace(
        record,
        bottleneck=bottleneck,
        choices=(),
        ceilings={},
        measured_rate_per_second={},
        hints=(),
        crossover=Crossover(code=doubt, values=values or {}),
        break_even=BreakEven(code=doubt, values=values or {}),
    )


def nothing_done(record: RunRecord) -> RunRecord:
    """The explanation of a run that found nothing to do."""
    return worded(unknown(record, Bottleneck(reason=Reason.NOTHING_DONE), Doubt.TOO_LITTLE))


def worded(record: RunRecord) -> RunRecord:
    """The record with a sentence beside every code in its explanation, and the three sentences of its verdict."""
    found = replace(
        record,
        bottleneck=replace(record.bottleneck, because=bottleneck_text(record, record.bottleneck)),
        choices=tuple(_word_choice(record, choice) for choice in record.choices),
        ceilings={name: tuple(map(_word_ceiling, ceilings)) for name, ceilings in record.ceilings.items()},
        hints=tuple(_word_hint(record, hint) for hint in record.hints),
        crossover=replace(
            record.crossover,
            method=METHODS.get(str(record.crossover.values.get("phi_method", "")), "unknown"),
            text=crossover_text(record, record.crossover),
        ),
        break_even=replace(record.break_even, text=break_even_text(record, record.break_even)),
    )
    return replace(found, verdict=_verdict(found))


def _verdict(record: RunRecord) -> tuple[str, ...]:
    """What held the run back, whether its modes were right, and what to change first."""
    because = record.bottleneck.because
    if not record.choices:
        return because, record.crossover.text, record.crossover.text
    held_back = f"held back by {because}" if record.bottleneck.stage else because
    return held_back, _modes_text(record), _best_text(record.hints)


def _modes_text(record: RunRecord) -> str:
    """What was measured against each other comes first; what is only predicted is left out beside it."""
    auto, has_verdict = record.auto, record.choices[0].code != Judgement.NO_VERDICT
    if auto and has_verdict and auto.verdict in MEASURED_VERDICTS:
        return auto.text
    return "; ".join(dict.fromkeys(choice.brief for choice in record.choices))


def _best_text(hints: "tuple[Hint, ...]") -> str:
    """The first hint as a sentence."""
    if not hints:
        return "nothing in this run's figures says that a change would help"
    gain = f", predicted to make this run {significant(hints[0].gain)} times as fast" if hints[0].gain else ""
    return f"{hints[0].text}{gain}; {hints[0].evidence}"


MEASURED_VERDICTS = ("changed", "kept_after_race", "kept")  # of `batchproc.explain.auto.Verdict`
METHODS: Mapping[str, str] = {
    GilMethod.SOURCE: "from Pillow's source and this run's CPU per step",
    GilMethod.THREADS: "from this run's threads and what they waited for the GIL",
    GilMethod.TYPICAL: "from the user and system time of a thread that fetched images of 146 KB, not measured in this "
    "run",
}


def doubt_text(record: RunRecord, doubt: str, words: Words) -> str:
    """Why nothing is said of a run's modes."""
    if doubt == Doubt.FEW_ITEMS:
        items = count(record.measured_leg.items, "item")
        return f"no verdict on modes: {items} are too few to compare them ({words.text('items_needed')} at least)"
    if doubt == Doubt.MOSTLY_WAITED:
        return f"no verdict on modes: {waiting_text(record)}"
    return "unknown: too little was processed to explain"


def waiting_text(record: RunRecord) -> str:
    """How long a run waited, and for what."""
    leg = record.measured_leg
    retry, pause = leg.retry_wait_seconds or 0.0, leg.pause_wait_seconds or 0.0
    what = "a paused or paced host" if pause > retry else "a retry"
    return f"for {seconds(retry + pause)} of {seconds(leg.seconds)} there was nothing to do but wait for {what}"


def bottleneck_text(record: RunRecord, found: Bottleneck) -> str:
    """Why the stage that `found` names, or none, held the run back."""
    if found.reason == Reason.NOTHING_DONE:
        return NOTHING_DONE
    if found.reason == Reason.MOSTLY_WAITED:
        return waiting_text(record)
    if found.reason == Reason.LITTLE_TO_DO:
        return _little_text(record)
    if found.reason == Reason.NO_IMAGE_CAME:
        return "no download brought an image, so transform had nothing to do"
    return _stages_text(record, found)


def _stages_text(record: RunRecord, found: Bottleneck) -> str:
    """The two stages beside each other."""
    download, transform = record.stages["download"], record.stages["transform"]
    load, other = found.loads["download"], found.loads["transform"]
    fetchers, makers = workers(download), workers(transform)
    if found.reason == Reason.ONE_THREAD:
        times = {name: seconds(stage.busy_seconds) for name, stage in record.stages.items()}
        longer, shorter = found.stage or "", "transform" if found.stage == "download" else "download"
        return (
            f"{longer}: one thread did everything in turn, {times[longer]} of it in {longer} and {times[shorter]} in "
            f"{shorter}"
        )
    if found.reason == Reason.BUSY and found.stage == "download":
        return (
            f"download: its {fetchers} were busy {share(load.busy)} of the time, while the {makers} of "
            f"transform waited for input {share(other.starved)} of the time"
        )
    if found.reason == Reason.BUSY:
        text = f"transform: its {makers} were busy {share(other.busy)} of the time"
        if load.held_up > WORTH_A_WORD:
            return f"{text}, and finished downloads waited for room {share(load.held_up)} of the time"
        return f"{text}; the {fetchers} of download {share(load.busy)}"
    if found.reason == Reason.NEARLY_BUSY:
        return (
            f"transform, most likely: its {makers} were busy {share(other.busy)} of the time, the "
            f"{fetchers} of download only {share(load.busy)}"
        )
    if found.reason == Reason.STARTS_LIMITED:
        return (
            f"download: the {makers} of transform waited for input {share(other.starved)} of the time, though the "
            f"{fetchers} of download were busy only {share(load.busy)}; {_limit_text(record, found)}"
        )
    return (
        f"unknown: download workers were busy {share(load.busy)} and transform workers {share(other.busy)} of the "
        "time, neither at its limit"
    )


def _limit_text(record: RunRecord, found: Bottleneck) -> str:
    """What let no more downloads run at once."""
    if found.downloads_allowed is None:
        return SOME_LIMIT
    limits = "the hosts' limits (per_host)"
    if record.concurrency:
        limits = f'{limits} and that of workers = "auto", at most {record.concurrency.highest} by then,'
    return f"{limits} let {found.downloads_allowed:.1f} downloads run at once on average, while items waited"


def _little_text(record: RunRecord) -> str:
    counts, leg = record.counts, record.measured_leg
    due = f"{counts.processed:,} of {count(counts.items, 'item')}" if counts.items else "few items"
    text = f"nearly nothing to do: {due} {'was' if counts.processed == 1 else 'were'} due"
    waited = (leg.retry_wait_seconds or 0.0) + (leg.pause_wait_seconds or 0.0)
    return f"{text}, and {waiting_text(record)}" if waited > WORTH_A_WORD * leg.seconds else text


def _word_ceiling(ceiling: "Ceiling") -> "Ceiling":
    return replace(ceiling, because=ceiling_text(ceiling.code, Words(ceiling.values)))


def ceiling_text(code: str, words: Words) -> str:
    """What a ceiling is made of."""
    if code == CeilingReason.WORKERS:
        parts = f"{words.seconds('cpu_seconds')} of CPU and {words.seconds('blocked_seconds')} of waiting per image"
        return f"{words.workers('mode', 'workers')} with {parts}"
    if code == CeilingReason.CORES:
        cost = words.seconds("cpu_seconds")
        return f"{words.cores('cores')} free for this run, and an image costs {cost} of CPU in all"
    if code == CeilingReason.GIL:
        held = words.seconds("held_seconds")
        return f"the main process holds its GIL for about {held} per image; it has one, whatever the cores"
    if code == CeilingReason.PIPE:
        return f"the main process spends {words.seconds('parent_seconds')} per image on handing it to processes"
    if code == CeilingReason.HOSTS_HELD:
        allowed = words.number("downloads_allowed")
        return f"on average {allowed:.1f} downloads were under way, though workers and items were waiting to start"
    if code in (CeilingReason.ONE_HOST, CeilingReason.ONE_HOST_SERIAL):
        text = f"at most {words.count('connections', 'connection')} at once to the one host of this run"
        return f"{text}; a serial download uses one" if code == CeilingReason.ONE_HOST_SERIAL else text
    return PLAIN_CEILINGS[code]


PLAIN_CEILINGS: Mapping[str, str] = {
    CeilingReason.ONE_THREAD: "one thread does everything in turn: the times of both stages add up",
    CeilingReason.NO_PIPE: "no stage runs in processes, so nothing is copied through pipes",
    CeilingReason.NETWORK_UNTESTED: (
        "unknown: one run at one number of workers does not show where server or network are full"
    ),
    CeilingReason.NO_HOSTS: "does not apply: this stage asks no host",
    CeilingReason.HOSTS_UNKNOWN: "unknown: how many hosts the list has is not in the record",
}


def crossover_text(record: RunRecord, found: Crossover) -> str:
    """How many cores threads can keep busy."""
    words = Words(found.values)
    if found.code == CrossoverReason.NO_CPU:
        return "unknown: the transform stage used no CPU that could be measured"
    if found.code == CrossoverReason.GIL_UNKNOWN:
        why = gil_doubt_text(words) or "what custom steps do with it is not known"
        between = f"between {share(found.phi_low)} and {share(found.phi_high)}"
        return f"unknown: {between} of the transform CPU holds the GIL, for {why}"
    if found.code in (CrossoverReason.THREADS_REACH, CrossoverReason.PROCESSES_NEEDED):
        reach = found.code == CrossoverReason.THREADS_REACH
        side = "so threads can use all of them" if reach else "so processes are needed to use all of them"
        return (
            f"about {share(found.phi)} of the transform CPU holds the GIL ({METHODS[words.text('phi_method')]}): "
            f"threads can keep about {words.cores('cores')} busy, {words.rate('cores_free')} were free for this run, "
            f"{side}"
        )
    return doubt_text(record, found.code, words)


def break_even_text(record: RunRecord, found: BreakEven) -> str:
    """From how many items on processes pay."""
    words = Words(found.values)
    start = f"starting {crew('process', round(words.number('workers') or 0))} costs {words.seconds('start_seconds')}"
    if found.code == BreakEvenReason.UNKNOWN:
        return "unknown: what a process would gain per image cannot be told from this run"
    if found.code == BreakEvenReason.NEVER:
        return f"never for this job: {start}, and after it processes are not faster per image than threads"
    if found.code == BreakEvenReason.PAYS:
        gain, items = words.seconds("gain_seconds"), words.count("items", "image")
        return f"{start} and gains {gain} per image against threads: it pays from {items} on"
    return doubt_text(record, found.code, words)


def gil_doubt_text(words: Words) -> str:
    """What the measured waiting for the GIL says against the estimate; empty where nothing."""
    text = f"the threads waited {words.share('waited')} of their time for the GIL, which "
    if words.text("phi_doubt") == GilDoubt.WAITED_LESS:
        return f"{text}is less than the {words.share('waited_expected')} that this estimate asks for"
    if words.text("phi_doubt") == GilDoubt.WAITED_MORE:
        return f"{text}is more than this estimate explains"
    return ""


def _word_choice(record: RunRecord, choice: "Choice") -> "Choice":
    """A sentence in three pieces: what is so, why (with its numbers), and what the other modes are predicted to do."""
    words = Words(choice.values)
    choice = replace(
        choice,
        alternatives=tuple(replace(one, because=_alternative_text(one)) for one in choice.alternatives),
        evidence=tuple(replace(one, text=_figure_text(record, choice, one, words)) for one in choice.evidence),
    )
    head, reason, ranking = _head(record, choice, words), _reason(choice, words), ""
    if choice.code in (Judgement.WON, Judgement.OPEN, Judgement.LIGHTER_WOULD_DO, Judgement.TIE):
        ratios = ", ".join(f"{one.mode} {significant(one.predicted_ratio)} times" for one in _others(choice))
        ranking = f" (predicted: {ratios} this run's rate)"
    return replace(choice, brief=f"{head}{ranking}", verdict=f"{head}{reason}{ranking}")


def _others(choice: "Choice") -> "list[Alternative]":
    return [one for one in choice.alternatives if one.mode != choice.mode]


def _head(record: RunRecord, choice: "Choice", words: Words) -> str:
    """Whether the mode was right."""
    mode, stage = choice.mode, choice.stage
    unsure = f"unknown whether {mode} was right for {stage}: "
    ties = [one.mode for one in _others(choice) if one.rank != Rank.WORSE]
    if choice.code == Judgement.NO_VERDICT:
        return doubt_text(record, words.text("doubt"), words)
    if choice.code == Judgement.UNEXPLAINED:
        return f"{unsure}{words.share('unexplained_share')} of its worker-seconds are unexplained"
    if choice.code == Judgement.MODEL_MISSES:
        return f"{unsure}{_miss_text(words)}"
    if choice.code == Judgement.NOT_BEST:
        gain = f"{words.text('best')} is predicted to make the whole run {words.rate('ratio')} times as fast"
        return f"{mode} was not the best for {stage}: {gain}"
    if choice.code == Judgement.OPEN:
        return _open_text(choice, ties, words)
    if choice.code == Judgement.TIE:
        return f"{mode} was right for {stage}; {' and '.join(ties)} would be as fast, and no lighter"
    if choice.code == Judgement.LIGHTER_WOULD_DO:
        text = f"{words.text('lightest')} would be as fast as {mode} for {stage}, and is lighter"
        kill = "; but only a process can be killed when an item hangs, and takes no other item with it"
        return f"{text}{kill if mode == 'process' else ''}"
    return f"{mode} won for {stage}"


def _open_text(choice: "Choice", ties: Sequence[str], words: Words) -> str:
    """What can be said where the error is too large for a tie: which modes are worse all the same."""
    worse = " and ".join(one.mode for one in _others(choice) if one.rank == Rank.WORSE)
    error = f"(the error allowed for is {words.share('error')})"
    unsure = f"unknown whether {' or '.join(ties)} would do better for {choice.stage} {error}"
    return f"{choice.mode} beat {worse} for {choice.stage}, and it is {unsure}" if worse else unsure


def _reason(choice: "Choice", words: Words) -> str:
    if choice.code == Judgement.NOT_BEST:
        return f", because {_pace_text(words)}"
    if choice.code == Judgement.WON:
        return f" because {_own_text(words)}"
    if choice.code == Judgement.OPEN:
        return f": {_own_text(words)}"
    if choice.code in (Judgement.TIE, Judgement.LIGHTER_WOULD_DO):
        where = _who(words)
        common = f"{where} set{'' if where.endswith(')') else 's'} the pace in any case, and " if where else ""
        return f": {common}{_own_text(words)}"
    return ""


def _own_text(words: Words) -> str:
    """What decides between the modes, from the stage's own numbers."""
    cpu, waits = words.seconds("cpu_seconds"), words.seconds("blocked_seconds")
    times = f"an image takes {cpu} of CPU and {waits} of waiting"
    if words.number("network_share") is not None:
        text = f"{times}; {words.share('network_share')} of a download is waiting for the network"
        together = words.number("downloads_at_once")
        return f"{text}, and on average {together:.1f} downloads waited at the same time" if together else text
    if words.number("phi") is None:
        doubt = gil_doubt_text(words)
        return f"{times}, and how much of the CPU holds the GIL is not known{': ' if doubt else ''}{doubt}"
    return f"{times}; about {words.share('phi')} of the CPU holds the GIL ({METHODS[words.text('phi_method')]})"


def _alternative_text(one: "Alternative") -> str:
    words = Words(one.values)
    return f"unknown: {_miss_text(words)}" if one.code == Judgement.MODEL_MISSES else _pace_text(words)


def _miss_text(words: Words) -> str:
    return f"the model misses this run by {words.share('miss')}, so it is not asked about others"


def _pace_text(words: Words) -> str:
    """What would set the pace, in words, and what else differs from this run."""
    text = f"{_who(words)} would set the pace at {words.rate('pace_rate_per_second')} images/s"
    cpu, here = words.number("cpu_seconds") or 0.0, words.number("cpu_seconds_here") or 0.0
    if words.text("pace") == "cores" and significant(1000 * cpu) != significant(1000 * here):
        text += f", with {seconds(cpu)} of CPU per image in all instead of {seconds(here)}"
    extra = words.number("start_seconds_more")
    if extra:
        text += f"; starting takes {seconds(abs(extra))} {'longer' if extra > 0 else 'less'}"
    return text


def _who(words: Words) -> str:
    """What sets the pace; empty where that is not one thing."""
    if words.text("pace") == "workers" and words.text("pace_mode"):
        return f"{words.text('pace_stage')} with {words.workers('pace_mode', 'pace_workers')}"
    return {
        "cores": f"the free cores ({words.cores('pace_cores')})",
        "gil": "the one GIL of the main process",
        "pipe": "copying images through pipes",
        "per_host": "the limit of connections to one host",
        "workers": "one thread for everything",
    }.get(words.text("pace"), "")


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
    "cpu": "CPU per image of the job",
    "blocked": "waiting for network and disk per image of the job",
    "run_queue": "ready, but no core was free, all workers together",
    "rate_of_model": "rate of this run by the model",
    "rate": "rate of this run, measured, without waits for retries",
}


def _word_hint(record: RunRecord, hint: "Hint") -> "Hint":
    words = Words(hint.values)
    return replace(hint, text=advice_text(hint.code, words), evidence=_evidence_text(record, hint, words))


def advice_text(code: str, words: Words) -> str:
    """What to change."""
    if code == Advice.CHANGE_WORKERS:
        return f"{words.text('stage')}.workers = {words.text('workers')} instead of {words.text('workers_now')}"
    if code == Advice.CHANGE_MODE:
        number = f" with {words.workers('mode', 'workers')}" if words.text("mode") != "serial" else ""
        return f'{words.text("stage")}.mode = "{words.text("mode")}"{number}'
    if code == Advice.CHANGE_BOTH_MODES:
        download, transform = words.text("download"), words.text("transform")
        return f'download.mode = "{download}" and transform.mode = "{transform}" together'
    if code == Advice.FEWER_WORKERS:
        return f"transform.workers = {words.text('workers')}: the same rate from fewer workers"
    return PLAIN_ADVICE[code]


PLAIN_ADVICE: Mapping[str, str] = {
    Advice.GIL_IS_FULL: "move a stage into processes",
    Advice.STEPS_HOLD_GIL: 'transform.mode = "process", or no median filter',
    Advice.PIPE_SUSPECTED: (
        "transform in threads, or fewer and larger images per pipe: the main process may be the ceiling"
    ),
    Advice.HOST_STRUGGLED: (
        "a lower download.per_host, or patience: a host struggled and was given fewer connections"
    ),
    Advice.MORE_PER_HOST: "download.per_host twice as high, where the servers are yours or allow it",
    Advice.SERVER_REFUSED: "a lower download.per_host: the server asks for less",
    Advice.RETRIES_WAITED: "download.retries = 0 leaves what failed to the next run, if this run's end must not wait",
    Advice.MEASURE_AGAIN: "measure again on a quiet machine before deciding",
}


def _evidence_text(record: RunRecord, hint: "Hint", words: Words) -> str:
    """The figures behind a piece of advice."""
    if hint.code in (Advice.CHANGE_WORKERS, Advice.CHANGE_MODE, Advice.CHANGE_BOTH_MODES):
        return _pace_text(words)
    if hint.code == Advice.MEASURE_AGAIN:
        return next((check.text for check in record.checks if check.name == words.text("check")), "")
    if hint.code == Advice.SERVER_REFUSED:
        return f"it answered {', '.join(f'{number} {code}' for code, number in hint.values.items())}"
    return _rule_text(hint.code, words)


def _rule_text(code: str, words: Words) -> str:
    """The measured figures that a rule needed."""
    allowed = words.number("downloads_allowed") or 0.0
    if code == Advice.GIL_IS_FULL:
        held = words.seconds("held_seconds")
        return f"the main process holds its GIL about {words.share('held_share')} of the time: {held} per image"
    if code == Advice.STEPS_HOLD_GIL:
        held = f"{words.share('held_share')} of the transform CPU is the median filter, which holds the GIL"
        return f"{held}; the threads waited {words.share('waited')} of their time for the GIL"
    if code == Advice.FEWER_WORKERS:
        ready = words.workers("mode", "workers_now")
        return f"{ready} were ready but without a core {words.share('queued_share')} of the time they were busy"
    if code == Advice.PIPE_SUSPECTED:
        return (
            f"the main process used {words.share('main_share')} of a core while transform waited for input "
            f"{words.share('starved')} of the time; whether the pipe or the download is to blame was not tested"
        )
    if code == Advice.HOST_STRUGGLED:
        return (
            f"per_host = {words.text('per_host')} was cut to {words.text('lowest_limit')} after 503, 429 or time-outs; "
            f"on average {allowed:.1f} downloads were under way"
        )
    if code == Advice.MORE_PER_HOST:
        busiest = f"; {words.share('busiest_share')} of the downloads went to one host"
        return (
            f"per_host = {words.text('per_host')} binds: on average {allowed:.1f} downloads were under way, while "
            f"{words.workers('mode', 'workers')} were there and {words.number('waiting') or 0:.0f} items waited"
            f"{busiest if words.number('busiest_share') is not None else ''}"
        )
    idle, whole = words.seconds("idle_seconds"), words.seconds("seconds")
    return f"for {idle} of {whole} there was nothing to do but wait for a retry"
