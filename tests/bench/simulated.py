"""Simulated benches: nine pairs and the baseline again, log-normal noise, and what each round has for itself."""

import math
import random
from collections.abc import Mapping
from itertools import product

BASELINE = "serial+serial"
AGAIN = "serial+serial (again)"
CASES = tuple("+".join(modes) for modes in product(("serial", "thread", "process"), repeat=2))


def simulated_times(
    chance: random.Random,
    *,
    rounds: int = 10,
    sigma: float = 0.04,
    round_sigma: float = 0.10,
    spikes: float = 0.05,
    ratios: Mapping[str, float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each case in each round: 3 s times the round's own factor, the run's noise, now and then a spike."""
    times: dict[str, list[float]] = {case: [] for case in (*CASES, AGAIN)}
    for _ in range(rounds):
        shared = chance.gauss(0, round_sigma)
        for case, column in times.items():
            spike = chance.expovariate(4) if chance.random() < spikes else 0.0
            ratio = (ratios or {}).get(case, 1.0)
            column.append(3 * ratio * math.exp(shared + chance.gauss(0, sigma) + spike))
    return times
