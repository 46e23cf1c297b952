"""Disturbed rounds are run again by a rule that never looks at a time, and are all counted."""

import pytest

from batchproc.bench.contamination import (
    Attempt,
    Conditions,
    count_rounds,
    counted,
    disturbances,
    must_rerun,
    worst_of,
)

QUIET = Conditions(others_cpu_share=0.01, steal_share=0.0, throttled_seconds=0.0)


def clean(number: int) -> Attempt:
    return Attempt(number=number)


def noisy(number: int) -> Attempt:
    return Attempt(number=number, disturbances=("other programs used 40.0% of the CPU (limit 10%)",))


@pytest.mark.parametrize(
    ("others", "steal", "throttled", "words"),
    [
        (0.10, 0.02, 0.0, []),
        (0.101, 0.0, 0.0, ["other programs"]),
        (0.0, 0.021, 0.0, ["hypervisor"]),
        (0.0, 0.0, 0.001, ["quota"]),
        (0.5, 0.5, 1.0, ["other programs", "hypervisor", "quota"]),
        (None, None, None, []),
    ],
    ids=["at the limits", "others", "steal", "throttled", "all", "unknown"],
)
def test_only_what_lies_above_a_limit_contaminates(
    others: float | None, steal: float | None, throttled: float | None, words: list[str]
) -> None:
    found = disturbances(Conditions(others_cpu_share=others, steal_share=steal, throttled_seconds=throttled))

    assert len(words) == len(found)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_one_disturbed_run_makes_its_round_a_disturbed_one() -> None:
    busy = Conditions(others_cpu_share=0.4, steal_share=None, throttled_seconds=None)

    assert Conditions(others_cpu_share=0.4, steal_share=0.0, throttled_seconds=0.0) == worst_of([QUIET, busy, QUIET])
    assert Conditions(others_cpu_share=None, steal_share=None, throttled_seconds=None) == worst_of([])


def test_a_clean_round_is_not_run_again() -> None:
    assert not must_rerun([])
    assert not must_rerun([clean(1)])
    assert not must_rerun([noisy(1), clean(1)])


def test_a_disturbed_round_is_run_again_until_five_extra_rounds_are_spent() -> None:
    attempts = [noisy(1)]
    while must_rerun(attempts):
        attempts.append(noisy(1))

    assert 6 == len(attempts)
    assert not must_rerun([*attempts, noisy(2)])


def test_the_last_attempt_of_each_round_counts_whether_it_was_clean_or_not() -> None:
    assert (1, 2, 4) == counted([noisy(1), clean(1), clean(2), noisy(3), noisy(3)])


def test_the_counts_name_what_was_made_run_again_and_taken_although_disturbed() -> None:
    good = count_rounds([noisy(1), clean(1), clean(2)])
    bad = count_rounds([*[noisy(1)] * 6, noisy(2), clean(3)])

    assert (2, 1, 1, 0, False) == (good.rounds, good.extra, good.disturbed, good.counted_disturbed, good.noisy)
    assert "2 rounds count; 1 of the 3 made were disturbed, 1 run again" == good.text
    assert (3, 5, 7, 2, True) == (bad.rounds, bad.extra, bad.disturbed, bad.counted_disturbed, bad.noisy)
    assert bad.text.endswith("this machine is noisy")
