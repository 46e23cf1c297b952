"""One HTML file of one run or one bench: no script, no outside reference, under `PAGE_BYTES`, replaced whole."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from batchproc.bench.bench_json import read_bench
from batchproc.explain.explanation import explain
from batchproc.explain.wording import process_cost_text, spare_text
from batchproc.explain.words import count, pair, quantity, seconds, share, significant, size, workers
from batchproc.record.explanation import Candidate, Figure
from batchproc.record.run import read_run
from batchproc.redact import printable, redact_text
from batchproc.report.account_view import gil_words
from batchproc.report.bench_cases_view import forecast_sentence, signed, tint
from batchproc.report.bench_files import from_to, number_or_unknown, relate, seen_from, times
from batchproc.report.bench_view import (
    BenchPage,
    bench_ending,
    bench_methods,
    disturbances,
    probability,
    remark,
    view_bench,
)
from batchproc.report.charts import ceiling_name, mode_bars
from batchproc.report.items_view import link_to, told
from batchproc.report.lab_section import number_figure, number_name
from batchproc.report.palette import css_reference, css_variables
from batchproc.report.run_files import RunFolder, find_subject
from batchproc.report.summary import command_time
from batchproc.report.view import (
    Page,
    as_sentence,
    config_text,
    counts_text,
    ending,
    exit_code,
    leg_note,
    run_checks,
    run_methods,
    run_notes,
    view_page,
)
from batchproc.sink import Layout, write_atomically

PAGE_BYTES = 1_500_000
NAME = "report.html"
BOUNDS = {
    "cores": "the cores",
    "gil": "the one GIL of the main process",
    "pipe": "copying images through pipes",
    "per_host": "the limit of connections to one host",
}


def make_report(path: Path) -> Path:
    """Makes the page of a run or of a bench from its files alone; `find_subject` says what `path` may be.

    For a run, `report.html` of the output folder then points to it. The same files give the same page. Raises
    `UsageError` when there is neither, OSError when the page cannot be written; the old page stays then.
    """
    subject = find_subject(path)
    return _of_run(subject) if isinstance(subject, RunFolder) else _of_bench(subject)


def _of_run(run: RunFolder) -> Path:
    record = read_run(run.path)
    if not record.verdict:
        record = explain(record)
    made = _write(run.path, render(view_page(record, run)))
    if run.output is not None:
        Layout(output=run.output).point_report(made)
    return made


def _of_bench(folder: Path) -> Path:
    return _write(folder, render(view_bench(read_bench(folder))))


def _write(folder: Path, text: str) -> Path:
    made = folder / NAME
    write_atomically(made, [text.encode("utf-8", "backslashreplace")])
    return made


def render(page: Page | BenchPage) -> str:
    """The page as text. Everything that is not markup of ours is made printable, stripped of secrets, and escaped."""
    environment = Environment(
        loader=PackageLoader("batchproc.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_showable,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    themes = {theme: Markup(css_variables(theme)) for theme in ("light", "dark")}
    template = environment.get_template("bench.html.jinja" if isinstance(page, BenchPage) else "page.html.jinja")
    return template.render(page=page, themes=themes, style=Markup(style), count=count, relate=relate,
                           command_time=command_time)  # fmt: skip


def _showable(value: Any) -> Any:
    """What a template expression may print: text from outside loses its secrets and its control characters."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(printable(line) for line in redact_text(value).split("\n"))


def _signed(value: float) -> str:
    """Seconds that may be negative, as a remainder may."""
    return f"−{seconds(-value)}" if value < 0 else seconds(value)


def _quantity(figure: Figure) -> str:
    """A figure with its unit as people read it; empty where the text says it all."""
    return "" if figure.value is None else quantity(figure.value, figure.unit)


def _gain(ratio: float) -> str:
    return f"× {ratio:.2f}" if ratio >= 1 else f"+{100 * ratio:.0f}%"


def _pace(candidate: Candidate) -> str:
    """What would set the pace of a pair of modes."""
    workers_of = f"the workers of {candidate.bound_stage}" if candidate.bound_stage else "one thread for everything"
    return BOUNDS.get(candidate.bound, workers_of)


FILTERS = {
    "bench_ending": bench_ending,
    "bench_methods": bench_methods,
    "config_text": config_text,
    "counts_text": counts_text,
    "disturbances": disturbances,
    "ending": ending,
    "exit_code": exit_code,
    "leg_note": leg_note,
    "moment": lambda text: text.replace("T", " ").partition(".")[0].removesuffix("Z") or "unknown",
    "number_or_unknown": number_or_unknown,
    "run_checks": run_checks,
    "run_methods": run_methods,
    "run_notes": run_notes,
    "ceiling_name": ceiling_name,
    "colour": css_reference,
    "forecast": forecast_sentence,
    "from_to": from_to,
    "gain": _gain,
    "gil": gil_words,
    "link": link_to,
    "mode_bars": mode_bars,
    "modes": pair,
    "number": number_figure,
    "number_name": number_name,
    "off": lambda error: "unknown" if error is None else signed(error),
    "pace": _pace,
    "printable": printable,
    "probability": probability,
    "process_cost": process_cost_text,
    "quantity": _quantity,
    "rate": lambda rate: f"{significant(rate)}/s" if rate else "unknown",
    "remark": remark,
    "seconds": seconds,
    "seen_from": seen_from,
    "sentence": as_sentence,
    "share": share,
    "signed": _signed,
    "significant": significant,
    "size": size,
    "thousands": "{:,}".format,
    "spare": spare_text,
    "times": times,
    "tint": tint,
    "told": told,
    "workers": workers,
}
