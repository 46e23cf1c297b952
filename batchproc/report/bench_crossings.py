"""Where curves cross: pure arithmetic on measured points, and what is predicted of it from other measurements."""

import math
from collections.abc import Mapping
from itertools import pairwise


def crossings(first: Mapping[float, float], second: Mapping[float, float]) -> list[float]:
    """All places where the two change their order, between two common places by a straight line in log-log."""
    gaps = [(x, math.log(second[x] / first[x])) for x in sorted(set(first) & set(second)) if x > 0]
    found = []
    for (low, before), (high, after) in pairwise(gaps):
        if (before < 0) != (after < 0):
            part = before / (before - after)
            found.append(math.exp(math.log(low) + part * (math.log(high) - math.log(low))))
    return found


def value_at(curve: Mapping[float, float], x: float) -> float:
    """A curve of at least one point at a place, by straight lines; beyond its ends it is as at the end."""
    places = sorted(curve)
    if x <= places[0]:
        return curve[places[0]]
    for low, high in pairwise(places):
        if x <= high:
            return curve[low] + (curve[high] - curve[low]) * (x - low) / (high - low)
    return curve[places[-1]]


def payload_that_eats(gain_seconds: float, extra: Mapping[float, float]) -> float | None:
    """The payload in bytes whose hand-over costs what processes gain per item. `extra`: payload -> seconds.

    `extra` is what a hand-over to a process costs beyond one without payload. None when it is never so much.
    """
    if gain_seconds <= 0:
        return 0.0
    for low, high in pairwise(sorted(extra)):
        if extra[low] < gain_seconds <= extra[high]:
            return low + (high - low) * (gain_seconds - extra[low]) / (extra[high] - extra[low])
    return None


def items_that_repay(start_seconds: float, gain_seconds: float) -> float | None:
    """N* = start cost / gain per item; None when nothing is gained per item."""
    return start_seconds / gain_seconds if gain_seconds > 0 else None


def workers_that_fill(rate_per_second: float, one_worker_seconds: float) -> float:
    """How many workers reach a rate when each takes so long for an item: n = rate (W + c), by Little's law."""
    return rate_per_second * one_worker_seconds
