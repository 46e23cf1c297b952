"""The choice of modes: what is worth trying, what is kept, and why."""

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from batchproc.explain.auto import Decision, Race, after_returning, after_trying, choose, rank
from batchproc.explain.mode_wording import auto_text
from batchproc.explain.predict import predict
from batchproc.explain.run_model import RunModel
from batchproc.record.explanation import (
    AutoReason,
    AutoRecord,
    AutoVerdict,
    Candidate,
    ExecutionPlan,
    JobModel,
    StageModel,
    StartCosts,
    TieBreak,
)
from batchproc.record.run_parts import MODES

PIPE = {"ipc_worker_seconds": 0.0002, "ipc_parent_seconds": 0.00025}
START = StartCosts(always_seconds=0.05, first_process_seconds=0.25, per_process_cpu_seconds=0.012)


def pair(download: str, transform: str) -> ExecutionPlan:
    return ExecutionPlan(
        download=download,  # type: ignore[arg-type]
        download_workers=1 if download == "serial" else 32,
        transform=transform,  # type: ignore[arg-type]
        transform_workers=1 if transform == "serial" else 2,
    )


PAIRS = [pair(download, transform) for download in MODES for transform in MODES]
USUAL = pair("thread", "process")


def measured(cpu: float, phi: float, *, waits: float = 0.02, glue: float = 0.0003) -> RunModel:
    """What the calibration of a job would come to, if the model were the truth."""
    job = JobModel(
        download=StageModel(cpu_seconds=0.0003, phi=0.6, blocked_seconds=waits, **PIPE),
        transform=StageModel(cpu_seconds=cpu, phi=phi, **PIPE),
        items=100,
        cores=2.0,
        glue_seconds=glue,
        start=START,
    )
    return RunModel(
        job=job,
        plan=USUAL,
        rate_per_second=predict(job, USUAL).rate_per_second,
        working_seconds=1.0,
        shares={"download": None, "transform": None},
        assumed=(),
        others=0.0,
    )


def ranked(run: RunModel, rest: int, rate: float | None = None) -> list[Candidate]:
    here = predict(run.job, USUAL).steady_rate_per_second
    return rank(run, PAIRS, rate_per_second=rate or here, rest=rest)


def test_the_present_pair_is_ranked_at_the_rate_that_was_seen() -> None:
    own = next(one for one in ranked(measured(0.01, 0.1), 1000, rate=123.0) if one.plan == USUAL)

    assert (123.0, 0.0) == (own.predicted_rate_per_second, own.change_seconds)
    assert own.rest_seconds == pytest.approx(1000 / 123.0)


def test_work_that_holds_the_gil_stays_in_processes() -> None:
    run = measured(0.02, 1.0)
    order = ranked(run, 300)

    assert ["process", "process"] == [one.plan.transform for one in order[:2]]
    assert choose(run, order, open_web=True).verdict is AutoVerdict.KEPT


def test_two_that_are_predicted_close_are_raced_where_much_is_left() -> None:
    run = measured(0.02, 1.0)
    choice = choose(run, ranked(run, 100_000), open_web=True)

    assert choice.verdict is AutoVerdict.RACE
    assert choice.rival is not None
    assert pair("process", "process") == choice.rival.plan


def test_tiny_pictures_are_tried_in_threads_when_much_is_left() -> None:
    run = measured(0.0003, 0.5, waits=0.005, glue=0.0001)
    choice = choose(run, ranked(run, 100_000), open_web=True)

    assert choice.verdict is AutoVerdict.RACE
    assert choice.rival is not None
    assert choice.rival.plan.transform in ("serial", "thread")
    assert choice.margin is not None
    assert choice.margin > 0.05


def test_nothing_is_tried_when_little_is_left() -> None:
    run = measured(0.0003, 0.5, waits=0.005, glue=0.0001)

    assert choose(run, ranked(run, 50), open_web=True).verdict is AutoVerdict.KEPT


def test_nothing_is_tried_where_the_same_limit_binds_both() -> None:
    run = measured(0.002, 0.1, waits=0.5)
    choice = choose(run, ranked(run, 1_000_000), open_web=True)

    assert choice.verdict is AutoVerdict.KEPT
    assert choice.margin == pytest.approx(0.0, abs=0.01)


def test_a_tie_on_the_open_web_is_kept_in_processes_and_says_that_a_crash_is_why() -> None:
    run = measured(0.02, 0.02)
    order = ranked(run, 300)
    web, own = choose(run, order, open_web=True), choose(run, order, open_web=False)

    assert (AutoVerdict.KEPT, AutoVerdict.KEPT) == (web.verdict, own.verdict)
    assert (TieBreak.ISOLATION, TieBreak.PRESENT) == (web.values["tie_break"], own.values["tie_break"])


def test_a_model_that_misses_the_run_is_believed_only_about_gains_beyond_its_error() -> None:
    def with_a_miss(run: RunModel) -> Decision:
        seen = predict(run.job, USUAL).steady_rate_per_second / 1.4
        return choose(run, ranked(run, 500, rate=seen), open_web=False)

    small, large = with_a_miss(measured(0.004, 0.1)), with_a_miss(measured(0.0001, 0.1, waits=0.001, glue=0.00001))

    assert small.verdict is AutoVerdict.UNKNOWN
    assert (AutoReason.MODEL_MISSES, pytest.approx(0.4)) == (small.reason, small.values["miss"])
    assert large.verdict is AutoVerdict.RACE


def test_nothing_measured_on_a_busy_machine_is_believed() -> None:
    run = replace(measured(0.0003, 0.5, waits=0.005, glue=0.0001), others=0.4)
    choice = choose(run, ranked(run, 100_000), open_web=False)

    assert choice.verdict is AutoVerdict.UNKNOWN
    assert (AutoReason.OTHERS_BUSY, {"others": 0.4}) == (choice.reason, choice.values)


def race(rival_rate: float, *own_rates: float, rest: int = 50_000, open_web: bool = False) -> Race:
    rival = Candidate(
        **to_builtins(pair("thread", "thread")), predicted_rate_per_second=100.0, change_seconds=0.3, rest_seconds=1.0
    )
    return Race(
        own=USUAL, rival=rival, own_rates=own_rates, rival_rate=rival_rate, rest=rest, change_seconds=0.3,
        open_web=open_web,
    )  # fmt: skip


def test_who_is_faster_beyond_any_drift_is_kept_at_once() -> None:
    choice = after_trying(race(160.0, 100.0))

    assert choice.verdict is AutoVerdict.CHANGED
    assert choice.margin == pytest.approx(100 / 160 - 1)  # the runner-up's rate by the chosen one's, less 1
    assert choice.rival is not None
    assert USUAL == choice.rival.plan


def test_who_is_slower_is_left_at_once_unless_the_end_is_near() -> None:
    far, near = after_trying(race(90.0, 100.0)), after_trying(race(90.0, 100.0, rest=50))

    assert (AutoVerdict.KEPT_AFTER_RACE, AutoVerdict.CHANGED) == (far.verdict, near.verdict)


def test_who_is_a_little_faster_is_looked_at_again_because_runs_drift() -> None:
    assert after_trying(race(110.0, 100.0)).verdict is AutoVerdict.RACE
    assert after_returning(race(110.0, 100.0, 120.0)).verdict is AutoVerdict.KEPT_AFTER_RACE
    assert after_returning(race(112.0, 100.0, 102.0)).verdict is AutoVerdict.CHANGED


def test_nothing_is_changed_for_a_rest_that_does_not_pay_for_it() -> None:
    assert after_returning(race(112.0, 100.0, 102.0, rest=100)).verdict is AutoVerdict.KEPT_AFTER_RACE
    assert after_returning(race(112.0, 100.0, 102.0, rest=0)).verdict is AutoVerdict.KEPT_AFTER_RACE


def test_a_race_on_the_open_web_that_ends_in_a_tie_goes_to_the_processes() -> None:
    choice = after_returning(race(103.0, 100.0, 100.0, open_web=True))

    assert choice.verdict is AutoVerdict.KEPT_AFTER_RACE
    assert (AutoReason.TRIED, TieBreak.ISOLATION) == (choice.reason, choice.values["tie_break"])


def test_after_a_lost_worker_nothing_that_gives_up_isolation_is_tried() -> None:
    run = measured(0.0003, 0.5, waits=0.005, glue=0.0001)
    order = ranked(run, 100_000)
    sound, fragile = choose(run, order, open_web=False), choose(run, order, open_web=False, fragile=True)

    assert sound.rival is not None
    assert sound.rival.plan.transform != "process"
    assert fragile.rival is not None
    assert fragile.rival.plan.transform == "process"


def test_where_only_transform_is_open_a_lost_worker_decides() -> None:
    run = measured(0.0003, 0.5, waits=0.005, glue=0.0001)
    own = [pair("thread", transform) for transform in MODES]
    here = predict(run.job, USUAL).steady_rate_per_second
    choice = choose(run, rank(run, own, rate_per_second=here, rest=100_000), open_web=False, fragile=True)

    assert choice.verdict is AutoVerdict.KEPT
    assert choice.reason is AutoReason.LOST_WORKER


def test_leaving_processes_is_told_as_a_loss_of_isolation() -> None:
    assert 1 == after_trying(race(160.0, 100.0)).values["lost_isolation"]


RATES = {"own_rate_per_second": 100.0, "rival_rate_per_second": 110.0, "change_seconds": 0.3}
SENTENCES = {
    AutoReason.FEW_ITEMS: "4 items are too few to measure what would be better, so 32 threads + 2 processes: threads",
    AutoReason.ENDED_EARLY: "the run ended before there was enough to choose from, so 32 threads + 2 processes to the",
    AutoReason.LOST_WORKER: "back to 32 threads + 2 processes: a worker crashed, hung or ran out of memory on an item",
    AutoReason.OTHERS_BUSY: "back to 32 threads + 2 processes: other programs used 40% of the machine",
    AutoReason.MODEL_MISSES: "back to 32 threads + 2 processes: the model misses this run by 40%",
    AutoReason.PREDICTED: "32 threads + 2 processes does 100 items/s here, and 32 threads + 2 threads is predicted to "
    "do 110: a tie, and then what runs already",
    AutoReason.TRIED: "tried on the job's own items, 32 threads + 2 threads did 110 items/s and 32 threads + 2 "
    "processes 100 and 102 before and after: a tie",
}


@pytest.mark.parametrize("reason", AutoReason)
def test_every_reason_has_its_sentence(reason: AutoReason) -> None:
    unmeasured = {AutoReason.FEW_ITEMS: AutoVerdict.NOT_WORTH_IT, AutoReason.ENDED_EARLY: AutoVerdict.TOO_SHORT}
    values = {**RATES, "own_rate_after_per_second": 102.0, "items": 4, "others": 0.4, "miss": 0.4,
              "tie_break": TieBreak.PRESENT}  # fmt: skip
    found = AutoRecord(
        stages=("transform",), verdict=unmeasured.get(reason, AutoVerdict.KEPT_AFTER_RACE), reason=reason,
        values=values, began=USUAL, chosen=USUAL, runner_up=pair("thread", "thread"),
    )  # fmt: skip

    assert SENTENCES[reason] in auto_text(found)


def test_a_change_is_told_with_what_is_lost_by_it() -> None:
    found = AutoRecord(
        stages=("transform",), verdict=AutoVerdict.CHANGED, reason=AutoReason.TRIED, began=USUAL,
        values=RATES | {"lost_isolation": 1}, chosen=pair("thread", "thread"), runner_up=USUAL,
    )  # fmt: skip

    told = auto_text(found)

    assert told.startswith("changed to 32 threads + 2 threads: tried on the job's own items, 32 threads + 2 ")
    assert told.endswith("timeout and memory_limit do not hold there, and a crash ends the run")


def test_a_worker_lost_during_the_race_ends_it_for_the_processes() -> None:
    won = race(160.0, 100.0)

    assert after_trying(won).verdict is AutoVerdict.CHANGED
    assert after_trying(replace(won, fragile=True)).verdict is AutoVerdict.KEPT_AFTER_RACE
