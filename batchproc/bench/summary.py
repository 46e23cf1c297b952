"""The closing text of a bench, from bench.json alone.

It tells speeds, as the page does: `x 2` is twice as fast. bench.json has ratios of times, which are the inverse.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from batchproc.explain.words import count, seconds, share, significant

RIGHT = ("images/s", "speed", "predicted")


def summarise_bench(facts: Mapping[str, Any], folder: Path) -> str:
    """The text for people: noise, table of cases, winner and why, where things are."""
    return "\n".join(_lines(facts, folder))


def _lines(facts: Mapping[str, Any], folder: Path) -> Iterator[str]:
    counts, cases = facts["contamination"], facts["cases"]
    yield f"{facts['job']}: {count(len(cases), 'case')} and the baseline again, {count(counts['rounds'], 'round')}"
    yield f"  pictures    {facts['material']['text']}"
    yield f"  noise       {_noise(facts['noise_floor'])}"
    yield f"  rounds      {counts['text']}"
    yield f"  cold start  {_cold_start(facts)}"
    yield ""
    yield from _table(facts, "", facts["baseline"], facts["favourite"])
    yield ""
    for stage in dict.fromkeys(case["alone"] for case in cases if case["alone"]):
        yield from _table(facts, stage, f"{stage} alone: serial", f"{stage} alone: process")
        yield ""
    yield f"  winner      {facts['winner']['text']}"
    if facts["calibration"]:
        yield f"  why         {facts['calibration']['text']}"
        yield f"              {facts['winner']['because']}"
        yield f"  predicted   {_errors(facts['predictions'])}"
    for note in facts["notes"]:
        yield f"  note        {note}"
    yield "  outputs     byte-identical in every run of the same plan"
    yield f"  facts       {folder / 'bench.json'}"


def _noise(floor: Mapping[str, Any]) -> str:
    """How far two runs of the same case lie apart, and what difference is a tie."""
    words = (
        f"of the baseline's two runs of a round, one has {_speed(floor)} the speed of the other; within "
        f"{share(math.expm1(floor['margin']))} is a tie"
    )
    doubt = "; the two differ by more than chance explains" if floor.get("suspicious") else ""
    return f"{words if floor['interval'] else words.replace(';', ' (too few rounds for an interval);', 1)}{doubt}"


def _cold_start(facts: Mapping[str, Any]) -> str:
    """The first run's time outside the line, against the same of the baseline's later runs."""
    cold, name = facts["cold_start"], facts["baseline"]
    case = next(case for case in facts["cases"] if case["name"] == name)
    warm = case["command_seconds"] - median(case["seconds"])
    return (
        f"the very first run took {seconds(cold['outside_line_seconds'])} besides its line (interpreter, list, "
        f"ledger), later ones {seconds(warm)}; the table's times are of the line alone"
    )


def _table(facts: Mapping[str, Any], alone: str, baseline: str, favourite: str) -> Iterator[str]:
    """A row per case, the fastest median first: rate, speed against the baseline, verdicts."""
    cases = [case for case in facts["cases"] if (case["alone"] or "") == alone]
    against_baseline = {one["pair"]: one for one in facts["comparisons"] if one["against"] == baseline}
    against_favourite = {one["against"]: one for one in facts["comparisons"] if one["pair"] == favourite}
    predicted = {row["case"]: row["ratio"] for row in facts["predictions"]}
    rows = [["case", "images/s", "speed", "predicted", f"against {baseline}", f"against {favourite}"]]
    for case in sorted(cases, key=lambda each: -each["median_rate_per_second"]):
        name = case["name"]
        own, rival = against_baseline.get(name), against_favourite.get(name)
        rows.append(
            [
                name,
                significant(case["median_rate_per_second"]),
                _speed(own) if own else "x 1",
                f"x {1 / predicted[name]:.2f}" if predicted.get(name) else "unknown",
                _verdict(own, name) if own else "",
                _verdict(rival, name) if rival and name != baseline else "",
            ]
        )
    if favourite in ("", baseline) or favourite not in {case["name"] for case in cases}:
        rows = [row[:-1] for row in rows]
    yield from _aligned(rows)


def _speed(of: Mapping[str, Any]) -> str:
    """As `x 2.05 (1.98 to 2.13)`: how many times as fast, from a ratio of times with its interval."""
    interval = of["interval"]
    span = f" ({1 / interval[1]:.2f} to {1 / interval[0]:.2f})" if interval else ""
    return f"x {1 / of['ratio']:.2f}{span}"


def _verdict(comparison: Mapping[str, Any], name: str) -> str:
    """The verdict as seen from one of the two, with the reason in short; bench.json has it in full."""
    is_pair = comparison["pair"] == name
    if comparison["verdict"] == "win":
        faster = comparison["winner"] == name
        rounds = comparison["faster_rounds"] if faster == is_pair else comparison["slower_rounds"]
        word = "faster" if faster else "slower"
        return f"{word} in {rounds} of {comparison['rounds']} rounds, p = {comparison['p_adjusted']:.2g}"
    if comparison["verdict"] == "tie":
        return "tie: inside the margin"
    needed = comparison["rounds_to_decide"]
    return f"undecided: {f'about {needed} rounds would decide' if needed else 'more than 100 rounds'}"


def _errors(predictions: Sequence[Mapping[str, Any]]) -> str:
    errors = [abs(1 / (1 + row["error"]) - 1) for row in predictions[1:] if row["error"] is not None]
    if not errors:
        return "unknown"
    off = f"{share(median(errors))} (median), {share(max(errors))} (most)"
    return f"before the first round; the speeds were off by {off}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    heads = rows[0]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if head in RIGHT else text.ljust(width)
            for head, text, width in zip(heads, row, widths, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()
