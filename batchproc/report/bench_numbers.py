"""The experiments' figures as their charts need them: single ones, and curves. What is not there is told."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchproc.redact import redact_text
from batchproc.report.bench_files import Facts


class Missing(Exception):
    """A chart cannot be drawn; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A median with all values behind it. `low` and `high`: its interval, None for too few values."""

    value: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; where there is none, the least and the most that were seen."""
        if self.low is None or self.high is None:
            return min(self.values), max(self.values)
        return self.low, self.high


class Lab:
    """The experiments of one bench by name. Elements of bench.json that are no experiments are as good as absent."""

    def __init__(self, facts: Facts) -> None:
        made = [one for one in facts.get("experiments") or () if isinstance(one, Mapping)]
        self._made = {str(one.get("name")): one for one in made}

    def __bool__(self) -> bool:
        return bool(self._made)

    def one(self, experiment: str, name: str) -> Figure:
        """A figure without a place on an axis. Raises `Missing`."""
        found = [figure for x, figure in self._figures(experiment, name) if x is None]
        if not found:
            raise Missing(self._why(experiment, name))
        return found[0]

    def curve(self, experiment: str, name: str) -> dict[float, Figure]:
        """The figures of that name by their place, ascending; all are above 0, places may be 0. Raises `Missing`."""
        found = {x: figure for x, figure in self._figures(experiment, name) if x is not None and x >= 0
                 and min(figure.values) > 0}  # fmt: skip
        if not found:
            raise Missing(self._why(experiment, name))
        return dict(sorted(found.items()))

    def names(self, experiment: str) -> list[str]:
        """The names of an experiment's figures, each once, in their order."""
        return list(dict.fromkeys(str(entry["name"]) for entry in self._entries(experiment)))

    def others(self, experiment: str) -> float | None:
        """The share of the machine's CPU that other programs used meanwhile."""
        return _number(self._made.get(experiment, {}).get("others_cpu_share"))

    def made_again(self, experiment: str) -> int:
        """How many rounds were disturbed so much that they were made again."""
        names = [name for name in self.names(experiment) if name.endswith("rounds_made_again")]
        return round(sum(self.one(experiment, name).value for name in names))

    def experiments(self) -> list[str]:
        """The names of all that were made."""
        return list(self._made)

    def _entries(self, experiment: str) -> Iterator[Mapping[str, Any]]:
        numbers = self._made.get(experiment, {}).get("numbers")
        for entry in numbers if isinstance(numbers, list | tuple) else ():
            if isinstance(entry, Mapping) and entry.get("name"):
                yield entry

    def _figures(self, experiment: str, name: str) -> Iterator[tuple[float | None, Figure]]:
        for entry in self._entries(experiment):
            value, x = _number(entry.get("value")), _number(entry.get("x"))
            if entry["name"] != name or value is None or (x is None and entry.get("x") is not None):
                continue
            values = entry.get("values")
            listed = map(_number, values) if isinstance(values, list | tuple) else ()
            seen = tuple(each for each in listed if each is not None) or (value,)
            low, high = (_number(entry.get(end)) for end in ("low", "high"))
            yield x, Figure(value=value, low=low, high=high, values=seen)

    def _why(self, experiment: str, name: str) -> str:
        if experiment not in self._made:
            return f"the experiment {experiment} was not made; --experiments makes all of them"
        failure = self._made[experiment].get("failure")
        return redact_text(str(failure)) if failure else f"the experiment {experiment} gave no {name}"


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return None
