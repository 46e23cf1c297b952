"""Every code of an explanation has its sentence, with its numbers."""

import pytest
from msgspec.structs import replace

from batchproc.explain.mode_wording import cause_text
from batchproc.explain.wording import (
    CEILINGS,
    CHECKS,
    advice_text,
    bottleneck_text,
    break_even_text,
    crossover_text,
    worded,
)
from batchproc.explain.words import Words
from batchproc.measure import breakdown
from batchproc.measure.breakdown import StageTotals, break_down
from batchproc.measure.samples import MachineUsage
from batchproc.record.explanation import (
    Advice,
    Alternative,
    BreakEvenReason,
    Cause,
    CeilingReason,
    Choice,
    CrossoverReason,
    Doubt,
    Hint,
    Judgement,
    Reason,
    Value,
)
from batchproc.record.run_json import Bottleneck, BreakEven, Crossover, RunCounts, RunRecord
from batchproc.record.run_parts import PhaseRecord, StageLoad, StageRecord

RECORD = RunRecord(
    counts=RunCounts(items=35, processed=4),
    leg=PhaseRecord(items=4, seconds=2.9, retry_wait_seconds=1.9),
    stages={
        "download": StageRecord(mode="thread", workers=32, busy_seconds=14.5),
        "transform": StageRecord(mode="process", workers=2, busy_seconds=4.0),
    },
)
LOADS = {"download": StageLoad(busy=0.1), "transform": StageLoad(busy=0.98, starved=0.86)}
SENTENCES = {
    (Reason.NOTHING_DONE, None): "nothing was processed, so nothing held the run back",
    (Reason.MOSTLY_WAITED, None): "for 1.9 s of 2.9 s there was nothing to do but wait for a retry",
    (Reason.LITTLE_TO_DO, None): "nearly nothing to do: 4 of 35 items were due, and for 1.9 s of 2.9 s there was",
    (Reason.NO_IMAGE_CAME, None): "no download brought an image",
    (Reason.ONE_THREAD, "download"): "14.5 s of it in download and 4 s in transform",
    (Reason.BUSY, "transform"): "transform: its 2 processes were busy 98% of the time; the 32 threads of",
    (Reason.BUSY, "download"): "while the 2 processes of transform waited for input 86% of the time",
    (Reason.NEARLY_BUSY, "transform"): "the 32 threads of download only 10%",
    (Reason.STARTS_LIMITED, "download"): "only 10%, while transform starved 86%; the hosts' limits (per_host) let 3.9",
    (Reason.UNDECIDED, None): "unknown: download workers were busy 10% and transform workers 98% of the time",
}


@pytest.mark.parametrize(("reason", "stage"), SENTENCES, ids=str)
def test_every_reason_has_its_sentence(reason: Reason, stage: str | None) -> None:
    found = Bottleneck(stage=stage, reason=reason, loads=LOADS, downloads_allowed=3.9)

    assert SENTENCES[reason, stage] in bottleneck_text(RECORD, found)
    assert set(Reason) == {one for one, _ in SENTENCES}


VALUES: dict[str, Value] = {
    "stage": "download", "mode": "process", "workers": 4, "workers_now": 2, "download": "thread",
    "transform": "process", "pace": "cores", "pace_cores": 2.0,
    "pace_rate_per_second": 251.0, "cpu_seconds": 0.005,
    "cpu_seconds_here": 0.006, "start_seconds_more": 0.25,
    "blocked_seconds": 0.07, "held_seconds": 0.001, "held_share": 0.95, "waited": 0.2,
    "queued_share": 0.5, "main_share": 0.97, "starved": 0.3, "per_host": 4, "lowest_limit": 1, "downloads_allowed": 3.9,
    "waiting": 90.0, "busiest_share": 0.8, "idle_seconds": 1.9, "seconds": 2.9, "check": "others", "connections": 1,
    "parent_seconds": 0.0002, "cores": 2.0, "cores_free": 1.9, "phi": 0.5, "phi_method": "source", "start_seconds": 0.3,
    "gain_seconds": 0.001, "items": 300, "items_needed": 50, "doubt": "few_items", "unexplained_share": 0.08,
    "miss": 0.4, "best": "thread", "ratio": 1.3, "error": 0.3, "lightest": "serial",
}  # fmt: skip
ADVICE = {
    Advice.CHANGE_WORKERS: ("download.workers = 4 instead of 2", "the free cores (2 cores) would set the pace at 251"),
    Advice.CHANGE_MODE: ('download.mode = "process" with 4 processes', "starting takes 250 ms longer"),
    Advice.CHANGE_BOTH_MODES: ('download.mode = "thread" and transform.mode = "process"', "5 ms of CPU per item"),
    Advice.GIL_IS_FULL: ("move a stage into processes", "about 95% of the time: 1 ms per item"),
    Advice.STEPS_HOLD_GIL: ("or no median filter", "the threads waited 20% of their time for the GIL"),
    Advice.FEWER_WORKERS: ("transform.workers = 4", "2 processes were ready but without a core 50% of the time"),
    Advice.PIPE_SUSPECTED: ("may be the ceiling", "97% of a core while transform waited for input 30%"),
    Advice.HOST_STRUGGLED: ("a host struggled", "per_host = 4 was cut to 1"),
    Advice.MORE_PER_HOST: ("download.per_host twice", "3.9 downloads were under way, while 4 processes were there"),
    Advice.SERVER_REFUSED: ("the server asks for less", "it answered"),
    Advice.RETRIES_WAITED: ("download.retries = 0", "for 1.9 s of 2.9 s there was nothing to do"),
    Advice.MEASURE_AGAIN: ("measure again on a quiet machine", ""),
}
JUDGEMENTS = {
    Judgement.NO_VERDICT: "no verdict on modes: 4 items are too few to compare them (50 at least)",
    Judgement.UNEXPLAINED: "process was used (unknown: 8% of its workers' time is unexplained)",
    Judgement.MODEL_MISSES: "process was used (unknown: the model misses this run by 40%); it is not asked about other",
    Judgement.NOT_BEST: "thread is best, 1.3 times process (threads: 5 ms of CPU and 70.0 ms of waiting per image); "
    "the free cores (2 cores) would set the pace at 251 items/s",
    Judgement.WON: "process is best, 2 times serial (threads: 5 ms of CPU and 70.0 ms of waiting per image); an image "
    "takes 5 ms of CPU and 70.0 ms of waiting; about 50% of the CPU holds the GIL",
    Judgement.OPEN: "process was used, 2 times serial; thread may be faster (undecided: predictions may be off by 30%",
    Judgement.LIGHTER_WOULD_DO: "thread would be as fast as process and is lighter, 2 times serial (threads: 5 ms of "
    "CPU and 70.0 ms of waiting per image); but only a process can be killed when an item hangs",
    Judgement.TIE: "process is best, as fast as thread and lighter, 2 times serial (threads: 5 ms of CPU and 70.0 ms",
}
EXPLAINED = replace(RECORD, bottleneck=Bottleneck(reason=Reason.NOTHING_DONE))
ALTERNATIVES = (
    Alternative(mode="serial", workers=1, predicted_ratio=0.5, rank="worse", code="cores", values=VALUES),
    Alternative(mode="thread", workers=2, predicted_ratio=1.0, rank="alike", code="cores", values=VALUES),
)


@pytest.mark.parametrize("code", Advice)
def test_every_advice_has_its_text_and_its_figures(code: Advice) -> None:
    hint = worded(replace(EXPLAINED, hints=(Hint(code=code, values=VALUES),))).hints[0]

    text, evidence = ADVICE[code]
    assert text in hint.text
    assert evidence in hint.evidence
    assert hint.text == advice_text(code, Words(VALUES))


@pytest.mark.parametrize("code", Judgement)
def test_every_judgement_has_its_sentence(code: Judgement) -> None:
    choice = Choice(
        stage="transform", mode="process", workers=2, best="thread", cause=Cause.COST, code=code, values=VALUES,
        alternatives=ALTERNATIVES,
    )  # fmt: skip

    assert JUDGEMENTS[code] in worded(replace(EXPLAINED, choices=(choice,))).choices[0].verdict


@pytest.mark.parametrize("code", Judgement)
def test_every_judgement_has_a_reason_of_at_most_twelve_words(code: Judgement) -> None:
    choice = Choice(stage="transform", mode="process", workers=2, best="thread", cause=Cause.PACE, code=code,
                    values=VALUES, alternatives=ALTERNATIVES)  # fmt: skip

    reason = worded(replace(EXPLAINED, choices=(choice,))).choices[0].reason

    assert 4 <= len(reason.split()) <= 12
    assert "unknown" not in reason or code in (Judgement.NO_VERDICT, Judgement.UNEXPLAINED, Judgement.MODEL_MISSES)


CAUSES = {
    Cause.WAITING: "98% of a download is waiting",
    Cause.GIL_HELD: "50% of the CPU holds the GIL",
    Cause.GIL_FREE: "only 50% of the CPU holds the GIL",
    Cause.ONE_GIL: "the one GIL of the main process would hold threads back",
    Cause.PACE: "the free cores (2 cores) set the pace",
    Cause.COST: "5 ms of CPU and 70.0 ms of waiting per image",
}


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_its_words(cause: Cause) -> None:
    assert CAUSES[cause] == cause_text(cause, Words(VALUES | {"network_share": 0.98}))


@pytest.mark.parametrize("check", [
    *breakdown.check_machine(MachineUsage(), None),
    breakdown.check_hidden_threads("transform", process_cpu_seconds=None, thread_cpu_seconds=1.0),
    breakdown.check_littles_law("download", mean_in_flight=None, items=5, inside_seconds=1.0, wall=1.0),
    breakdown.check_remainder("download", break_down(StageTotals(
        workers=1, wall_seconds=1.0, tasks=0, task_wall_seconds=0.0, cpu_seconds=0.0
    ))),
], ids=lambda check: check.name)  # fmt: skip
def test_every_self_check_says_what_its_failure_means(check: breakdown.Check) -> None:
    assert all(CHECKS[check.name.partition(".")[0]])


@pytest.mark.parametrize("code", CeilingReason)
def test_every_ceiling_has_its_sentence(code: CeilingReason) -> None:
    assert Words(VALUES).fill(CEILINGS[code])


@pytest.mark.parametrize("code", [*CrossoverReason, *Doubt])
def test_every_crossover_has_its_sentence(code: str) -> None:
    text = crossover_text(RECORD, Crossover(phi=0.5, phi_low=0.0, phi_high=1.0, code=code, values=VALUES))

    is_known = code in (CrossoverReason.THREADS_REACH, CrossoverReason.PROCESSES_NEEDED)
    assert is_known == ("threads can keep about 2 cores busy" in text)


@pytest.mark.parametrize("code", [*BreakEvenReason, *Doubt])
def test_every_break_even_has_its_sentence(code: str) -> None:
    text = break_even_text(RECORD, BreakEven(code=code, values=VALUES))

    assert (code == BreakEvenReason.PAYS) == ("it pays from 300 images on" in text)
