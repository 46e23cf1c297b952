"""The power that is computed is the power that the procedure has."""

import math
import random

import pytest

from batchproc.bench.power import detectable_ratio, noise_sigma, sign_test_power, tie_power, win_power
from batchproc.bench.statistics import sign_test
from batchproc.bench.verdicts import LEAST_MARGIN, Verdict, compare

WEIGHTS = {"a": (0, 0), "b": (0, 0)}


def verdicts(ratio: float, *, sigma: float, rounds: int, benches: int) -> list[Verdict]:
    chance = random.Random(5)
    times = {"a": [0.0], "b": [0.0]}
    found = []
    for _ in range(benches):
        times["a"] = [ratio * math.exp(chance.gauss(0, sigma)) for _ in range(rounds)]
        times["b"] = [math.exp(chance.gauss(0, sigma)) for _ in range(rounds)]
        found.append(compare(times, [("a", "b")], margin=LEAST_MARGIN, weights=WEIGHTS)[0].verdict)
    return found


@pytest.mark.parametrize(
    ("favourable", "rounds", "level", "power"),
    [
        (0.9, 10, 0.05 / 8, 0.9**10),
        (0.9, 10, 0.05, 0.9**10 + 10 * 0.9**9 * 0.1),
        (0.5, 10, 0.05 / 8, 1 / 1024),
        (1.0, 9, 0.05 / 8, 1.0),
        (0.99, 5, 0.05, 0.0),
    ],
)
def test_the_power_of_the_sign_test_is_a_binomial_tail(
    favourable: float, rounds: int, level: float, power: float
) -> None:
    assert power == pytest.approx(sign_test_power(favourable=favourable, rounds=rounds, level=level))


def test_under_no_difference_the_sign_test_rejects_at_its_exact_rate() -> None:
    chance = random.Random(11)
    rejected = sum(sign_test([chance.gauss() for _ in range(10)]).p <= 0.05 for _ in range(5_000)) / 5_000

    assert 2 * sign_test_power(favourable=0.5, rounds=10, level=0.05) == pytest.approx(rejected, abs=0.008)


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.08, 1.15])
def test_the_power_of_a_win_is_the_share_of_simulated_benches_that_win(ratio: float) -> None:
    found = verdicts(ratio, sigma=0.05, rounds=10, benches=1_500)
    wins = found.count(Verdict.WIN) / len(found)
    sides = 2 if ratio == 1.0 else 1  # without a difference either side can win

    power = win_power(ratio=ratio, sigma=0.05, rounds=10, margin=LEAST_MARGIN, level=0.05)
    assert sides * power == pytest.approx(wins, abs=0.03)


@pytest.mark.parametrize("ratio", [1.0, 1.03, 1.05])
def test_the_power_of_a_tie_is_the_share_of_simulated_benches_that_tie(ratio: float) -> None:
    found = verdicts(ratio, sigma=0.025, rounds=10, benches=1_500)
    ties = found.count(Verdict.TIE) / len(found)

    power = tie_power(ratio=ratio, sigma=0.025, rounds=10, margin=LEAST_MARGIN, coverage=0.95)
    assert power == pytest.approx(ties, abs=0.03)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_a_difference_as_large_as_the_margin_is_hardly_ever_called_a_tie(sigma: float) -> None:
    assert tie_power(ratio=1.05, sigma=sigma, rounds=10, margin=LEAST_MARGIN, coverage=0.95) <= 11 / 1024 + 1e-12


def test_the_detectable_ratio_is_found_with_the_wanted_power() -> None:
    ratio = detectable_ratio(sigma=0.05, rounds=10, margin=LEAST_MARGIN, level=0.05 / 8)

    assert ratio is not None
    assert 0.8 == pytest.approx(
        win_power(ratio=ratio, sigma=0.05, rounds=10, margin=LEAST_MARGIN, level=0.05 / 8), abs=0.001
    )


def test_nothing_is_detectable_in_five_rounds() -> None:
    assert detectable_ratio(sigma=0.01, rounds=5, margin=LEAST_MARGIN, level=0.05) is None
    assert 0.0 == win_power(ratio=3.0, sigma=0.01, rounds=5, margin=LEAST_MARGIN, level=0.05)


def test_more_rounds_and_less_noise_find_smaller_differences() -> None:
    found = [
        detectable_ratio(sigma=sigma, rounds=rounds, margin=LEAST_MARGIN, level=0.05 / 8)
        for rounds, sigma in [(10, 0.10), (20, 0.10), (30, 0.10), (30, 0.05), (30, 0.01)]
    ]

    assert found == sorted(found, key=lambda ratio: -(ratio or 0.0))
    assert len(set(found)) == len(found)


def test_the_noise_of_one_run_is_found_again_and_one_spike_does_not_matter() -> None:
    chance = random.Random(2)
    same_twice = [chance.gauss(0, 0.03) - chance.gauss(0, 0.03) for _ in range(2_000)] + [50.0]

    assert 0.03 == pytest.approx(noise_sigma(same_twice), rel=0.1)
