"""The claims of a bench: the textbook's statements with what this machine's numbers say to them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.words import seconds, share, significant, size
from batchproc.redact import redact_text
from batchproc.report.bench_files import Facts, times

SCALED: dict[str, Callable[[float], str]] = {"s": seconds, "bytes": size, "share": share}
CLAIM_WORDS = {
    "holds": ("✓ holds", "good"),
    "holds_here_not_there": ("◐ holds here, not there", "unknown"),
    "refuted": ("✗ refuted", "bad"),
    "not_measured": ("? not measured", "unknown"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """A statement of the textbook, what was found, and what it means here. `numbers`: name and figure."""

    number: str
    statement: str
    sign: str
    tone: str
    numbers: Sequence[tuple[str, str]]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRow:
    """One controlled experiment: what it asks, how it went, its figures."""

    question: str
    how: str
    numbers: Sequence[tuple[str, str]]


def view_experiments(facts: Facts) -> list[ExperimentRow]:
    """The experiments behind the claims, in their order."""
    return [
        ExperimentRow(
            question=str(one.get("question") or one.get("name") or "unknown"),
            how=str(one.get("failure") or "") or f"took {seconds(one.get('seconds'))}; other programs used "
            f"{share(one.get('others_cpu_share'))} of the CPU",
            numbers=list(_numbers(one.get("numbers"))),
        )
        for one in facts.get("experiments") or () if isinstance(one, Mapping)
    ]  # fmt: skip


def view_claims(facts: Facts) -> list[ClaimRow]:
    """The claims that were judged, in their order."""
    return [_claim(one) for one in facts.get("claims") or () if isinstance(one, Mapping)]


def _claim(one: Facts) -> ClaimRow:
    word = str(one.get("verdict", ""))
    sign, tone = CLAIM_WORDS.get(word, (word or "? unknown", "unknown"))
    return ClaimRow(
        number=str(one.get("id", "")),
        statement=str(one.get("statement", "")),
        sign=sign,
        tone=tone,
        numbers=list(_numbers(one.get("numbers"))),
        meaning=str(one.get("meaning") or ""),
    )


def _numbers(found: Any) -> Iterator[tuple[str, str]]:
    """The figures of a claim; what is no figure is left out."""
    for entry in found if isinstance(found, list | tuple) else ():
        if isinstance(entry, Mapping) and entry.get("name"):
            where = "" if entry.get("x") is None else f" at {_figure(entry['x'], str(entry.get('x_unit') or ''))}"
            yield f"{_readable(str(entry['name']))}{where}", _with_interval(entry)


def _readable(name: str) -> str:
    """A figure's name in words; secrets go first, for they are no longer known as such afterwards."""
    return redact_text(name).replace("_", " ").replace(".", ": ")


def _with_interval(entry: Facts) -> str:
    unit, low, high = str(entry.get("unit") or ""), entry.get("low"), entry.get("high")
    told = _figure(entry.get("value"), unit)
    if low is None or high is None:
        return told
    scaled = unit.partition("/")[0]
    bare = scaled if scaled in SCALED else ""
    return f"{told} ({_figure(low, bare)} to {_figure(high, bare)})"


def _figure(value: Any, unit: str) -> str:
    """A figure with its unit as people read it."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "unknown"
    if unit == "x":
        return times(value)
    if value < 0:
        return f"−{_figure(-value, unit)}"
    scaled, _, each = unit.partition("/")
    if scaled in SCALED:
        return f"{SCALED[scaled](value)}{f' per {each}' if each else ''}"
    return f"{f'{value:,.0f}' if value == int(value) else significant(value)} {unit}".strip()
