"""Verdicts follow from the rule, say why, and are hardly ever a false win."""

import json
import math
import random
from collections.abc import Sequence

import pytest
from msgspec import to_builtins

from batchproc.bench.command import next_look
from batchproc.bench.spec import LOOK_LEVEL
from batchproc.bench.verdicts import (
    LEAST_MARGIN,
    LEVEL,
    CaseComparison,
    Verdict,
    compare,
    log_ratios,
    noise_floor,
    sign_test,
    weight_of,
)
from batchproc.model import Mode
from tests.bench.simulated import AGAIN, BASELINE, CASES, simulated_times

WEIGHTS = {case: weight_of(*map(Mode, case.split("+"))) for case in CASES}
PLAN = tuple((case, BASELINE) for case in CASES if case != BASELINE)


def compare_two(
    times: Sequence[float], other: Sequence[float], *, comparisons: int = 1, level: float = LEVEL
) -> CaseComparison:
    """thread+process against serial+serial, as the first of several comparisons that are all alike."""
    columns = {"thread+process": times, BASELINE: other}
    plan = [("thread+process", BASELINE)] * comparisons
    return compare(columns, plan, margin=LEAST_MARGIN, weights=WEIGHTS, level=level)[0]


def judge(times: dict[str, list[float]], level: float = LEVEL) -> tuple[CaseComparison, ...]:
    floor = noise_floor(times[BASELINE], times[AGAIN], level=level)
    return compare(times, PLAN, margin=floor.margin, weights=WEIGHTS, level=level)


def test_ten_of_ten_beyond_the_margin_is_a_win_over_eight_comparisons() -> None:
    found = compare_two([0.5] * 10, [1.0] * 10, comparisons=8)

    assert (Verdict.WIN, "thread+process", 0.015625) == (found.verdict, found.winner, found.p_adjusted)
    assert 0.5 == pytest.approx(found.ratio)
    assert (10, 10, 0) == (found.rounds, found.faster_rounds, found.slower_rounds)
    assert (
        "thread+process against serial+serial: 0.500 of the time (0.500 to 0.500 with 97.9% confidence); faster in "
        "10 of 10 rounds, p = 0.0156 after Holm over 8 comparisons, and beyond the margin of 5.0%"
    ) == found.reason


def test_the_baseline_can_win_too() -> None:
    found = compare_two([2.0] * 10, [1.0] * 10)

    assert (Verdict.WIN, BASELINE) == (found.verdict, found.winner)
    assert "slower in 10 of 10 rounds" in found.reason


def test_a_look_needs_the_whole_range_inside_the_margin_for_a_tie() -> None:
    times = [1.0] * 9 + [1.2]

    assert Verdict.TIE is compare_two(times, [1.0] * 10).verdict
    assert Verdict.UNDECIDED is compare_two(times, [1.0] * 10, level=LOOK_LEVEL).verdict


def test_nine_of_ten_wins_alone_and_not_among_eight() -> None:
    times = [0.5] * 9 + [1.5]

    assert Verdict.WIN is compare_two(times, [1.0] * 10).verdict
    assert Verdict.UNDECIDED is compare_two(times, [1.0] * 10, comparisons=8).verdict


def test_five_clean_rounds_prove_nothing_and_say_how_many_would() -> None:
    found = compare_two([0.5] * 5, [1.0] * 5)

    assert (Verdict.UNDECIDED, "", 6, None) == (found.verdict, found.winner, found.rounds_to_decide, found.interval)
    assert (
        "thread+process against serial+serial: 0.500 of the time (too few rounds for an interval); 5 rounds can prove "
        "no win in 1 comparison, 6 are the fewest that can; about 6 rounds like these would decide"
    ) == found.reason


def test_a_certain_but_small_difference_is_a_tie_for_the_lighter() -> None:
    found = compare_two([0.97] * 10, [1.0] * 10)

    assert found.p_adjusted <= LEVEL
    assert (Verdict.TIE, BASELINE) == (found.verdict, found.winner)
    assert "inside the margin of 5.0%: serial+serial is the lighter one and is preferred" in found.reason


def test_a_difference_around_the_margin_is_undecided() -> None:
    found = compare_two([0.93] * 3 + [0.97] * 7, [1.0] * 10)

    assert Verdict.UNDECIDED is found.verdict
    assert "the middle lies inside the margin of 5.0%, but the interval reaches beyond it" in found.reason
    assert found.reason.endswith(f"about {found.rounds_to_decide} rounds like these would decide")


def test_coin_flips_are_undecided_and_would_stay_so() -> None:
    found = compare_two([0.5] * 5 + [1.6] * 6, [1.0] * 11)

    assert (Verdict.UNDECIDED, None) == (found.verdict, found.rounds_to_decide)
    assert found.reason.endswith("p = 1 after Holm over 1 comparison, above 0.05; "
                                 "more than 100 rounds like these would be needed")  # fmt: skip


def test_equal_times_are_counted_and_left_out() -> None:
    found = compare_two([0.5] * 9 + [1.0], [1.0] * 10)

    assert (9, 0) == (found.faster_rounds, found.slower_rounds)
    assert "faster in 9 of 9 rounds (1 equal and left out)" in found.reason


def test_a_tie_of_cases_of_one_weight_prefers_neither() -> None:
    times = {"thread+process": [1.0] * 10, "process+thread": [1.0] * 10}
    (found,) = compare(times, [("thread+process", "process+thread")], margin=LEAST_MARGIN, weights=WEIGHTS)

    assert (Verdict.TIE, "") == (found.verdict, found.winner)
    assert found.reason.endswith("neither is lighter")


def test_serial_is_lighter_than_thread_and_thread_lighter_than_process() -> None:
    order = ["serial+serial", "serial+thread", "thread+thread", "serial+process", "thread+process", "process+process"]

    assert order == sorted(set(order), key=WEIGHTS.__getitem__)
    assert WEIGHTS["thread+process"] == WEIGHTS["process+thread"]


def test_a_comparison_is_json_as_the_contract_has_it() -> None:
    facts = json.loads(json.dumps(to_builtins(compare_two([0.5] * 10, [1.0] * 10))))

    assert {"pair", "against", "ratio", "interval", "p_adjusted", "verdict", "reason"} <= set(facts)
    assert "win" == facts["verdict"]
    assert [0.5, 0.5] == pytest.approx(facts["interval"])


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_two([1.0] * 10, [1.0] * 9)


def test_a_quiet_machine_has_the_least_margin() -> None:
    floor = noise_floor([1.0] * 10, [1.01] * 10)

    assert LEAST_MARGIN == floor.margin
    assert not floor.suspicious


def test_the_margin_of_a_noisy_machine_is_half_the_width_of_the_interval() -> None:
    apart = [0.5, *[0.8] * 4, *[1.25] * 4, 2.0]
    floor = noise_floor(apart, [1.0] * 10)

    assert math.log(1.25) == pytest.approx(floor.margin)
    assert floor.p == 1.0


def test_an_apparent_win_inside_the_noise_is_no_win() -> None:
    columns = {"thread+process": [0.9] * 10, BASELINE: [1.0] * 10}
    (found,) = compare(columns, [("thread+process", BASELINE)], margin=math.log(1.25), weights=WEIGHTS)

    assert Verdict.TIE is found.verdict


def test_two_identical_cases_that_differ_are_suspicious() -> None:
    floor = noise_floor([1.0] * 10, [1.2] * 10)

    assert floor.suspicious
    assert json.loads(json.dumps(to_builtins(floor)))["suspicious"]


def test_too_few_rounds_have_the_least_margin_and_no_interval() -> None:
    floor = noise_floor([1.0] * 5, [1.5] * 5)

    assert (LEAST_MARGIN, None, None, False) == (floor.margin, floor.interval, floor.coverage, floor.suspicious)


@pytest.mark.parametrize("sigma", [0.04, 0.12], ids=["usual", "noisy"])
def test_under_five_percent_of_a_thousand_benches_without_a_difference_have_a_false_win(sigma: float) -> None:
    chance = random.Random(1979)
    benches = (judge(simulated_times(chance, sigma=sigma)) for _ in range(1_000))
    false = sum(any(found.verdict is Verdict.WIN for found in bench) for bench in benches)

    assert false <= 50


def test_without_the_margin_holm_alone_keeps_false_wins_under_five_percent_and_nothing_else_does() -> None:
    chance = random.Random(1979)
    plain = adjusted = 0
    for _ in range(1_000):
        times = simulated_times(chance)
        found = compare(times, PLAN, margin=0.0, weights=WEIGHTS)
        adjusted += any(one.verdict is Verdict.WIN for one in found)
        plain += any(sign_test(log_ratios(times[pair], times[BASELINE])).p <= LEVEL for pair, _ in PLAN)

    assert adjusted <= 50 < plain
    assert adjusted > 0


def test_until_decided_keeps_false_wins_under_five_percent_over_all_its_looks() -> None:
    chance = random.Random(20)
    false = 0
    for _ in range(300):
        full = simulated_times(chance, rounds=30)
        rounds: int | None = next_look(0, undecided=len(PLAN))
        won = False
        while rounds:
            found = compare({case: column[:rounds] for case, column in full.items()}, PLAN,
                            margin=0.0, weights=WEIGHTS, level=LOOK_LEVEL)  # fmt: skip
            won |= any(one.verdict is Verdict.WIN for one in found)
            rounds = next_look(rounds, undecided=sum(one.verdict is Verdict.UNDECIDED for one in found))
        false += won

    assert false <= 15


def test_a_true_difference_is_found_where_it_is_and_nowhere_else() -> None:
    chance = random.Random(3)
    ratios = {"thread+process": 0.5, "thread+serial": 0.7}
    benches = [judge(simulated_times(chance, sigma=0.03, spikes=0.0, ratios=ratios)) for _ in range(200)]
    winners = [{found.winner for found in bench if found.verdict is Verdict.WIN} for bench in benches]

    assert all(set(ratios) <= found for found in winners)
    assert sum(found != set(ratios) for found in winners) <= 10
