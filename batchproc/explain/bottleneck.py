"""Which stage held the run back, in one sentence with its numbers. Unknown is a valid answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchproc.explain.words import share, workers

BUSY = 0.9  # a stage whose workers are busier than that sets the pace (EVIDENCE: utilisation >= 90 %)
SOME = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The stage that held the run back, or None, and why."""

    stage: str | None
    because: str


def find_bottleneck(facts: Mapping[str, Any]) -> Bottleneck:
    """Judges by two independent measures: how busy each stage's workers were, and who waited for whom."""
    stages = facts.get("stages", {})
    if not facts["counts"]["processed"] or len(stages) < 2:
        return Bottleneck(stage=None, because="nothing was processed, so nothing held the run back")
    download, transform = stages["download"], stages["transform"]
    busy = {name: stage["utilisation"] or 0.0 for name, stage in stages.items()}
    starved = _share(transform, "starved")
    held_up = _share(download, "output_blocked")
    if busy["transform"] >= BUSY:
        return Bottleneck(
            stage="transform",
            because=f"transform: its {workers(transform)} were busy {share(busy['transform'])} of the time, while "
            f"finished downloads waited for room {share(held_up)} of the download workers' time",
        )
    if busy["download"] >= BUSY or (busy["download"] > busy["transform"] and starved > SOME):
        return Bottleneck(
            stage="download",
            because=f"download: its {workers(download)} were busy {share(busy['download'])} of the time, while "
            f"transform waited for input {share(starved)} of its workers' time",
        )
    if starved > SOME and busy["download"] < BUSY:
        return Bottleneck(
            stage="download",
            because=f"download: transform waited for input {share(starved)} of its workers' time, though the download "
            f"{workers(download)} were busy only {share(busy['download'])}: what may start at once is limited "
            "(per_host, start-up, or a short list)",
        )
    return Bottleneck(
        stage=None,
        because=f"unknown: download workers were busy {share(busy['download'])} and transform workers "
        f"{share(busy['transform'])} of the time, neither at its limit",
    )


def _share(stage: Mapping[str, Any], key: str) -> float:
    whole = stage["workers"] * stage["wall_seconds"]
    return float(stage["account"][key]) / whole if whole else 0.0

