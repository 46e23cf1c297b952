"""Every sentence that explains a run, made from codes and numbers alone: a sentence changes here and nowhere else.

Light: a run that found nothing to do takes its one sentence from here too.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from batchproc.explain.mode_wording import METHODS, doubt_text, gil_doubt_text, pace_text, waiting_text, word_choice
from batchproc.explain.words import Words, count, seconds, share, significant, size, workers
from batchproc.record.explanation import (
    Advice,
    AutoVerdict,
    BreakEvenReason,
    CeilingReason,
    CrossoverReason,
    Doubt,
    Judgement,
    Reason,
)
from batchproc.record.run_json import Bottleneck, BreakEven, Crossover, RunRecord

if TYPE_CHECKING:
    from batchproc.record.explanation import Hint, Value
    from batchproc.record.run_parts import ClusterRecord, StageRecord

WORTH_A_WORD = 0.1  # of the time
NOTHING_DONE = "nothing was processed, so nothing held the run back"
SOME_LIMIT = "starts were limited (per_host, start-up, short list)"


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
        choices=tuple(word_choice(record, choice) for choice in record.choices),
        ceilings={
            name: tuple(replace(one, because=Words(one.values).fill(CEILINGS[one.code])) for one in ceilings)
            for name, ceilings in record.ceilings.items()
        },
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


MEASURED_VERDICTS = (AutoVerdict.CHANGED, AutoVerdict.KEPT_AFTER_RACE, AutoVerdict.KEPT)


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
            f"download: its {fetchers} were busy only {share(load.busy)}, while transform starved "
            f"{share(other.starved)}; {_limit_text(record, found)}"
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


def spare_text(stage: "StageRecord") -> str:
    """That a host was silent and spare threads went on meanwhile; empty where there were none."""
    spare = stage.spare_workers
    return f"{count(spare, 'spare thread')} went on while a host was silent" if spare else ""


def cluster_text(cluster: "ClusterRecord") -> str:
    """How a run was shared out, and how evenly."""
    rates = [worker.images_per_second for worker in cluster.workers if worker.images_per_second]
    text = f"{count(len(cluster.workers), 'worker')} did {count(cluster.parts_this_run, 'part')}"
    if len(rates) > 1:
        text += f", {significant(min(rates))} to {significant(max(rates))} images/s each"
    if cluster.skew is not None and cluster.parts_this_run > 1:
        text += f"; the slowest part took {significant(cluster.skew)} times the mean"
    left = cluster.parts_planned - cluster.parts_committed
    if left:
        text += f"; {left:,} of {count(cluster.parts_planned, 'part')} left"
    if cluster.quarantined:
        text += f", {len(cluster.quarantined):,} of them in quarantine"
    return text


def process_cost_text(record: RunRecord, stage: "StageRecord") -> str:
    """What a process of the stage cost: its start, and the memory of the largest one; empty in other modes."""
    if stage.mode != "process":
        return ""
    return f"{seconds(stage.startup_per_worker_seconds)} to start, {size(record.memory.per_worker_pss_bytes)} at most"


# a self-check, by the first part of its name: what it checks, and what a failure means for the verdict
CHECKS: Mapping[str, tuple[str, str]] = {
    "remainder": ("the time breakdown adds up", "so this stage's mode is not judged"),
    "little": (
        "two counts of items in flight agree",
        "so times per image may be off by as much, and with them what is predicted of other modes",
    ),
    "others": (
        "nothing else used the machine",
        "so rates are lower than on a quiet machine, and predictions have wider intervals",
    ),
    "steal": (
        "no CPU taken by the hypervisor",
        "so rates are lower than this machine's cores allow, and predictions do not know it",
    ),
    "throttling": ("no CPU quota in the way", "so rates are those of the quota, not of the cores"),
    "origin": ("the embedded origin took little of the machine", "so rates are lower than with a server elsewhere"),
    "hidden": (
        "no CPU outside the measured threads",
        "so CPU per image is more than is shown, and the ceilings of CPU are lower",
    ),
    "overhead": ("measuring costs next to nothing", "so rates are lower by as much as measuring costs"),
}


def _little_text(record: RunRecord) -> str:
    counts, phase = record.counts, record.measured_phase
    due = f"{counts.processed:,} of {count(counts.items, 'item')}" if counts.items else "few items"
    text = f"nearly nothing to do: {due} {'was' if counts.processed == 1 else 'were'} due"
    if counts.processed == counts.items:
        text = f"too few items to name a stage: {counts.items:,}"
    waited = (phase.retry_wait_seconds or 0.0) + (phase.pause_wait_seconds or 0.0)
    text = f"{text}, and {waiting_text(record)}" if waited > WORTH_A_WORD * phase.seconds else text
    middles = {name: stage.service_seconds.p50 for name, stage in record.stages.items()}
    each = " and ".join(f"{seconds(middle)} to {name}" for name, middle in middles.items() if middle)
    return f"{text}; an image took {each}" if each else text


_ONE_HOST = "at most {connections:count connection} at once to the one host of this run"
CEILINGS: Mapping[str, str] = {  # what each is made of
    CeilingReason.WORKERS: (
        "{workers:workers mode} with {cpu_seconds:seconds} of CPU and {blocked_seconds:seconds} of waiting per item"
    ),
    CeilingReason.ONE_THREAD: "one thread does everything in turn: the times of both stages add up",
    CeilingReason.CORES: "{cores:cores} free for this run, and an item costs {cpu_seconds:seconds} of CPU in all",
    CeilingReason.GIL: (
        "the main process holds its GIL for about {held_seconds:seconds} per item: its other threads wait meanwhile"
    ),
    CeilingReason.PIPE: "the main process spends {parent_seconds:seconds} per item on handing it to processes",
    CeilingReason.NO_PIPE: "no stage runs in processes, so nothing is copied through pipes",
    CeilingReason.NETWORK_UNTESTED: (
        "unknown: one run at one number of workers does not show where server or network are full"
    ),
    CeilingReason.NO_HOSTS: "does not apply: this stage asks no host",
    CeilingReason.HOSTS_UNKNOWN: "unknown: how many hosts the list has is not in the record",
    CeilingReason.HOSTS_HELD: (
        "on average {downloads_allowed:tenths} downloads were under way, though workers and items were waiting to start"
    ),
    CeilingReason.ONE_HOST: _ONE_HOST,
    CeilingReason.ONE_HOST_SERIAL: f"{_ONE_HOST}; a serial download uses one",
}


_REACH = (
    "about {phi:share} of the transform CPU holds the GIL (%s): threads can keep about {cores:cores} busy, "
    "{cores_free:rate} were free for this run, so "
)
CROSSOVERS: Mapping[str, str] = {  # how many cores threads can keep busy; in place of %s how or why
    CrossoverReason.NO_CPU: "unknown: the transform stage used no CPU that could be measured",
    CrossoverReason.GIL_UNKNOWN: (
        "unknown: between {phi_low:share} and {phi_high:share} of the transform CPU holds the GIL, for %s"
    ),
    CrossoverReason.THREADS_REACH: f"{_REACH}threads can use all of them",
    CrossoverReason.PROCESSES_NEEDED: f"{_REACH}processes are needed to use all of them",
}


def crossover_text(record: RunRecord, found: Crossover) -> str:
    """How many cores threads can keep busy."""
    words = Words(found.values)
    if found.code not in CROSSOVERS:
        return doubt_text(record, found.code, words)
    how = METHODS.get(words.text("phi_method"), "")
    if found.code == CrossoverReason.GIL_UNKNOWN:
        how = gil_doubt_text(words) or "what custom steps do with it is not known"
    return words.fill(CROSSOVERS[found.code]).replace("%s", how)


_START = "starting {workers:processes} costs {start_seconds:seconds}"
BREAK_EVENS: Mapping[str, str] = {  # from how many items on processes pay
    BreakEvenReason.UNKNOWN: "unknown: what a process would gain per image cannot be told from this run",
    BreakEvenReason.NEVER: (
        f"never for this job: {_START}, and after it processes are not faster per image than threads"
    ),
    BreakEvenReason.PAYS: (
        f"{_START} and gains {{gain_seconds:seconds}} per image against threads: it pays from {{items:count image}} on"
    ),
}


def break_even_text(record: RunRecord, found: BreakEven) -> str:
    """From how many items on processes pay."""
    words = Words(found.values)
    known = BREAK_EVENS.get(found.code)
    return words.fill(known) if known else doubt_text(record, found.code, words)


def _word_hint(record: RunRecord, hint: "Hint") -> "Hint":
    words = Words(hint.values)
    return replace(hint, text=advice_text(hint.code, words), evidence=_evidence_text(record, hint, words))


def advice_text(code: str, words: Words) -> str:
    """What to change."""
    is_serial = code == Advice.CHANGE_MODE and words.text("mode") == "serial"
    return words.fill(ADVICE[code].partition(" with ")[0] if is_serial else ADVICE[code])


ADVICE: Mapping[str, str] = {
    Advice.CHANGE_WORKERS: "{stage}.workers = {workers} instead of {workers_now}",
    Advice.CHANGE_MODE: '{stage}.mode = "{mode}" with {workers:workers mode}',
    Advice.CHANGE_BOTH_MODES: 'download.mode = "{download}" and transform.mode = "{transform}" together',
    Advice.FEWER_WORKERS: "transform.workers = {workers}: the same rate from fewer workers",
    Advice.GIL_IS_FULL: "move a stage into processes",
    Advice.STEPS_HOLD_GIL: 'transform.mode = "process", or no median filter',
    Advice.PIPE_SUSPECTED: (
        "transform in threads, or fewer and larger images per pipe: the main process may be the ceiling"
    ),
    Advice.HOST_STRUGGLED: "a lower download.per_host, or patience: a host struggled",
    Advice.MORE_PER_HOST: "download.per_host twice as high, where the servers allow it",
    Advice.SERVER_REFUSED: "a lower download.per_host: the server asks for less",
    Advice.RETRIES_WAITED: "download.retries = 0, if the run's end must not wait for retries",
    Advice.MEASURE_AGAIN: "measure again on a quiet machine before deciding",
}


def _evidence_text(record: RunRecord, hint: "Hint", words: Words) -> str:
    """The figures behind a piece of advice."""
    if hint.code in (Advice.CHANGE_WORKERS, Advice.CHANGE_MODE, Advice.CHANGE_BOTH_MODES):
        return pace_text(words)
    if hint.code == Advice.MEASURE_AGAIN:
        return next((check.text for check in record.checks if check.name == words.text("check")), "")
    if hint.code == Advice.SERVER_REFUSED:
        return f"it answered {', '.join(f'{number} {code}' for code, number in hint.values.items())}"
    busiest = "; {busiest_share:share} of the downloads went to one host"
    has_busiest = hint.code == Advice.MORE_PER_HOST and words.number("busiest_share") is not None
    return words.fill(RULES[hint.code] + (busiest if has_busiest else ""))


RULES: Mapping[str, str] = {  # the measured figures that each needed
    Advice.GIL_IS_FULL: (
        "the main process holds its GIL about {held_share:share} of the time: {held_seconds:seconds} per item"
    ),
    Advice.STEPS_HOLD_GIL: (
        "{held_share:share} of the transform CPU is in steps that hold the GIL; the threads waited {waited:share} of "
        "their time for the GIL"
    ),
    Advice.FEWER_WORKERS: (
        "{workers_now:workers mode} were ready but without a core {queued_share:share} of the time they were busy"
    ),
    Advice.PIPE_SUSPECTED: (
        "the main process used {main_share:share} of a core while transform waited for input {starved:share} of the "
        "time; whether the pipe or the download is to blame was not tested"
    ),
    Advice.HOST_STRUGGLED: (
        "per_host = {per_host} was cut to {lowest_limit} after 503, 429 or time-outs; on average "
        "{downloads_allowed:tenths} downloads were under way"
    ),
    Advice.MORE_PER_HOST: (
        "per_host = {per_host} binds: on average {downloads_allowed:tenths} downloads were under way, while "
        "{workers:workers mode} were there and {waiting:whole} items waited"
    ),
    Advice.RETRIES_WAITED: (
        "for {idle_seconds:seconds} of {seconds:seconds} there was nothing to do but wait for a retry"
    ),
}
