"""The breakdown always sums to the whole, hides no remainder and invents no category."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.measure.breakdown import (
    GilWait,
    StageTotals,
    break_down,
    residual_gil_wait,
    sampled_gil_wait,
)

seconds = st.floats(0, 1e6)
parts = st.dictionaries(
    st.sampled_from(["dns", "connect", "first_byte", "body", "decode", "write"]), st.tuples(seconds, seconds)
)
totals = st.builds(
    StageTotals,
    workers=st.integers(1, 64),
    wall_seconds=seconds,
    tasks=st.integers(0, 1000),
    task_wall_seconds=seconds,
    cpu_seconds=seconds,
    runqueue_seconds=st.none() | seconds,
    parts=parts,
    output_blocked_seconds=seconds,
    starved_seconds=seconds,
    ipc_seconds=seconds,
    startup_seconds=seconds,
    not_running_seconds=seconds,
    retry_wait_seconds=seconds,
    pause_wait_seconds=seconds,
    gil=st.none() | st.builds(GilWait, seconds=seconds, method=st.just("sampled")),
)


def stage(**changes: object) -> StageTotals:
    """Two workers for 10 s: 12 s in tasks, 8 s between."""
    facts: dict[str, object] = {
        "workers": 2,
        "wall_seconds": 10.0,
        "tasks": 4,
        "task_wall_seconds": 12.0,
        "cpu_seconds": 5.0,
        "runqueue_seconds": 1.0,
        "starved_seconds": 5.0,
        "output_blocked_seconds": 2.0,
        "startup_seconds": 1.0,
    }
    return StageTotals(**{**facts, **changes})  # type: ignore[arg-type]


@given(totals)
def test_the_buckets_sum_to_workers_times_wall(given_totals: StageTotals) -> None:
    breakdown = break_down(given_totals)
    size = given_totals.whole_seconds + math.fsum(map(abs, breakdown.categories.values()))

    assert breakdown.whole_seconds == pytest.approx(math.fsum(breakdown.categories.values()), abs=1e-9 * size + 1e-9)


@given(totals)
def test_only_the_remainder_may_be_negative(given_totals: StageTotals) -> None:
    categories = dict(break_down(given_totals).categories)
    categories.pop("unexplained")

    assert not {name: value for name, value in categories.items() if value < -1e-9 * given_totals.task_wall_seconds}


@given(totals)
def test_waiting_inside_tasks_sums_to_what_was_blocked(given_totals: StageTotals) -> None:
    categories = break_down(given_totals).categories
    waited = sum(categories.get(name, 0.0) for name in ("gil_wait", "network", "disk_or_lock", "blocked"))

    assert given_totals.blocked_seconds == pytest.approx(waited)


def test_a_fully_measured_stage_has_no_remainder() -> None:
    breakdown = break_down(stage(gil=GilWait(seconds=2.0, method="sampled")))

    assert {
        "cpu": 5.0,
        "run_queue": 1.0,
        "gil_wait": 2.0,
        "network": 0.0,
        "disk_or_lock": 4.0,
        "output_blocked": 2.0,
        "starved": 5.0,
        "retry_wait": 0.0,
        "pause_wait": 0.0,
        "ipc": 0.0,
        "startup": 1.0,
        "unstaffed": 0.0,
        "unexplained": 0.0,
    } == breakdown.categories
    assert breakdown.gil_method == "sampled"


def test_idle_time_in_which_an_item_was_not_due_yet_is_its_own() -> None:
    categories = break_down(stage(retry_wait_seconds=2.0, pause_wait_seconds=1.0)).categories

    assert (2.0, 2.0, 1.0) == (categories["starved"], categories["retry_wait"], categories["pause_wait"])


def test_such_waits_are_never_more_than_the_idle_time() -> None:
    categories = break_down(stage(retry_wait_seconds=4.0, pause_wait_seconds=3.0)).categories

    assert (0.0, 4.0, 1.0) == (categories["starved"], categories["retry_wait"], categories["pause_wait"])


def test_declared_network_waits_bear_their_share_of_run_queue_and_gil() -> None:
    """7 s off the core, 3.5 of them on the network; 1 s of run queue and 2 s of GIL fall half on it."""
    breakdown = break_down(
        stage(gil=GilWait(seconds=2.0, method="sampled"), parts={"body": (4.5, 1.0), "decode": (7.5, 4.0)})
    )

    assert breakdown.categories["network"] == pytest.approx(2.0)
    assert breakdown.categories["disk_or_lock"] == pytest.approx(2.0)


def test_without_a_gil_figure_the_rest_is_called_blocked() -> None:
    breakdown = break_down(stage())

    assert breakdown.categories["blocked"] == 6.0
    assert "gil_wait" not in breakdown.categories
    assert "disk_or_lock" not in breakdown.categories
    assert breakdown.gil_method == "unknown"
    assert any("GIL is not known" in note for note in breakdown.notes)


def test_without_a_run_queue_figure_there_is_no_run_queue_bucket() -> None:
    breakdown = break_down(stage(runqueue_seconds=None))

    assert "run_queue" not in breakdown.categories
    assert breakdown.categories["blocked"] == 7.0
    assert any("waiting for a core is not known" in note for note in breakdown.notes)


def test_time_booked_twice_shows_as_a_negative_remainder() -> None:
    breakdown = break_down(stage(starved_seconds=9.0))

    assert breakdown.categories["unexplained"] == -4.0
    assert breakdown.unexplained_share == -0.2


def test_gil_waiting_between_tasks_is_not_booked_inside_them() -> None:
    breakdown = break_down(stage(gil=GilWait(seconds=9.0, method="sampled")))

    assert breakdown.categories["gil_wait"] == 6.0
    assert any("between tasks" in note for note in breakdown.notes)


def test_the_residual_is_called_gil_only_for_a_stage_without_network_waits() -> None:
    assert residual_gil_wait(stage(parts={"write": (1.5, 0.5)})) == GilWait(seconds=5.0, method="residual")
    assert residual_gil_wait(stage(parts={"body": (1.0, 0.0)})) is None
    assert residual_gil_wait(stage(runqueue_seconds=None)) is None


def test_a_sampled_share_counts_for_the_time_the_workers_were_there() -> None:
    assert sampled_gil_wait(stage(not_running_seconds=4.0), 0.25, 0.01) == GilWait(
        seconds=4.0, method="sampled", error_seconds=0.16
    )
    assert sampled_gil_wait(stage(), None) is None


def test_blocked_time_is_divided_between_the_gil_and_the_network_as_the_samples_say() -> None:
    totals = stage(not_running_seconds=0.0)

    wait = sampled_gil_wait(totals, 0.1, other_share=0.3)

    assert wait is not None
    assert pytest.approx(totals.blocked_seconds / 4) == wait.seconds
