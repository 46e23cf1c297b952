"""The GIL share from the CPU per step: released, held, unknown."""

import pytest
from msgspec.structs import replace

from batchproc.explain.run_model import download_share, held_step_seconds, transform_share
from batchproc.record.explanation import GilMethod
from batchproc.record.run_parts import StageRecord, StepRecord
from tests.explain.runs import step_record


def stage(parts_cpu: dict[str, float], tasks: int = 100, cpu: float | None = None) -> StageRecord:
    total = sum(parts_cpu.values()) if cpu is None else cpu
    steps = tuple(StepRecord(**step_record(part)) for part in parts_cpu if part.startswith("steps."))
    return StageRecord(
        mode="process", workers=2, busy_seconds=1.0, cpu_seconds=total, tasks=tasks, parts_cpu=parts_cpu, steps=steps
    )


@pytest.mark.parametrize("step", ["resize", "blur", "unsharp", "sharpen", "rotate", "autocontrast"])
def test_a_step_that_releases_leaves_only_the_python_around_it(step: str) -> None:
    share = transform_share(stage({f"steps.{step}": 2.0}), encoder_releases=True)

    assert share is not None
    assert share.low <= share.point <= share.high < 0.03
    assert GilMethod.SOURCE == share.method


def test_the_median_filter_holds_all_of_its_cpu() -> None:
    share = transform_share(stage({"decode": 0.5, "steps.median": 1.5}), encoder_releases=True)

    assert share is not None
    assert 0.75 == pytest.approx(share.point, abs=0.01)
    assert share.is_known


def test_a_step_of_the_users_own_is_unknown() -> None:
    share = transform_share(stage({"steps.mine:work": 2.0}), encoder_releases=True)

    assert share is not None
    assert (0.0, 0.5, 1.0) == (share.low, share.point, share.high)
    assert not share.is_known


@pytest.mark.parametrize(("held", "low", "high"), [(1.0, 0.963, 1.0), (0.0, 0.0, 0.037), (0.5, 0.404, 0.596)])
def test_asking_for_the_gil_tells_what_a_step_of_the_users_own_holds(held: float, low: float, high: float) -> None:
    steps = (StepRecord(op="mine:work", gil_held_fraction=held, gil_asks=100),)

    share = transform_share(replace(stage({"steps.mine:work": 2.0}), steps=steps), encoder_releases=True)

    assert share is not None
    assert share.is_known
    assert (low, held, high) == pytest.approx((share.low, share.point, share.high), abs=1e-3)
    assert GilMethod.ASKED == share.method


@pytest.mark.parametrize(
    ("parts", "held", "brief"),
    [
        ({"decode": 1.0, "steps.resize": 1.0}, None, 1.0),
        ({"decode": 1.0, "steps.median": 1.0}, None, 100 * 95e-6 / 2.0),
        ({"decode": 1.0, "steps.mine:work": 1.0}, 0.5, 100 * 95e-6 / 2.0),
        ({"decode": 1.0, "steps.mine:work": 1.0}, 0.0, 100 * 95e-6 / 2.0),
    ],
    ids=["none holds", "median", "own holds half", "own holds nothing"],
)
def test_only_a_step_holds_the_gil_for_longer_than_moments(
    parts: dict[str, float], held: float | None, brief: float
) -> None:
    found = stage(parts)
    if held is not None:
        found = replace(found, steps=(StepRecord(op="mine:work", gil_held_fraction=held, gil_asks=100),))

    share = transform_share(found, encoder_releases=True)

    assert share is not None
    assert brief == pytest.approx(share.brief, rel=0.2)


def test_a_few_asks_tell_nothing() -> None:
    steps = (StepRecord(op="mine:work", gil_held_fraction=1.0, gil_asks=3),)

    share = transform_share(replace(stage({"steps.mine:work": 2.0}), steps=steps), encoder_releases=True)

    assert share is not None
    assert (0.0, 1.0) == (share.low, share.high)


def test_a_small_step_of_the_users_own_widens_the_interval_by_its_cpu() -> None:
    share = transform_share(stage({"steps.blur": 1.8, "steps.mine:work": 0.2}), encoder_releases=True)

    assert share is not None
    assert 0.1 == pytest.approx(share.high - share.low, abs=0.01)
    assert share.is_known


def test_jpeg_into_memory_holds_the_gil_where_there_are_no_memory_files() -> None:
    parts = stage({"decode": 1.0, "encode": 1.0})
    through_descriptor, in_memory = (transform_share(parts, encoder_releases=how) for how in (True, False))

    assert through_descriptor is not None
    assert in_memory is not None
    assert through_descriptor.point < 0.02
    assert in_memory.point > 0.5


def test_cpu_outside_the_parts_is_unknown() -> None:
    share = transform_share(stage({"steps.blur": 1.0}, cpu=2.0), encoder_releases=True)

    assert share is not None
    assert 0.5 <= share.high
    assert share.low < 0.01


def test_no_share_without_cpu() -> None:
    assert transform_share(stage({}, tasks=0), encoder_releases=True) is None
    assert download_share(stage({}, tasks=0)) is None


def test_the_share_of_a_download_says_that_this_run_did_not_measure_it() -> None:
    share = download_share(stage({"body": 1.0}))

    assert share is not None
    assert GilMethod.TYPICAL == share.method
    assert share.low < share.point < share.high


def threads(gil_wait: float, *, run_queue: float = 0.0, utilisation: float = 1.0) -> StageRecord:
    """Two threads with 4 s of CPU in a custom step."""
    return replace(
        stage({"steps.mine:work": 4.0}),
        mode="thread",
        busy_seconds=4.0 + gil_wait + run_queue,
        utilisation=utilisation,
        account={"cpu": 4.0, "gil_wait": gil_wait, "run_queue": run_queue},
    )


def test_threads_side_by_side_show_what_a_custom_step_holds() -> None:
    never, half, always = (transform_share(threads(wait), encoder_releases=True) for wait in (0.0, 1.0, 4.0))

    assert never is not None
    assert half is not None
    assert always is not None
    assert (0.0, 0.0) == (never.point, never.high)
    assert (0.25, 0.5) == pytest.approx((half.low, half.high))  # a convoy, and random arrivals
    assert 0.25 < half.point < 0.5
    assert pytest.approx(1.0) == always.point
    assert GilMethod.THREADS == always.method


def test_where_cores_were_short_waiting_for_one_may_have_been_for_the_gil() -> None:
    share = transform_share(threads(2.0, run_queue=2.0), encoder_releases=True)

    assert share is not None
    assert (0.5, 1.0) == pytest.approx((share.low, share.high))
    assert 0.5 < share.point < 1.0


def test_threads_that_were_seldom_at_work_together_tell_nothing() -> None:
    share = transform_share(threads(0.1, utilisation=0.3), encoder_releases=True)

    assert share is not None
    assert (0.0, 1.0) == (share.low, share.high)


def test_a_step_that_declares_that_it_releases_the_gil_is_believed() -> None:
    quiet = replace(stage({"steps.mine:work": 2.0}), steps=(StepRecord(op="mine:work", holds_gil=False),))

    share = transform_share(quiet, encoder_releases=True)

    assert share is not None
    assert share.high < 0.01


def test_the_python_around_a_step_counts_as_held_as_its_record_says() -> None:
    one, ten = (
        replace(
            stage({"steps.blur": 2.0}), steps=(StepRecord(op="blur", holds_gil=False, overhead_seconds=seconds),)
        )
        for seconds in (1e-3, 10e-3)
    )
    shares = [transform_share(each, encoder_releases=True) for each in (one, ten)]

    assert [0.05, 0.5] == pytest.approx([share.point for share in shares if share is not None])


def test_only_steps_that_hold_the_gil_count_as_held() -> None:
    assert 1.5 == held_step_seconds(stage({"decode": 1.0, "steps.blur": 2.0, "steps.median": 1.5}))


def test_a_record_that_knows_no_steps_claims_nothing_of_them() -> None:
    share = transform_share(replace(stage({"steps.blur": 2.0}), steps=()), encoder_releases=True)

    assert share is not None
    assert not share.is_known
