"""bench.json as the page needs it: which rounds count, which cases belong together, how fast one is against another."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from batchproc.errors import UsageError

FILE_NAME = "bench.json"
WORDS = {  # verdict as seen from a case: what the reader sees, tone, sign
    "faster": ("▲ faster", "good"),
    "slower": ("▼ slower", "bad"),
    "tie": ("= tie", "quiet"),
    "undecided": ("? undecided", "unknown"),
}

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How fast a case is against a reference: 2 is twice as fast. `word` is a key of WORDS."""

    speed: float
    interval: tuple[float, float] | None
    word: str
    comparison: Facts

    @property
    def favourable(self) -> int:
        """In how many rounds the one that is faster by the middle was faster."""
        return max(int(self.comparison.get("faster_rounds") or 0), int(self.comparison.get("slower_rounds") or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that are compared with one baseline: the whole runs, or one stage alone. `again`: its second run's name."""

    title: str
    baseline: str
    cases: Sequence[Facts]
    again: str = ""


def read_bench(folder: Path) -> dict[str, Any]:
    """bench.json. Raises `UsageError` when it is none."""
    path = folder / FILE_NAME
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {type(error).__name__}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("rounds"), list) or "schema" not in facts:
        raise UsageError(f"{path}: is not the bench.json of a batchproc bench")
    return facts


def baseline_of(facts: Facts) -> str:
    """The name of the case that all are compared with; empty in a bench of experiments alone."""
    return str(facts.get("baseline") or "")


def groups_of(facts: Facts) -> list[Group]:
    """The whole runs, then each stage that also ran alone; the fastest median first."""
    cases = sorted(facts.get("cases") or (), key=lambda case: -float(case["median_rate_per_second"]))
    whole = [case for case in cases if not case.get("alone")]
    groups = []
    if whole:
        groups.append(Group(title="Whole runs", baseline=baseline_of(facts), cases=whole,
                            again=str(facts.get("baseline_again") or "")))  # fmt: skip
    for stage in ("download", "transform"):
        alone = [case for case in cases if case.get("alone") == stage]
        serial = next((str(case["name"]) for case in alone if case["download"] == "serial"), "")
        if alone:
            groups.append(Group(title=f"{stage.capitalize()} alone", baseline=serial, cases=alone))
    return groups


def whole_runs(facts: Facts) -> list[Facts]:
    """The cases that ran both stages, the fastest median first."""
    groups = groups_of(facts)
    return list(groups[0].cases) if groups and not groups[0].cases[0].get("alone") else []


def relate(facts: Facts, name: str, reference: str) -> Relation | None:
    """From the planned comparison of the two, whichever way round; None when there is none."""
    for one in facts.get("comparisons") or ():
        if {one["pair"], one["against"]} != {name, reference} or name == reference:
            continue
        interval = one.get("interval")
        is_pair = one["pair"] == name
        word = str(one["verdict"])
        if word == "win":
            word = "faster" if one["winner"] == name else "slower"
        return Relation(
            speed=1 / one["ratio"] if is_pair else one["ratio"],
            interval=None if not interval else (1 / interval[1], 1 / interval[0]) if is_pair else tuple(interval),
            word=word if word in WORDS else "undecided",
            comparison=one,
        )
    return None


def points_of(facts: Facts, name: str, baseline: str) -> list[tuple[float, str]]:
    """The speed of a case against the baseline's first run in every complete round, and what became of the round.

    Of each round the last attempt counts; an earlier one was set aside by the rule for disturbed rounds.
    """
    made = [one for one in facts["rounds"] if one.get("complete") and one.get("number")]
    last = {one["number"]: at for at, one in enumerate(made)}
    points = []
    for at, one in enumerate(made):
        own, other = one["runs"].get(name), one["runs"].get(baseline)
        if own and other and own["seconds"] and other["seconds"]:
            kind = "set_aside" if last[one["number"]] != at else "disturbed" if one.get("disturbances") else "counted"
            points.append((other["seconds"] / own["seconds"], kind))
    return points


def middle_of(points: Sequence[tuple[float, str]]) -> float | None:
    """The median speed of the rounds that count."""
    counting = [speed for speed, kind in points if kind != "set_aside"]
    return median(counting) if counting else None


def speed_error(prediction: Facts) -> float | None:
    """The error of a predicted speed, 0.1 for 10 % too fast; bench.json has the error of the predicted time."""
    error = prediction.get("error")
    return None if error is None or error <= -1 else 1 / (1 + error) - 1


def prediction_errors(facts: Facts) -> list[float]:
    """The errors of all predicted speeds but the baselines' own, which are right by definition."""
    rows = [row for row in facts.get("predictions") or () if row.get("ratio") != 1.0]
    return [abs(error) for row in rows if (error := speed_error(row)) is not None]


def median_error(facts: Facts) -> float | None:
    """The middle one of them."""
    errors = prediction_errors(facts)
    return median(errors) if errors else None


def times(speed: float) -> str:
    """As `× 3.12`, kept on one line."""
    return f"×\u00a0{speed:.2f}" if speed < 9.995 else f"×\u00a0{speed:.1f}"


def from_to(interval: tuple[float, float] | None) -> str:
    """As `2.98 to 3.25`; empty when there are too few rounds for an interval."""
    return f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
