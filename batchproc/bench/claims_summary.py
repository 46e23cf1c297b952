"""The claims as a table for the terminal, from bench.json alone."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchproc.bench.record import FILE_NAME
from batchproc.bench.summary import summarise_bench
from batchproc.explain.words import count, seconds, share

VERDICTS = {
    "holds": "holds",
    "holds_here_not_there": "here, not there",
    "refuted": "refuted",
    "not_measured": "not measured",
}
WIDTH = 116
INDENT = " " * 22
BUSY_SHARE = 0.1


def summarise_with_claims(facts: Mapping[str, Any], folder: Path) -> str:
    """The closing text of a bench: its rounds, if it has any, and its claims, if it judged them."""
    parts = [summarise_bench(facts, folder)] if facts["cases"] else []
    if facts["claims"]:
        parts.append("\n".join(_lines(facts)))
    if not facts["cases"]:
        heading = f"{facts['job']}: {count(len(facts['experiments']), 'controlled experiment')}, no rounds"
        parts = [heading, *parts, f"  facts       {folder / FILE_NAME}"]
    return "\n\n".join(parts)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for claim in facts["claims"]:
        yield f"  {claim['id']:>2}  {VERDICTS[claim['verdict']]:<16}  {claim['statement']}"
        yield from textwrap.wrap(claim["meaning"], WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    counts = Counter(claim["verdict"] for claim in facts["claims"])
    told = ", ".join(f"{counts[verdict]} {word}" for verdict, word in VERDICTS.items() if counts[verdict])
    yield ""
    yield f"  claims      {told}"
    yield f"  took        {seconds(sum(one['seconds'] for one in facts['experiments']))}"
    busy = [one for one in facts["experiments"] if one["others_cpu_share"] > BUSY_SHARE]
    if busy:
        worst = max(one["others_cpu_share"] for one in busy)
        yield (
            f"  noise       in {count(len(busy), 'experiment')} other programs used up to {share(worst)} of the "
            "machine: a quieter one gives narrower figures"
        )
    for one in facts["experiments"]:
        if one["failure"]:
            yield f"  note        {one['name']}: {one['failure']}"
