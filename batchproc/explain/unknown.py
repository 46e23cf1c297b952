"""The explanation of a run that cannot be explained: every part of it is there and says why."""

from typing import Any

LITTLE = "unknown: too little was processed to explain"
NOTHING_DONE = "nothing was processed, so nothing held the run back"


def unknown(bottleneck: dict[str, Any], why: str = LITTLE) -> dict[str, Any]:
    """The keys of an explanation, with `bottleneck` and `why` as all that is known."""
    nothing = {"phi": None, "phi_low": None, "phi_high": None, "method": "unknown", "cores": None, "text": why}
    return {
        "verdict": [bottleneck["because"], why, why],
        "bottleneck": bottleneck,
        "choices": [],
        "ceilings": {},
        "measured_rate_per_second": {},
        "hints": [],
        "crossover": nothing,
        "break_even": {"items": None, "text": why},
    }


def nothing_done() -> dict[str, Any]:
    """The explanation of a run that found nothing to do."""
    return unknown({"stage": None, "because": NOTHING_DONE})
