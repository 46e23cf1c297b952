"""The whole explanation of a run, put together from its parts."""

from collections.abc import Mapping
from typing import Any

from batchproc.explain.auto import Verdict
from batchproc.explain.bottleneck import find_bottleneck
from batchproc.explain.ceilings import find_ceilings
from batchproc.explain.choices import find_choice
from batchproc.explain.crossover import find_break_even, find_crossover
from batchproc.explain.enough import doubt_about_modes
from batchproc.explain.hints import best_text, find_hints
from batchproc.explain.measured import Measured, measure, working_seconds
from batchproc.explain.rules import whatever_the_modes
from batchproc.explain.unknown import unknown


def explain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The explanation of a run, to be merged into its run.json. Pure; unknown is null and a sentence that says why."""
    bottleneck, run = find_bottleneck(facts), measure(facts)
    told = {"stage": bottleneck.stage, "because": bottleneck.because}
    if run is None:
        return unknown(told)
    if doubt := doubt_about_modes(facts):
        return _without_verdict(facts, run, told, doubt)
    choices = [find_choice(facts, run, stage) for stage in ("download", "transform")]
    hints = find_hints(facts, run)
    return {
        "verdict": [
            _held_back(told),
            _modes_text(facts, choices),
            best_text(hints),
        ],
        "bottleneck": told,
        "choices": choices,
        **_ceilings(facts, run),
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


def _held_back(bottleneck: Mapping[str, Any]) -> str:
    return f"held back by {bottleneck['because']}" if bottleneck["stage"] else str(bottleneck["because"])


def _ceilings(facts: Mapping[str, Any], run: Measured) -> dict[str, Any]:
    rates = {name: stage["tasks"] / working_seconds(facts) for name, stage in facts["stages"].items()}
    return {"ceilings": find_ceilings(facts, run), "measured_rate_per_second": rates}


def _without_verdict(
    facts: Mapping[str, Any], run: Measured, bottleneck: dict[str, Any], doubt: str
) -> dict[str, Any]:
    """What is left to say of a run that was too short, or waited too much, to judge its modes."""
    hints = list(whatever_the_modes(facts))
    choices = [
        {"stage": name, "mode": stage["mode"], "workers": stage["workers"], "brief": doubt, "verdict": doubt,
         "evidence": [], "alternatives": []}
        for name, stage in facts["stages"].items()
    ]  # fmt: skip
    return unknown(bottleneck, doubt) | _ceilings(facts, run) | {
        "verdict": [_held_back(bottleneck), _modes_text(facts, choices[:1]), best_text(hints)],
        "choices": choices,
        "hints": [hint.to_json() for hint in hints],
    }
