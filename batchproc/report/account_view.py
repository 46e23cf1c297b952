"""A stage on the page: its account as a bar and a table, and its ceilings against the measured rate."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.explain.words import seconds, share, significant, workers
from batchproc.record.explanation import Ceiling, Choice
from batchproc.record.run import RunRecord
from batchproc.record.stage import StageRecord
from batchproc.report.charts import Part, account_bar, ceiling_bars, ceiling_name
from batchproc.report.palette import BUCKETS
from batchproc.report.svg import Chart, Label

SMALL = 0.0005  # shares below this are told together


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage: its record, and what is made of it. `tiny`: the buckets that are too small for a row."""

    name: str
    stage: StageRecord
    choice: Choice
    chart: Chart
    rows: Sequence[Part]
    tiny: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingView:
    """The ceilings of one stage."""

    name: str
    chart: Chart | None
    ceilings: Sequence[Ceiling]


def view_stages(record: RunRecord) -> list[StageView]:
    """Every stage of the run, in its order."""
    choices = {choice.stage: choice for choice in record.choices}
    return [_view_stage(name, stage, choices.get(name)) for name, stage in record.stages.items()]


def view_ceilings(record: RunRecord) -> list[CeilingView]:
    """The ceilings that the explanation found, stage by stage."""
    rates = record.measured_rate_per_second
    return [
        _view_ceilings(name, record.ceilings[name], rates.get(name))
        for name in record.stages if record.ceilings.get(name)
    ]  # fmt: skip


def _view_stage(name: str, stage: StageRecord, choice: Choice | None) -> StageView:
    rows, tiny = _parts_of(stage)
    sentence = _account_sentence(name, stage, rows)
    label = Label(name=f"account-{name}", title=f"Where the time of {name} went", sentence=sentence)
    unknown = f"Unknown: this run.json does not say why {name} ran in {stage.mode} mode."
    return StageView(
        name=name,
        stage=stage,
        choice=choice or Choice(stage=name, verdict=unknown),
        chart=account_bar(label, rows),
        rows=rows,
        tiny=tiny,
    )


def _parts_of(stage: StageRecord) -> tuple[list[Part], str]:
    """The rows worth a line, and a phrase for the rest. A bucket that this program does not know keeps its name."""
    whole = stage.whole_seconds
    known = [(key, *BUCKETS.get(key, ("unexplained", key.replace("_", " ")))) for key in stage.account]
    order = list(BUCKETS)
    known.sort(key=lambda entry: order.index(entry[0]) if entry[0] in order else len(order))
    rows: list[Part] = []
    tiny: list[str] = []
    for key, role, words in known:
        value = stage.account[key]
        part = value / whole if whole else 0.0
        if abs(part) < SMALL:
            tiny.append(words)
        else:
            rows.append(Part(number=len(rows) + 1, words=words, seconds=value, share=part, role=role))
    return rows, "; ".join(tiny)


def _account_sentence(name: str, stage: StageRecord, rows: Sequence[Part]) -> str:
    if not rows:
        return f"{name} had no worker-seconds to account for."
    largest = sorted(rows, key=lambda row: -row.share)[:3]
    told = ", ".join(f"{share(row.share)} {row.words}" for row in largest)
    return f"Of the {seconds(stage.whole_seconds)} that {workers(stage)} had for {name}: {told}."


def gil_words(stage: StageRecord) -> str:
    """How long the workers waited for the GIL, and how that was found."""
    waited, error = stage.account.get("gil_wait"), stage.gil_error_seconds
    if stage.gil_method == "unknown" or waited is None:
        return "Waiting for the GIL: unknown; where there was any, it is part of a blocked bucket."
    margin = f" ± {seconds(error)}" if error else ""
    how = {"sampled": "sampled from outside the process", "residual": "what is left over in a stage without waits"}
    return f"Waiting for the GIL: {seconds(waited)}{margin}, {how.get(stage.gil_method, stage.gil_method)}."


def _view_ceilings(name: str, ceilings: Sequence[Ceiling], measured: float | None) -> CeilingView:
    sentence = _ceiling_sentence(name, ceilings, measured)
    label = Label(name=f"ceilings-{name}", title=f"Ceilings of {name}", sentence=sentence)
    is_known = measured is not None and any(one.rate_per_second is not None for one in ceilings)
    chart = ceiling_bars(label, ceilings, measured or 0.0) if is_known else None
    return CeilingView(name=name, chart=chart, ceilings=ceilings)


def _ceiling_sentence(name: str, ceilings: Sequence[Ceiling], measured: float | None) -> str:
    """Which ceiling is reached, by the figures."""
    if measured is None:
        return f"The rate of {name} is unknown."
    did = f"{name} did {significant(measured)} items/s"
    known = [(one.rate_per_second, one) for one in ceilings if one.rate_per_second]
    binding = [(rate, one) for rate, one in known if one.binds]
    if binding:
        told = " and ".join(f"{ceiling_name(one)} ({significant(rate)}/s)" for rate, one in binding)
        nearest = min(rate for rate, _ in binding)
        return f"{did}: {share(measured / nearest)} of the ceiling that binds, {told}."
    if not known:
        return f"{did}; none of its ceilings is known."
    rate, lowest = min(known, key=lambda pair: pair[0])
    return f"{did}; no ceiling binds, the lowest is {ceiling_name(lowest)} at {significant(rate)}/s."
