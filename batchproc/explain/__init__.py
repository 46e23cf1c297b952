"""From evidence to sentences: pure functions on run.json. Nothing is said that was not measured.

    explain(facts) -> verdict, bottleneck, choices, ceilings, measured rates, hints, crossover, break-even

`predict` holds the model, which the bench uses as well; `measured` fits it to a run; the rest turns both into words.
"""

from collections.abc import Mapping
from typing import Any

from batchproc.explain.auto import Verdict
from batchproc.explain.bottleneck import find_bottleneck
from batchproc.explain.ceilings import find_ceilings
from batchproc.explain.choices import find_choice
from batchproc.explain.crossover import find_break_even, find_crossover
from batchproc.explain.hints import best_text, find_hints
from batchproc.explain.measured import measure, working_seconds
from batchproc.explain.predict import MODES, JobModel, ModeName, Prediction, StageModel, StartCosts, Variant, predict

__all__ = ["MODES", "JobModel", "ModeName", "Prediction", "StageModel", "StartCosts", "Variant", "explain", "predict"]

NOTHING = "unknown: too little was processed to explain"


def explain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The explanation of a run, to be merged into its run.json. Pure; unknown is null and a sentence that says why."""
    bottleneck, run = find_bottleneck(facts), measure(facts)
    told = {"stage": bottleneck.stage, "because": bottleneck.because}
    if run is None:
        return _unknown(told)
    choices = [find_choice(facts, run, stage) for stage in ("download", "transform")]
    hints = find_hints(facts, run)
    return {
        "verdict": [
            f"held back by {bottleneck.because}" if bottleneck.stage else bottleneck.because,
            _modes_text(facts, choices),
            best_text(hints),
        ],
        "bottleneck": told,
        "choices": choices,
        "ceilings": find_ceilings(facts, run),
        "measured_rate_per_second": {
            name: stage["tasks"] / working_seconds(facts) for name, stage in facts["stages"].items()
        },
        "hints": [hint.to_json() for hint in hints],
        "crossover": find_crossover(run),
        "break_even": find_break_even(run),
    }


def _modes_text(facts: Mapping[str, Any], choices: list[dict[str, Any]]) -> str:
    """What was measured against each other comes first; what is only predicted is left out beside it."""
    auto = facts.get("auto")
    if auto and auto["verdict"] in (Verdict.CHANGED, Verdict.KEPT_AFTER_RACE, Verdict.KEPT):
        return str(auto["text"])
    return "; ".join(choice["brief"] for choice in choices)


def _unknown(bottleneck: dict[str, Any]) -> dict[str, Any]:
    nothing = {"phi": None, "phi_low": None, "phi_high": None, "method": "unknown", "cores": None, "text": NOTHING}
    return {
        "verdict": [bottleneck["because"], NOTHING, NOTHING],
        "bottleneck": bottleneck,
        "choices": [],
        "ceilings": {},
        "measured_rate_per_second": {},
        "hints": [],
        "crossover": nothing,
        "break_even": {"items": None, "text": NOTHING},
    }
