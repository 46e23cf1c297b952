"""What is compared: the grid, the varied keys, and comparisons that are fixed before anything was measured."""

import tomllib
from typing import Any

import pytest

from batchproc.bench.spec import make_alone_cases, make_cases, plan_comparisons
from batchproc.errors import UsageError

MODES = ("serial", "thread", "process")


def names(modes: tuple[str, ...], vary: dict[str, list[Any]] | None = None) -> list[str]:
    return [case.name for case in make_cases(modes, vary or {})]


def test_three_modes_make_nine_cases_with_the_baseline_first() -> None:
    found = names(MODES)

    assert 9 == len(set(found))
    assert "serial+serial" == found[0]
    assert {f"{download}+{transform}" for download in MODES for transform in MODES} == set(found)


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (("thread",), ["serial+serial", "thread+thread"]),
        (("serial+thread", "thread+process"), ["serial+serial", "serial+thread", "thread+process"]),
        (("serial+serial",), ["serial+serial"]),
        (("thread", "thread+process"), ["serial+serial", "thread+thread", "thread+process"]),
    ],
    ids=["one mode", "pairs", "the baseline alone", "a mode and a pair"],
)
def test_the_baseline_is_always_among_the_chosen_ones(modes: tuple[str, ...], expected: list[str]) -> None:
    assert expected == names(modes)


def test_every_wrong_mode_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        make_cases(["fork", "thread", "thread+auto", "a+b+c"], {})

    assert ["--modes fork", "--modes thread+auto", "--modes a+b+c"] == [one.where for one in error.value.problems]


def test_varied_keys_multiply_the_cases_and_are_set_by_their_overrides() -> None:
    cases = make_cases(["thread"], {"download.retries": [0, 3], "transform.quality": ["fast"]})

    assert 4 == len(cases)
    assert "thread+thread download.retries=3 transform.quality=fast" == cases[-1].name
    values = [tomllib.loads(override) for override in cases[-1].overrides]
    assert [
        {"download": {"mode": "thread"}},
        {"transform": {"mode": "thread"}},
        {"download": {"retries": 3}},
        {"transform": {"quality": "fast"}},
    ] == values


def test_workers_are_not_varied_where_they_have_no_effect() -> None:
    found = names(("serial", "thread"), {"transform.workers": [1, 2]})

    assert [
        "serial+serial",
        "serial+thread transform.workers=1",
        "serial+thread transform.workers=2",
        "thread+serial",
        "thread+thread transform.workers=1",
        "thread+thread transform.workers=2",
    ] == found


@pytest.mark.parametrize("key", ["job.output", "origin.images", "download.mode", "report.html"])
def test_what_the_bench_decides_cannot_be_varied(key: str) -> None:
    with pytest.raises(UsageError, match=r"\[bench\] vary"):
        make_cases(MODES, {key: ["x"]})


def test_all_are_compared_with_the_baseline_and_with_the_predicted_winner() -> None:
    cases = make_cases(MODES, {})

    plan = plan_comparisons(cases, "thread+thread")

    assert 15 == len(plan) == len({frozenset(pair) for pair in plan})
    assert 8 == sum(reference == "serial+serial" for _, reference in plan)
    assert 7 == sum(pair == "thread+thread" != reference and reference != "serial+serial" for pair, reference in plan)


def test_stages_alone_are_compared_with_themselves_in_every_mode_and_with_nothing_else() -> None:
    whole = make_cases(["thread+process"], {})
    alone = make_alone_cases(whole)

    plan = plan_comparisons(whole + alone, "thread+process")

    names = [f"download alone: {mode}" for mode in ("serial", "thread")]
    names += [f"transform alone: {mode}" for mode in ("serial", "process")]
    assert names == [case.name for case in alone]
    assert (
        ("thread+process", "serial+serial"),
        ("download alone: thread", "download alone: serial"),
        ("transform alone: process", "transform alone: serial"),
    ) == plan
    nine = make_cases(MODES, {})
    assert 15 + 6 == len(plan_comparisons(nine + make_alone_cases(nine), "thread+thread"))


@pytest.mark.parametrize("favourite", ["", "serial+serial"])
def test_without_another_favourite_only_the_baseline_is_compared_with(favourite: str) -> None:
    assert 8 == len(plan_comparisons(make_cases(MODES, {}), favourite))
