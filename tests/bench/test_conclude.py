"""From rounds to the winner: proven, predicted or open, and never more than that."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import to_builtins

from batchproc.bench.bench_json import Bench, BenchPrediction, BenchRound, BenchSettings, to_json
from batchproc.bench.command import conclude, count_undecided
from batchproc.bench.spec import make_cases, plan_comparisons
from tests.bench.fakes import NOISY, QUIET, a_bench_of, a_round, a_run
from tests.bench.simulated import simulated_times

CASES = make_cases(("serial", "thread", "process"), {})
PREDICTIONS = tuple(
    BenchPrediction(case=case.name, ratio=0.5, rate_per_second=50.0, because="reasons") for case in CASES
)


def rounds_of(ratios: dict[str, float], *, rounds: int = 10, sigma: float = 0.01) -> list[BenchRound]:
    times = simulated_times(random.Random(3), rounds=rounds, sigma=sigma, spikes=0.0, ratios=ratios)
    return [
        BenchRound(
            number=number + 1,
            order=tuple(times),
            runs={name: a_run(column[number]) for name, column in times.items()},
        )
        for number in range(rounds)
    ]


def a_bench(rounds: Sequence[BenchRound], favourite: str, *, rerun: bool = True) -> Bench:
    plan = plan_comparisons(CASES, favourite)
    settings = BenchSettings(rerun=rerun)
    return a_bench_of(rounds, favourite=favourite, plan=plan, predictions=PREDICTIONS, settings=settings)


def found(rounds: Sequence[BenchRound], favourite: str, *, rerun: bool = True) -> dict[str, Any]:
    return to_json(conclude(a_bench(rounds, favourite, rerun=rerun), CASES))  # as bench.json has it


FAST = {"thread+thread": 0.3, "thread+process": 0.4, "process+process": 0.5, "thread+serial": 0.6}


def test_a_favourite_that_is_proven_faster_than_all_is_the_winner() -> None:
    winner = found(rounds_of(FAST), "thread+thread")["winner"]

    assert ("thread+thread", True, [], []) == (
        winner["case"], winner["predicted"], winner["ties"], winner["not_told_apart"],
    )  # fmt: skip
    assert 8 == len(winner["beats"])


def test_a_case_that_is_proven_faster_than_the_favourite_takes_its_place() -> None:
    winner = found(rounds_of(FAST), "thread+process")["winner"]

    assert ("thread+thread", False, ["thread+process"]) == (winner["case"], winner["predicted"], winner["beats"])
    assert "thread+process" == winner["favourite"]
    assert "process+process" in winner["not_told_apart"]  # the two were not compared


def test_of_a_tie_the_lighter_one_is_taken() -> None:
    ratios = {**FAST, "process+process": 0.3, "thread+thread": 0.3}

    winner = found(rounds_of(ratios), "process+process")["winner"]

    assert "thread+thread" == winner["case"]
    assert ["process+process"] == winner["ties"]


def test_five_rounds_prove_nothing_and_say_so() -> None:
    few = found(rounds_of(FAST, rounds=5), "thread+thread")

    assert {"undecided"} == {one["verdict"] for one in few["comparisons"]}
    assert "indicative only" in few["notes"][0]
    assert ([], []) == (few["winner"]["beats"], few["winner"]["ties"])
    assert [] == found(rounds_of(FAST), "thread+thread")["notes"]


def test_without_a_prediction_the_fastest_is_proven_against_the_baseline_only() -> None:
    winner = found(rounds_of(FAST), "")["winner"]

    assert ("thread+thread", ["serial+serial"]) == (winner["case"], winner["beats"])
    assert 7 == len(winner["not_told_apart"])


def test_before_the_first_round_there_are_predictions_and_no_conclusions() -> None:
    nothing = found([], "thread+thread")

    assert ([], []) == (nothing["cases"], nothing["comparisons"])
    assert [to_builtins(row) for row in PREDICTIONS] == nothing["predictions"]


def test_every_point_of_the_rounds_that_count_is_kept_and_no_other() -> None:
    names = {case.name.replace("+", "_"): 1.0 for case in CASES}
    rounds = [
        a_round(1, conditions=NOISY, **names | {"again": 1.0}),
        a_round(1, attempt=2, conditions=QUIET, **names | {"again": 1.0, "thread_thread": 0.5}),
        a_round(2, **names | {"again": 1.1, "thread_thread": 0.25}),
    ]

    facts = found(rounds, "thread+thread")

    (case,) = [case for case in facts["cases"] if case["name"] == "thread+thread"]
    assert [0.5, 0.25] == case["seconds"]
    assert [200.0, 400.0] == case["rates_per_second"]
    assert 300.0 == case["median_rate_per_second"]
    assert {"cpu": 1.5, "starved": 0.5} == case["stages"]["transform"]["account"]
    assert (2, 1, 1) == tuple(facts["contamination"][name] for name in ("rounds", "extra", "disturbed"))


def test_a_bench_that_takes_disturbed_rounds_says_so() -> None:
    rounds = rounds_of(FAST)

    assert "taken as they are" in found(rounds, "", rerun=False)["contamination"]["text"]
    assert "taken as they are" not in found(rounds, "")["contamination"]["text"]


def test_the_measured_ratio_stands_beside_the_predicted_one() -> None:
    rows = {row["case"]: row for row in found(rounds_of(FAST), "thread+thread")["predictions"]}

    assert 0.3 == pytest.approx(rows["thread+thread"]["measured_ratio"], rel=0.05)
    assert 0.5 / 0.3 - 1 == pytest.approx(rows["thread+thread"]["error"], rel=0.1)
    assert 1.0 == rows["serial+serial"]["measured_ratio"]


def test_a_look_sees_only_the_rounds_before_it() -> None:
    rounds = rounds_of(FAST, rounds=20)
    bench = a_bench(rounds, "thread+thread")

    counts = [count_undecided(bench, rounds[:seen], CASES) for seen in (5, 20)]

    assert 15 == counts[0]
    assert counts[1] < 15
