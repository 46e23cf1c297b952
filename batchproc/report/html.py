"""One HTML file of one run or one bench: no script, no outside reference, of a bounded size, replaced whole.

A run's page is made of its record and the files beside it. Unknown stays unknown, never zero.
"""

import base64
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, compiler
from jinja2.bccache import Bucket
from markupsafe import Markup
from msgspec import Struct
from PIL import Image

from batchproc.defaults import cache_folder
from batchproc.explain import words
from batchproc.explain.findings import explain
from batchproc.explain.mode_wording import PACE_SETTERS, pairs_of_auto, rates_of_run
from batchproc.explain.wording import CHECKS, cluster_text, process_cost_text, spare_text
from batchproc.kinds import kind_of
from batchproc.measure.breakdown import Check
from batchproc.record.explanation import Candidate
from batchproc.record.run_json import RunRecord, read_run
from batchproc.redact import printable, redact_text
from batchproc.report.items_view import (
    SHARDS_SHOWN,
    ItemsView,
    data_set_sentence,
    item_link,
    link_to,
    service_seconds,
    shards_sentence,
    told,
    total_seconds,
    view_items,
)
from batchproc.report.run_charts import (
    account_chart,
    account_parts,
    ceiling_name,
    ceilings_chart,
    choice_of,
    gil_words,
    mode_bars,
    view_series,
    view_timeline,
)
from batchproc.report.run_files import RunFolder, find_subject, manifest, read_attempts
from batchproc.report.svg import css_reference
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
    made = _write(run.path, render("page", FILTERS, **view_run(record, run)))
    if run.output is not None:
        Layout(output=run.output).point_report(made)
    return made


def _of_bench(folder: Path) -> Path:
    from batchproc.bench.bench_json import read_bench  # of no use to a run, and slow to import
    from batchproc.report.bench_page import BENCH_FILTERS

    return _write(folder, render("bench", {**FILTERS, **BENCH_FILTERS}, bench=read_bench(folder)))


def _write(folder: Path, text: str) -> Path:
    made = folder / NAME
    write_atomically(made, [text.encode("utf-8", "backslashreplace")])
    return made


def render(name: str, filters: Mapping[str, Callable[..., object]], **subjects: object) -> str:
    """The page as text, from the template of this name, with its subjects; `filters` is what it may call.

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
    environment.globals.update(
        cluster_text=cluster_text, count=words.count, command_time=command_time, shards_shown=SHARDS_SHOWN
    )
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    template = environment.get_template(f"{name}.html.jinja")
    return template.render(subjects, style=Markup(style))


class _Compiled(BytecodeCache):
    """Templates as they were compiled last time, which is most of what a page takes.

    Those that are damaged, or made by another compiler or with other settings of it, are made again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        made_by = ((path, Path(path).stat()) for path in (compiler.__file__, __file__))
        self._made_by = repr([(path, facts.st_size, facts.st_mtime_ns) for path, facts in made_by]).encode()

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
        return blake2b(self._made_by + content, digest_size=DIGEST_BYTES).digest()


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


PICTURE = re.compile(r"(?a:([0-9a-f]{32})-before\.jpg)")
LARGEST_BYTES = 120_000  # of one file; ours are about 10 KB
SMALL_PX = 160
_GROWTH = 4 / 3  # base64
T = TypeVar("T")


class Pair(Struct, frozen=True, kw_only=True):
    """One item before and after, as JPEG."""

    key: str
    before: bytes
    after: bytes

    @property
    def weight(self) -> float:
        """About how many bytes it takes on a page."""
        return (len(self.before) + len(self.after)) * _GROWTH + 400


def read_gallery(folder: Path, *, most: int, budget_bytes: int) -> list[Pair]:
    """At most `most` pairs, spread evenly over those there are, in the order of their keys, within `budget_bytes`.

    When they do not fit they are made smaller, and then fewer. A file that is no JPEG is passed over.
    """
    names = (path.name for path in (folder.iterdir() if folder.is_dir() else ()))
    keys = sorted(match[1] for name in names if (match := PICTURE.fullmatch(name)))
    chosen = [pair for key in _spread(keys, most) if (pair := _load(folder, key))]
    if _weight(chosen) > budget_bytes:
        chosen = [Pair(key=one.key, before=_shrink(one.before), after=_shrink(one.after)) for one in chosen]
    if (weight := _weight(chosen)) > budget_bytes:
        chosen = _spread(chosen, int(len(chosen) * budget_bytes / weight))
    while _weight(chosen) > budget_bytes:
        chosen = chosen[:-1]
    return chosen


def _weight(chosen: Sequence[Pair]) -> float:
    return sum(one.weight for one in chosen)


def _spread(values: Sequence[T], most: int) -> list[T]:
    if len(values) <= most:
        return list(values)
    return [values[at * len(values) // most] for at in range(most)]


def _load(folder: Path, key: str) -> Pair | None:
    before, after = (_jpeg(folder / f"{key}-{word}.jpg") for word in ("before", "after"))
    return Pair(key=key, before=before, after=after) if before and after else None


def _jpeg(path: Path) -> bytes:
    """The bytes of a whole JPEG of a modest size; empty for anything else."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return b""
    content = path.read_bytes()
    try:
        with _opened(content) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
    return content


def _opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content), formats=("JPEG",))


def _shrink(content: bytes) -> bytes:
    with _opened(content) as image:
        image.thumbnail((SMALL_PX, SMALL_PX))
        file = BytesIO()
        image.save(file, "JPEG", quality=60)
    return file.getvalue()


def figure_of(content: bytes) -> Mapping[str, object]:
    """A JPEG as the attributes of an `img`: a `data:` URI, and the size in px."""
    with _opened(content) as image:
        width, height = image.size
    uri = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    return {"src": Markup(uri), "width": width, "height": height}  # nothing in it needs escaping


GALLERY_BYTES = 420_000  # of a page of 800,000 bytes


def view_run(record: RunRecord, run: RunFolder) -> dict[str, object]:
    """What the template needs: the record, and what is computed from it and the files beside it. Raises OSError."""
    attempts = read_attempts(run.path)
    layout = Layout(output=run.output) if run.output else None
    metadata, failures = (
        manifest(path) for path in ((layout.metadata_path, layout.failures_path) if layout else (None, None))
    )
    most = int(record.setting("report", "gallery") or 0)
    gallery = read_gallery(run.path / "gallery", most=most, budget_bytes=GALLERY_BYTES)
    items = view_items(record, attempts, metadata, failures, [pair.key for pair in gallery])
    auto = record.auto
    return {
        "run": record,
        "run_id": record.run_id or run.path.name,
        "modes": [*rates_of_run(record), *([pairs_of_auto(auto)] if auto and auto.candidates else [])],
        "timeline": view_timeline(record, attempts),
        "series": view_series(record),
        "items": items,
        "items_note": _items_note(run, items),
        "gallery": gallery,
    }


def phase_note(record: RunRecord) -> str:
    """Which part of the run the stages' figures are of; empty when it is the whole."""
    phase, processed = record.leg, record.counts.processed
    if not phase or phase.items == processed:
        return ""
    if phase.number == 1:
        return f"They are of the run's first {phase.items:,} of {processed:,} items, when the modes were weighed."
    return f"They are of the run's last {phase.items:,} of {processed:,} items, in the modes that were found."


def _items_note(run: RunFolder, items: ItemsView) -> str:
    if items.read_share is None:
        return "The job's metadata.jsonl and failures.jsonl are not at hand, so hosts and examples are unknown."
    notes = []
    if not run.is_latest:
        notes.append("Hosts and examples are of the job's present state; this run was not its last.")
    if items.read_share < 1:
        notes.append(f"Hosts are counted in {100 * items.read_share:.1f}% of the lists, spread evenly over them.")
    return " ".join(notes)


def as_sentence(text: str) -> str:
    """With a full stop, and a capital unless it begins with the name of a setting or a case."""
    if not text:
        return text
    first = text.split(" ", 1)[0]
    start = text[:1] if set("._+") & set(first) else text[:1].upper()
    return f"{start}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


class CheckRow(Struct, frozen=True, kw_only=True):
    """One self-check. `verdict`: passed, failed or unknown."""

    name: str
    text: str
    limit: str
    verdict: str


def run_checks(record: RunRecord) -> list[CheckRow]:
    """The self-checks of a run, also the one that was not made."""
    checks = [_check(check) for check in record.checks]
    if not any(check.name.startswith("overhead") for check in record.checks):
        checks.append(CheckRow(name=CHECKS["overhead"][0], text="not known: no pair of runs with and without measuring "
                               "was made", limit="1%", verdict="unknown"))  # fmt: skip
    return checks


def run_notes(record: RunRecord) -> list[str]:
    """What the measuring of a run remarked."""
    account = [f"{name}: {note}" for name, stage in record.stages.items() for note in stage.account_notes]
    return list(dict.fromkeys([*account, *_sampler_notes(record)]))


def _check(check: Check) -> CheckRow:
    name, _, stage = check.name.partition(".")
    title, meaning = CHECKS.get(name, (name.replace("_", " "), ""))
    limit = words.seconds(check.limit) if name == "throttling" else words.share(check.limit)
    verdict = {True: "passed", False: "failed", None: "unknown"}[check.passed]
    text = f"{check.text}, {meaning}" if check.passed is False else check.text
    return CheckRow(name=f"{title}: {stage}" if stage else title, text=text, limit=limit, verdict=verdict)


def _sampler_notes(record: RunRecord) -> list[str]:
    if record.samples.unknown is not None:
        return [f"The sampler saw nothing: {record.samples.unknown}."] if record.samples.unknown else []
    if record.samples.gil_method == "unknown":
        return [f"Waiting for the GIL could not be sampled: {record.samples.gil_reason or 'no reason given'}."]
    return []


def config_text(config: Mapping[str, object]) -> str:
    """A resolved config as text like TOML."""
    return "\n\n".join(_table(f"[{name}]", table) for name, table in config.items() if isinstance(table, dict))


def _table(head: str, table: Mapping[str, object]) -> str:
    """Values as in JSON, which TOML's mostly are; lists of tables follow."""
    lists = {key: value for key, value in table.items() if isinstance(value, list) and value
             and all(isinstance(one, dict) for one in value)}  # fmt: skip
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if key not in lists]
    name = head.strip("[]")
    more = ["", *(_table(f"[[{name}.{key}]]", one) for key, value in lists.items() for one in value)]
    return "\n".join([head, *lines, *(more if lists else [])])


def gain(ratio: float) -> str:
    """As `× 1.65`, or `+20%` of a share."""
    return f"× {ratio:.2f}" if ratio >= 1 else f"+{100 * ratio:.0f}%"


def pace(candidate: Candidate) -> str:
    """What would set the pace of a pair of modes."""
    workers_of = f"the workers of {candidate.bound_stage}" if candidate.bound_stage else "one thread for everything"
    return PACE_SETTERS.get(candidate.bound, workers_of)


def thousands(number: int | None) -> str:
    """As `12,000`; `unknown` for None."""
    return "unknown" if number is None else f"{number:,}"


def moment(text: str) -> str:
    """A time of the record as people read it."""
    return text.replace("T", " ").partition(".")[0].removesuffix("Z") or "unknown"


# What the templates may call, each by its own name.
FILTERS = {one.__name__: one for one in (
    account_chart, account_parts, as_sentence, ceiling_name, ceilings_chart, choice_of, config_text, css_reference,
    data_set_sentence, figure_of, gain, gil_words, item_link, kind_of, phase_note, link_to, mode_bars, moment, pace,
    printable, process_cost_text, run_checks, run_notes, service_seconds, shards_sentence, spare_text, thousands, told,
    total_seconds, words.pair, words.per_second, words.quantity, words.seconds, words.share, words.significant,
    words.size, words.states, words.workers,
)}  # fmt: skip
