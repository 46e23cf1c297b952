"""How a run with `mode = "auto"` came to its modes: what was predicted, what was tried, what it went on with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.auto import name
from batchproc.explain.predict import Variant
from batchproc.explain.words import seconds, significant

CREW = ("download", "download_workers", "transform", "transform_workers")
_BOUNDS = {
    "cores": "the cores",
    "gil": "the one GIL of the main process",
    "pipe": "copying images through pipes",
    "per_host": "the limit of connections to one host",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoView:
    """`candidates`: modes, predicted images/s, time for the rest of the work, what would set the pace, whether chosen.

    `legs`: modes, items, time, images/s. `inputs`: what the prediction was made from, name and value.
    """

    text: str
    candidates: Sequence[tuple[str, str, str, str, bool]]
    legs: Sequence[tuple[str, str, str, str]]
    inputs: Sequence[tuple[str, str]]


def view_auto(facts: Mapping[str, Any]) -> AutoView | None:
    """None for a run whose config names both modes."""
    auto = facts.get("auto")
    if not auto:
        return None
    return AutoView(
        text=auto["text"],
        candidates=[_candidate(one, auto["chosen"]) for one in auto["candidates"]],
        legs=[_leg(leg) for leg in auto["legs"]],
        inputs=_inputs(auto["inputs"]) if auto["inputs"] else [],
    )


def leg_note(facts: Mapping[str, Any]) -> str:
    """Which part of the run the stages' figures are of; empty when it is the whole."""
    leg, processed = facts.get("leg"), facts["counts"]["processed"]
    if not leg or leg["items"] == processed:
        return ""
    if leg["number"] == 1:
        return f"They are of the run's first {leg['items']:,} of {processed:,} items, when the modes were weighed."
    return f"They are of the run's last {leg['items']:,} of {processed:,} items, in the modes that were found."


def _candidate(one: Mapping[str, Any], chosen: Mapping[str, Any]) -> tuple[str, str, str, str, bool]:
    workers = f"the workers of {one['bound_stage']}" if one["bound_stage"] else "one thread for everything"
    return (
        _pair(one),
        significant(one["predicted_rate_per_second"]),
        seconds(one["rest_seconds"]),
        _BOUNDS.get(one["bound"], workers),
        all(one[key] == value for key, value in chosen.items()),
    )


def _leg(leg: Mapping[str, Any]) -> tuple[str, str, str, str]:
    rate = leg["rate_per_second"]
    return _pair(leg), f"{leg['items']:,}", seconds(leg["seconds"]), significant(rate) if rate else "unknown"


def _pair(one: Mapping[str, Any]) -> str:
    return name(Variant(**{key: one[key] for key in CREW}))


def _inputs(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    download, transform = inputs["download"], inputs["transform"]
    return [
        ("items measured", f"{inputs['items']:,}"),
        ("waiting per download", seconds(download["blocked_seconds"])),
        ("CPU per download", seconds(download["cpu_seconds"])),
        ("CPU per transform", seconds(transform["cpu_seconds"])),
        ("share of the transform's CPU that holds the GIL", f"{100 * transform['phi']:.0f} %"),
        ("the parent's own CPU per item", seconds(inputs["glue_seconds"])),
        ("cores free for this run", f"{inputs['cores']:.1f}"),
    ]
