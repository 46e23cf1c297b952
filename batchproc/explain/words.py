"""Numbers as people read them: seconds, bytes, shares, counts."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchproc.record.explanation import Alternative, ExecutionPlan, Value
    from batchproc.record.run_json import Counts
    from batchproc.record.run_parts import StageRecord

# a category of a time breakdown -> what people call it, in the order to show them
CATEGORIES: Mapping[str, str] = {
    "cpu": "computing",
    "cpu_gil_free": "computing, without the GIL",
    "cpu_gil_held": "computing, holding the GIL",
    "gil_wait": "waiting for the GIL",
    "run_queue": "ready, but no core was free",
    "network": "waiting for the network",
    "disk_or_lock": "waiting for the disk or a lock",
    "blocked": "blocked, cause unknown",
    "output_blocked": "finished, waiting for room behind it",
    "starved": "idle: nothing to work on",
    "retry_wait": "waiting for a retry",
    "pause_wait": "waiting for a paused or paced host",
    "ipc": "handing over between processes",
    "startup": "starting up",
    "unstaffed": "worker not running",
    "unexplained": "unexplained",
}
STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")  # of a list's items
SECOND_UNITS = ((1.0, "s", 1.0), (1e-3, "ms", 1e3), (1e-6, "µs", 1e6))
SIZE_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def seconds(value: float | None) -> str:
    """As `4.1 s`, `17 ms`, `2 min 05 s`, `−3 ms`; `unknown` for None."""
    if value is None:
        return "unknown"
    if value < 0:
        return f"−{seconds(-value)}"
    if value >= 3600:
        return f"{value // 3600:.0f} h {value % 3600 // 60:02.0f} min"
    if value >= 120:
        return f"{value // 60:.0f} min {value % 60:02.0f} s"
    for floor, unit, factor in SECOND_UNITS:
        if value >= floor:
            return f"{significant(value * factor)} {unit}"
    return "0 s" if value == 0 else f"{significant(value * 1e6)} µs"


def size(value: float | None) -> str:
    """As `155 KB`, powers of ten; `unknown` for None."""
    if value is None:
        return "unknown"
    for floor, unit in SIZE_UNITS:
        if value >= floor:
            return f"{significant(value / floor)} {unit}"
    return f"{value:.0f} bytes"


def share(value: float | None) -> str:
    """As `12%`; `unknown` for None."""
    if value is None:
        return "unknown"
    return f"{100 * value:.1f}%" if 0 < value < 0.01 else f"{100 * value:.0f}%"


def count(number: int, noun: str) -> str:
    """As `1 item`, `240 items`, `12,000 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, as `4.1 ms`, `7.2 MB per worker`, `3.1 times` (unit `x`), `2 cores`, `1 item`."""
    if value < 0:
        return f"−{quantity(-value, unit)}"
    base, _, each = unit.partition("/")
    if base in SCALED:
        return f"{SCALED[base](value)}{f' per {each}' if each else ''}"
    if unit == "x":
        return f"{significant(value)} times"
    number = f"{value:,.0f}" if value == int(value) else significant(value)
    return f"{number} {unit.removesuffix('s') if number == '1' and not each else unit}".strip()


def states(counts: "Counts") -> str:
    """As `232 done, 8 failed`; only those that there are, but `done` in any case."""
    found = {state: getattr(counts, state) for state in STATES}
    return ", ".join(f"{number:,} {state}" for state, number in found.items() if number or state == "done")


def significant(value: float | None) -> str:
    """Three digits at most before rounding, no exponent; `unknown` for None."""
    if value is None:
        return "unknown"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def per_second(value: float | None) -> str:
    """As `79.3/s`; `unknown` for None and 0."""
    return f"{significant(value)}/s" if value else "unknown"


SCALED: Mapping[str, Callable[[float], str]] = {"s": seconds, "bytes": size, "share": share}


def workers(stage: "StageRecord | Alternative") -> str:
    """The workers of a stage, as `32 threads`, `1 process`."""
    return workers_text(stage.mode, stage.workers)


def workers_text(mode: str, number: int) -> str:
    """As `32 threads`, `1 process`, `1 worker`."""
    if mode == "process":
        return "1 process" if number == 1 else f"{number:,} processes"
    return count(number, "thread" if mode == "thread" else "worker")


def pair(plan: "ExecutionPlan") -> str:
    """As `32 threads + 2 processes`."""
    sides = ((plan.download, plan.download_workers), (plan.transform, plan.transform_workers))
    return " + ".join("serial" if mode == "serial" else workers_text(mode, number) for mode, number in sides)


def cores(number: float) -> str:
    """As `2 cores`, `1 core`, `1.5 cores`."""
    return f"{significant(number)} core{'' if significant(number) == '1' else 's'}"


KINDS: Mapping[str, Callable[[float | None], str]] = {
    "seconds": seconds,
    "share": share,
    "rate": significant,
    "cores": lambda value: cores(value or 0.0),
    "whole": lambda value: f"{value or 0.0:.0f}",
    "tenths": lambda value: f"{value or 0.0:.1f}",
    "processes": lambda value: workers_text("process", round(value or 0)),
}
_FIELD = re.compile(r"{(\w+)(?::(\w+))?(?: (\w+))?}")


class Words:
    """The values of a finding, each as people read it."""

    def __init__(self, values: "Mapping[str, Value]") -> None:
        self._values = values

    def number(self, name: str) -> float | None:
        """A number; None where it is not known."""
        value = self._values.get(name)
        return None if value is None or isinstance(value, str) else value

    def text(self, name: str) -> str:
        """A word of the config, a whole number, or a code."""
        return str(self._values.get(name, ""))

    def fill(self, text: str) -> str:
        """The text with its fields filled: `{stage}` as it is, `{cpu_seconds:seconds}` by one of `KINDS`.

        Also `{items:count image}`, and `{workers:workers mode}` with the mode under that name.
        """
        return _FIELD.sub(self._fill, text)

    def _fill(self, field: "re.Match[str]") -> str:
        name, kind, more = field.groups()
        if kind is None:
            return self.text(name)
        if kind == "workers":
            return workers_text(self.text(more), round(self.number(name) or 0))
        return count(round(self.number(name) or 0), more) if kind == "count" else KINDS[kind](self.number(name))
