"""A stage on the page: its account as a bar and a table, why its mode, and its ceilings against the measured rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from batchproc.explain.words import seconds, share, significant, workers
from batchproc.report.canvas import Label
from batchproc.report.charts import RateBar, Segment, account_bar, ceiling_bars
from batchproc.report.palette import BUCKETS, css_reference

SMALL = 0.0005  # shares below this are told together
CEILING_NAMES = {
    "workers": "workers",
    "cores": "cores",
    "gil": "Python's GIL",
    "pipe": "pipes",
    "network": "network",
    "per_host": "host limits",
    "source": "its supply",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRow:
    """A row of the account: number and colour as in the bar."""

    number: int
    words: str
    seconds: float
    share: float
    colour: str
    is_outlined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A fact behind a choice, with its figure as text; empty when the text says it all."""

    text: str
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another mode with its predicted speed against this run's."""

    what: str
    ratio: str
    span: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """An SVG with the sentence that says what it shows."""

    sentence: str
    svg: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage."""

    name: str
    setup: str
    figures: Sequence[tuple[str, str]]
    chart: Chart
    rows: Sequence[BucketRow]
    tiny: str
    whole_seconds: float
    notes: Sequence[str]
    gil: str
    verdict: str
    evidence: Sequence[Evidence]
    alternatives: Sequence[Alternative]
    parts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingView:
    """The ceilings of one stage."""

    name: str
    chart: Chart | None
    rows: Sequence[tuple[str, str, bool, str]]  # name, rate, binds, because


def view_stages(facts: Mapping[str, Any]) -> list[StageView]:
    """Every stage of run.json, in its order."""
    choices = {choice.get("stage"): choice for choice in facts.get("choices") or ()}
    return [_view_stage(name, stage, choices.get(name, {})) for name, stage in facts["stages"].items()]


def view_ceilings(facts: Mapping[str, Any]) -> list[CeilingView]:
    """The ceilings that the explanation found, stage by stage."""
    rates = facts.get("measured_rate_per_second") or {}
    ceilings = facts.get("ceilings") or {}
    return [_view_ceilings(name, ceilings[name], rates.get(name)) for name in facts["stages"] if ceilings.get(name)]


def _view_stage(name: str, stage: Mapping[str, Any], choice: Mapping[str, Any]) -> StageView:
    rows, tiny = _bucket_rows(stage)
    sentence = _account_sentence(name, stage, rows)
    label = Label(name=f"account-{name}", title=f"Where the time of {name} went", sentence=sentence)
    segments = [Segment(number=row.number, share=max(0.0, row.share), role=_role(row)) for row in rows]
    service = stage.get("service_seconds") or {}
    return StageView(
        name=name,
        setup=f"{stage['mode']} mode, {workers(stage)}",
        figures=[
            ("busy", share(stage.get("utilisation"))),
            ("per image, median", seconds(service.get("p50"))),
            ("95th percentile", seconds(service.get("p95"))),
            ("CPU per image", seconds(stage.get("cpu_per_item_seconds"))),
        ],
        chart=Chart(sentence=sentence, svg=account_bar(label, segments)),
        rows=rows,
        tiny=tiny,
        whole_seconds=_whole(stage),
        notes=list(stage.get("account_notes") or ()),
        gil=_gil_words(stage),
        verdict=choice.get("verdict") or f"Unknown: this run.json does not say why {name} ran in {stage['mode']} mode.",
        evidence=[_evidence(entry) for entry in choice.get("evidence") or ()],
        alternatives=[_alternative(entry) for entry in choice.get("alternatives") or ()],
        parts=_parts(stage),
    )


def _whole(stage: Mapping[str, Any]) -> float:
    return float(stage["workers"]) * float(stage["wall_seconds"])


def _bucket_rows(stage: Mapping[str, Any]) -> tuple[list[BucketRow], str]:
    """The rows worth a line, and a phrase for the rest. A bucket that this program does not know keeps its name."""
    whole = _whole(stage)
    known = [(key, *BUCKETS.get(key, ("unexplained", key.replace("_", " ")))) for key in stage["account"]]
    order = list(BUCKETS)
    known.sort(key=lambda entry: order.index(entry[0]) if entry[0] in order else len(order))
    rows: list[BucketRow] = []
    tiny: list[str] = []
    for key, role, words in known:
        value = float(stage["account"][key])
        part = value / whole if whole else 0.0
        if abs(part) < SMALL:
            tiny.append(words)
            continue
        rows.append(
            BucketRow(
                number=len(rows) + 1,
                words=words,
                seconds=value,
                share=part,
                colour=css_reference(role),
                is_outlined=role == "unstaffed",
            )
        )
    return rows, "; ".join(tiny)


def _role(row: BucketRow) -> str:
    return row.colour.removeprefix("var(--").removesuffix(")").replace("-", "_")


def _account_sentence(name: str, stage: Mapping[str, Any], rows: Sequence[BucketRow]) -> str:
    if not rows:
        return f"{name} had no worker-seconds to account for."
    largest = sorted(rows, key=lambda row: -row.share)[:3]
    told = ", ".join(f"{share(row.share)} {row.words}" for row in largest)
    return f"Of the {seconds(_whole(stage))} that {workers(stage)} had for {name}: {told}."


def _gil_words(stage: Mapping[str, Any]) -> str:
    method = stage.get("gil_method", "unknown")
    waited = (stage.get("account") or {}).get("gil_wait")
    if method == "unknown" or waited is None:
        return "Waiting for the GIL: unknown; where there was any, it is part of a blocked bucket."
    error = stage.get("gil_error_seconds")
    margin = f" ± {seconds(error)}" if error else ""
    how = {"sampled": "sampled from outside the process", "residual": "what is left over in a stage without waits"}
    return f"Waiting for the GIL: {seconds(waited)}{margin}, {how.get(method, method)}."


def _evidence(entry: Mapping[str, Any]) -> Evidence:
    value, unit = entry.get("value"), entry.get("unit") or ""
    return Evidence(text=str(entry.get("text", "")), figure="" if value is None else quantity(float(value), str(unit)))


def quantity(value: float, unit: str) -> str:
    """A figure with its unit as people read it: shares in per cent, seconds and bytes scaled."""
    if unit in ("share", "ratio of the whole"):
        return share(value)
    if unit in ("s", "seconds"):
        return seconds(value)
    text = f"-{significant(-value)}" if value < 0 else significant(value)
    return f"{text} {unit}".strip()


def _alternative(entry: Mapping[str, Any]) -> Alternative:
    number, mode, ratio = entry.get("workers"), str(entry.get("mode", "")), entry.get("predicted_ratio")
    low, high = entry.get("low"), entry.get("high")
    span = f"{low:.2f} to {high:.2f}" if low is not None and high is not None else ""
    return Alternative(
        what=workers({"workers": number, "mode": mode}) if isinstance(number, int) and mode != "serial" else mode,
        ratio="unknown" if ratio is None else f"× {ratio:.2f}",
        span=span,
        because=str(entry.get("because", "")),
    )


def _parts(stage: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The parts of the work, longest first: name, wall seconds, CPU seconds."""
    cpu = stage.get("parts_cpu") or {}
    parts = sorted((stage.get("parts") or {}).items(), key=lambda part: (-part[1], part[0]))
    return [(name.replace("_", " "), seconds(wall), seconds(cpu.get(name))) for name, wall in parts]


def _view_ceilings(name: str, entries: Sequence[Mapping[str, Any]], measured: float | None) -> CeilingView:
    sentence = _ceiling_sentence(name, entries, measured)
    bars = [RateBar(name=_ceiling(entry), rate=entry.get("rate_per_second"), binds=bool(entry.get("binds")))
            for entry in entries]  # fmt: skip
    label = Label(name=f"ceilings-{name}", title=f"Ceilings of {name}", sentence=sentence)
    is_known = measured is not None and any(bar.rate is not None for bar in bars)
    return CeilingView(
        name=name,
        chart=Chart(sentence=sentence, svg=ceiling_bars(label, bars, measured or 0.0)) if is_known else None,
        rows=[
            (
                _ceiling(entry),
                "unknown" if entry.get("rate_per_second") is None else f"{significant(entry['rate_per_second'])}/s",
                bool(entry.get("binds")),
                str(entry.get("because", "")),
            )
            for entry in entries
        ],
    )


def _ceiling(entry: Mapping[str, Any]) -> str:
    word = str(entry.get("name", ""))
    return CEILING_NAMES.get(word, word)


def _ceiling_sentence(name: str, entries: Sequence[Mapping[str, Any]], measured: float | None) -> str:
    """Which ceiling is reached, by the figures."""
    if measured is None:
        return f"The rate of {name} is unknown."
    binding = [entry for entry in entries if entry.get("binds") and entry.get("rate_per_second")]
    if binding:
        told = " and ".join(
            f"{_ceiling(entry)} ({significant(entry['rate_per_second'])}/s)" for entry in binding
        )
        nearest = min(float(entry["rate_per_second"]) for entry in binding)
        return (f"{name} did {significant(measured)} images/s: {share(measured / nearest)} of the ceiling that binds, "
                f"{told}.")  # fmt: skip
    rates = [entry for entry in entries if entry.get("rate_per_second")]
    if not rates:
        return f"{name} did {significant(measured)} images/s; none of its ceilings is known."
    lowest = min(rates, key=lambda entry: float(entry["rate_per_second"]))
    return (f"{name} did {significant(measured)} images/s; no ceiling binds, the lowest is {_ceiling(lowest)} "
            f"at {significant(lowest['rate_per_second'])}/s.")  # fmt: skip
