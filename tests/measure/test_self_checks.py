"""The self-checks pass, fail, or say that they do not know."""

import pytest

from batchproc.measure.breakdown import (
    Check,
    StageTotals,
    break_down,
    check_hidden_threads,
    check_littles_law,
    check_machine,
    check_remainder,
)
from batchproc.measure.samples import MachineUsage


def test_littles_law_compares_two_independent_counts() -> None:
    good = check_littles_law("download", mean_in_flight=10.2, items=50, inside_seconds=100.0, wall=10.0)
    bad = check_littles_law("download", mean_in_flight=12.0, items=50, inside_seconds=100.0, wall=10.0)

    assert (True, False) == (good.passed, bad.passed)
    assert good.value == pytest.approx(0.02)
    assert good.text == "download: 10.20 in flight by gauge, 10.00 by Little's law"


def test_what_came_before_the_samplers_first_look_widens_the_limit_of_littles_law() -> None:
    late = check_littles_law(
        "download", mean_in_flight=9.2, items=50, inside_seconds=100.0, wall=10.0, unwatched=0.5
    )

    assert (True, 0.1) == (late.passed, pytest.approx(late.limit))


@pytest.mark.parametrize(
    "check",
    [
        check_littles_law("download", mean_in_flight=None, items=5, inside_seconds=1.0, wall=1.0),
        *check_machine(MachineUsage(), None),
        check_hidden_threads("transform", process_cpu_seconds=None, thread_cpu_seconds=1.0),
    ],
    ids=lambda check: check.name,
)
def test_a_missing_figure_is_neither_passed_nor_failed(check: Check) -> None:
    assert check.passed is None
    assert check.value is None
    assert check.text.startswith("not known: ")


def test_a_remainder_of_either_sign_fails_above_five_percent() -> None:
    def remainder(starved: float) -> bool | None:
        totals = StageTotals(
            workers=1, wall_seconds=10.0, tasks=1, task_wall_seconds=5.0, cpu_seconds=5.0, starved_seconds=starved
        )
        return check_remainder("transform", break_down(totals)).passed

    assert [False, True, True, False] == [remainder(starved) for starved in (4.0, 4.6, 5.4, 6.0)]


def test_any_throttling_fails() -> None:
    def throttling(seconds: float) -> bool | None:
        checks = check_machine(MachineUsage(throttled_seconds=seconds), None)
        return next(check.passed for check in checks if check.name == "throttling")

    assert (True, False) == (throttling(0.0), throttling(0.01))
