"""One HTML file of one run or one bench: no script, no outside reference, of a bounded size, replaced whole."""

import os
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, compiler
from jinja2.bccache import Bucket
from markupsafe import Markup

from batchproc.defaults import cache_folder
from batchproc.explain.findings import explain
from batchproc.explain.mode_wording import PACE_SETTERS
from batchproc.explain.wording import cluster_text, process_cost_text, spare_text
from batchproc.explain.words import count, pair, quantity, seconds, share, significant, size, workers
from batchproc.kinds import kind_of
from batchproc.record.explanation import Candidate, Figure
from batchproc.record.run_json import read_run
from batchproc.redact import printable, redact_text
from batchproc.report.charts import ceiling_name, mode_bars
from batchproc.report.items_view import link_to, told, view_data_set
from batchproc.report.run_charts import gil_words
from batchproc.report.run_files import RunFolder, find_subject
from batchproc.report.run_page import (
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
DIGEST_BYTES = 16


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
    made = _write(run.path, render(view_page(record, run), "page", FILTERS))
    if run.output is not None:
        Layout(output=run.output).point_report(made)
    return made


def _of_bench(folder: Path) -> Path:
    from batchproc.bench.bench_json import read_bench  # of no use to a run, and slow to import
    from batchproc.report.bench_page import BENCH_FILTERS

    return _write(folder, render(read_bench(folder), "bench", {**FILTERS, **BENCH_FILTERS}))


def _write(folder: Path, text: str) -> Path:
    made = folder / NAME
    write_atomically(made, [text.encode("utf-8", "backslashreplace")])
    return made


def render(subject: object, name: str, filters: Mapping[str, Callable[..., object]]) -> str:
    """The page as text, from the template of this name, in which the subject has it too; `filters` is what it may call.

    Everything that is not markup of ours is made printable, stripped of secrets, and escaped.
    """
    environment = Environment(
        loader=PackageLoader("batchproc.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_showable,
        auto_reload=False,
        bytecode_cache=_compiled_templates(),
    )
    environment.filters.update(filters)
    environment.globals.update(cluster_text=cluster_text, count=count, command_time=command_time)
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    themes = {theme: Markup(css_variables(theme)) for theme in ("light", "dark")}
    template = environment.get_template(f"{name}.html.jinja")
    return template.render({name: subject, "themes": themes, "style": Markup(style)})


class _Compiled(BytecodeCache):
    """Templates as they were compiled last time, which is most of what a page takes.

    Those that are damaged, or of another compiler, are made again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._compiler = str(Path(compiler.__file__).stat().st_mtime_ns).encode()

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            kept = (self._folder / bucket.key).read_bytes()
            if kept[:DIGEST_BYTES] == self._digest(kept[DIGEST_BYTES:]):
                bucket.bytecode_from_string(kept[DIGEST_BYTES:])

    def dump_bytecode(self, bucket: Bucket) -> None:
        compiled = bucket.bytecode_to_string()
        with suppress(OSError):
            write_atomically(self._folder / bucket.key, [self._digest(compiled), compiled])

    def _digest(self, content: bytes) -> bytes:
        return blake2b(content, digest_size=DIGEST_BYTES, key=self._compiler).digest()


def _compiled_templates() -> _Compiled | None:
    """What is in there runs as it is: so in a folder that nobody but this user writes to, or nowhere."""
    cache = cache_folder()
    if cache is None:
        return None
    folder = cache / "templates"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
        is_private = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
        return _Compiled(folder) if is_private else None
    except OSError:
        return None


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


# What the templates may call, each by its own name.
FILTERS = {one.__name__: one for one in (
    as_sentence, ceiling_name, config_text, counts_text, css_reference, ending, exit_code, figure_text, gain, gil_words,
    kind_of, leg_note, link_to, mode_bars, moment, pace, pair, printable, process_cost_text, rate, run_checks,
    run_methods, run_notes, seconds, share, signed_seconds, significant, size, spare_text, thousands, told,
    view_data_set, workers,
)}  # fmt: skip
