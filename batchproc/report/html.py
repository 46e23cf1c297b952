"""One HTML file of one run or one bench: no script, no outside reference, of a bounded size, replaced whole."""

import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from batchproc.bench.bench_json import Bench, read_bench
from batchproc.explain.findings import explain
from batchproc.explain.mode_wording import PACE_SETTERS
from batchproc.explain.wording import cluster_text, process_cost_text, spare_text
from batchproc.explain.words import count, pair, quantity, seconds, share, significant, size, workers
from batchproc.kinds import kind_of
from batchproc.record.explanation import Candidate, Figure
from batchproc.record.run_json import read_run
from batchproc.redact import printable, redact_text
from batchproc.report.bench_cases_view import (
    bench_checks,
    bench_ending,
    bench_figures,
    bench_methods,
    disturbances,
    forecast_sentence,
    probability,
    remark,
    signed,
    tint,
    verdict_of,
    view_forecast,
    view_maps,
    view_points,
)
from batchproc.report.bench_files import from_to, number_or_unknown, relate, seen_from, times
from batchproc.report.bench_rates_view import (
    view_accounts,
    view_case_ceilings,
    view_memory,
    view_rates,
    view_starts,
    view_startup,
)
from batchproc.report.bench_verdict import stage_rates
from batchproc.report.charts import ceiling_name, mode_bars
from batchproc.report.items_view import link_to, told, view_data_set
from batchproc.report.lab_section import number_figure, number_name, view_lab
from batchproc.report.run_charts import gil_words
from batchproc.report.run_files import RunFolder, find_subject
from batchproc.report.run_page import (
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
from batchproc.report.svg import css_reference, css_variables
from batchproc.report.terminal import command_time
from batchproc.sink import Layout, write_atomically

PAGE_BYTES, BENCH_PAGE_BYTES = 800_000, 1_500_000
NAME = "report.html"


def main() -> None:
    """Makes the page of the folder that the command line names; prints where it is. A failure's last line says why."""
    sys.stdout.write(f"{make_report(Path(sys.argv[1]))}\n")


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
    return _write(folder, render(read_bench(folder)))


def _write(folder: Path, text: str) -> Path:
    made = folder / NAME
    write_atomically(made, [text.encode("utf-8", "backslashreplace")])
    return made


def render(page: Page | Bench) -> str:
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
    environment.filters.update({one.__name__: one for one in FILTERS})
    environment.globals.update(cluster_text=cluster_text, count=count, command_time=command_time, relate=relate)
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    themes = {theme: Markup(css_variables(theme)) for theme in ("light", "dark")}
    name, about = ("bench.html.jinja", "bench") if isinstance(page, Bench) else ("page.html.jinja", "page")
    return environment.get_template(name).render({about: page, "themes": themes, "style": Markup(style)})


def _showable(value: Any) -> Any:
    """What a template expression may print: text from outside loses its secrets and its control characters."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(printable(line) for line in redact_text(value).split("\n"))


def signed_seconds(value: float) -> str:
    """Seconds that may be negative, as a remainder may."""
    return f"−{seconds(-value)}" if value < 0 else seconds(value)


def figure_text(figure: Figure) -> str:
    """A figure with its unit as people read it; empty where the text says it all."""
    return "" if figure.value is None else quantity(figure.value, figure.unit)


def gain(ratio: float) -> str:
    """As `× 1.65`, or `+20%` of a share."""
    return f"× {ratio:.2f}" if ratio >= 1 else f"+{100 * ratio:.0f}%"


def pace(candidate: Candidate) -> str:
    """What would set the pace of a pair of modes."""
    workers_of = f"the workers of {candidate.bound_stage}" if candidate.bound_stage else "one thread for everything"
    return PACE_SETTERS.get(candidate.bound, workers_of)


def thousands(number: int) -> str:
    """As `12,000`."""
    return f"{number:,}"


def moment(text: str) -> str:
    """A time of the record as people read it."""
    return text.replace("T", " ").partition(".")[0].removesuffix("Z") or "unknown"


def rate(value: float | None) -> str:
    """As `79.3/s`."""
    return f"{significant(value)}/s" if value else "unknown"


def speed_error(error: float | None) -> str:
    """As `+12%`."""
    return "unknown" if error is None else signed(error)


# What the templates may call, each by its own name.
FILTERS = (
    as_sentence, bench_checks, bench_ending, bench_figures, bench_methods, ceiling_name, config_text, counts_text,
    css_reference, disturbances, ending, exit_code, figure_text, forecast_sentence, from_to, gain, gil_words,
    kind_of, leg_note, link_to, mode_bars, moment, number_figure, number_name, number_or_unknown, pace, pair, printable,
    probability, process_cost_text, rate, remark, run_checks, run_methods, run_notes, seconds, seen_from, share,
    signed_seconds, significant, size, spare_text, speed_error, stage_rates, thousands, times, tint, told,
    verdict_of, view_accounts, view_case_ceilings, view_data_set, view_forecast, view_lab, view_maps, view_memory,
    view_points, view_rates, view_starts, view_startup, workers,
)  # fmt: skip
