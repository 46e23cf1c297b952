"""From a run's record and files to what its page shows, and how far to trust it. Unknown stays unknown, never zero."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup
from msgspec import Struct
from PIL import Image

from batchproc.explain.mode_wording import StageRates, pairs_of_auto, rates_of_run
from batchproc.explain.wording import CHECKS
from batchproc.explain.words import count, seconds, share, size, states
from batchproc.measure.breakdown import Check
from batchproc.record.run_json import RunCounts, RunRecord
from batchproc.report.items_view import ItemsView, Link, link_to, view_items
from batchproc.report.run_charts import CeilingView, StageView, view_ceilings, view_series, view_stages, view_timeline
from batchproc.report.run_files import Row, Rows, RunFolder, manifest, read_attempts
from batchproc.report.svg import Chart
from batchproc.sink import Layout

PICTURE = re.compile(r"(?a:([0-9a-f]{32})-before\.jpg)")
LARGEST_BYTES = 120_000  # of one file; ours are about 10 KB
SMALL_PX = 160
_GROWTH = 4 / 3  # base64
T = TypeVar("T")


class Picture(Struct, frozen=True, kw_only=True):
    """One JPEG as a `data:` URI, with its size in px."""

    uri: Markup
    width_px: int
    height_px: int


class Pair(Struct, frozen=True, kw_only=True):
    """One item before and after."""

    key: str
    before: Picture
    after: Picture


class Gallery(Struct, frozen=True, kw_only=True):
    """The pairs to show, of `found` in the folder."""

    pairs: Sequence[Pair]
    found: int


def read_gallery(folder: Path, *, most: int, budget_bytes: int) -> Gallery:
    """At most `most` pairs, spread evenly over those there are, in the order of their keys, within `budget_bytes`.

    When they do not fit they are made smaller, and then fewer. A file that is no JPEG is passed over.
    """
    keys = sorted(match[1] for path in _files(folder) if (match := PICTURE.fullmatch(path.name)))
    chosen = [loaded for key in _spread(keys, most) if (loaded := _load(folder, key))]
    if _weight(chosen) > budget_bytes:
        chosen = [(key, _shrink(before), _shrink(after)) for key, before, after in chosen]
    if (weight := _weight(chosen)) > budget_bytes:
        chosen = _spread(chosen, int(len(chosen) * budget_bytes / weight))
    while _weight(chosen) > budget_bytes:
        chosen = chosen[:-1]
    return Gallery(
        pairs=[Pair(key=key, before=_picture(before), after=_picture(after)) for key, before, after in chosen],
        found=len(keys),
    )


_Loaded = tuple[str, bytes, bytes]


def _files(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def _spread(values: Sequence[T], most: int) -> list[T]:
    if len(values) <= most:
        return list(values)
    return [values[at * len(values) // most] for at in range(most)]


def _load(folder: Path, key: str) -> _Loaded | None:
    before, after = (_jpeg(folder / f"{key}-{word}.jpg") for word in ("before", "after"))
    return (key, before, after) if before and after else None


def _jpeg(path: Path) -> bytes:
    """The bytes of a whole JPEG of a modest size; empty for anything else."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return b""
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
    return content


def _weight(chosen: Sequence[_Loaded]) -> float:
    return sum((len(before) + len(after)) * _GROWTH + 400 for _, before, after in chosen)


def _shrink(content: bytes) -> bytes:
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        image.thumbnail((SMALL_PX, SMALL_PX))
        file = BytesIO()
        image.save(file, "JPEG", quality=60)
    return file.getvalue()


def _picture(content: bytes) -> Picture:
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        width, height = image.size
    uri = Markup("data:image/jpeg;base64," + base64.b64encode(content).decode())  # nothing in it needs escaping
    return Picture(uri=uri, width_px=width, height_px=height)


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
    words, meaning = CHECKS.get(name, (name.replace("_", " "), ""))
    limit = seconds(check.limit) if name == "throttling" else share(check.limit)
    verdict = {True: "passed", False: "failed", None: "unknown"}[check.passed]
    text = f"{check.text}, {meaning}" if check.passed is False else check.text
    return CheckRow(name=f"{words}: {stage}" if stage else words, text=text, limit=limit, verdict=verdict)


def run_methods(record: RunRecord) -> list[tuple[str, str]]:
    """How a run was measured."""
    samples, wall = record.samples, record.line_seconds
    words = {"sampled": "sampled by a helper process", "residual": "residual of the account"}
    rows = [(f"GIL waiting in {name}", words.get(stage.gil_method, "unknown")) for name, stage in record.stages.items()]
    cost = samples.sampler_cpu_seconds
    of_core = f", {share(cost / wall)} of one core" if cost is not None and wall else ""
    return [
        *rows,
        ("CPU of the sampler", f"{seconds(cost)}{of_core}"),
        ("looks of the sampler", "unknown" if samples.looks is None else f"{samples.looks:,}"),
        ("memory", f"PSS of the process tree, at most {size(record.memory.peak_pss_bytes)}; "
         f"USS {size(record.memory.peak_uss_bytes)}"),
    ]  # fmt: skip


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


GALLERY_BYTES = 420_000  # of a page of 800,000 bytes
_ENDS = {
    0: ("good", "done"),
    1: ("bad", "ended by an internal error"),
    3: ("bad", "done, but more items failed than allowed"),
    4: ("unknown", "stopped by a limit with work left"),
    5: ("bad", "ended by the disk or the ledger"),
    130: ("unknown", "interrupted"),
    143: ("unknown", "terminated"),
}


class Page(Struct, frozen=True, kw_only=True):
    """The record of a run, and what is computed from it and its files; the template prints both."""

    record: RunRecord
    run_id: str
    modes: Sequence[StageRates]
    stages: Sequence[StageView]
    ceilings: Sequence[CeilingView]
    timeline: Chart | None
    series: Sequence[Chart]
    items: ItemsView
    items_note: str
    gallery: Sequence[tuple[Pair, Link, str]]


def view_page(record: RunRecord, run: RunFolder) -> Page:
    """Reads what is beside run.json and arranges everything. Raises OSError when the folder cannot be read."""
    attempts = read_attempts(run.path)
    metadata, failures = _manifests(run)
    most = int(record.setting("report", "gallery") or 0)
    gallery = read_gallery(run.path / "gallery", most=most, budget_bytes=GALLERY_BYTES)
    items = view_items(record, attempts, metadata, failures, [pair.key for pair in gallery.pairs])
    auto = record.auto
    return Page(
        record=record,
        run_id=record.run_id or run.path.name,
        modes=[*rates_of_run(record), *([pairs_of_auto(auto)] if auto and auto.candidates else [])],
        stages=view_stages(record),
        ceilings=view_ceilings(record),
        timeline=view_timeline(record, attempts),
        series=view_series(record),
        items=items,
        items_note=_items_note(run, items),
        gallery=[(pair, *_about(pair.key, items.known.get(pair.key))) for pair in gallery.pairs],
    )


def ending(record: RunRecord) -> tuple[str, str]:
    """How a run ended, as a tone and in words."""
    return _ENDS.get(record.exit_code, ("unknown", f"exit code {exit_code(record)}"))


def leg_note(record: RunRecord) -> str:
    """Which part of the run the stages' figures are of; empty when it is the whole."""
    leg, processed = record.leg, record.counts.processed
    if not leg or leg.items == processed:
        return ""
    if leg.number == 1:
        return f"They are of the run's first {leg.items:,} of {processed:,} items, when the modes were weighed."
    return f"They are of the run's last {leg.items:,} of {processed:,} items, in the modes that were found."


def exit_code(record: RunRecord) -> str:
    """As a number, where it is known."""
    return str(record.exit_code) if record.exit_code >= 0 else "unknown"


def _manifests(run: RunFolder) -> tuple[Rows | None, Rows | None]:
    if run.output is None:
        return None, None
    layout = Layout(output=run.output)
    return manifest(layout.metadata_path), manifest(layout.failures_path)


def _items_note(run: RunFolder, items: ItemsView) -> str:
    if items.read_share is None:
        return "The job's metadata.jsonl and failures.jsonl are not at hand, so hosts and examples are unknown."
    notes = []
    if not run.is_latest:
        notes.append("Hosts and examples are of the job's present state; this run was not its last.")
    if items.read_share < 1:
        notes.append(f"Hosts are counted in {100 * items.read_share:.1f}% of the lists, spread evenly over them.")
    return " ".join(notes)


def counts_text(counts: RunCounts) -> str:
    """The states of the list, and what the run did."""
    return f"{count(counts.items, 'item')} in the list: {states(counts)}. In this run: {counts.processed:,}."


def as_sentence(text: str) -> str:
    """With a full stop, and a capital unless it begins with the name of a setting or a case."""
    if not text:
        return text
    first = text.split(" ", 1)[0]
    start = text[:1] if set("._+") & set(first) else text[:1].upper()
    return f"{start}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _about(key: str, row: Row | None) -> tuple[Link, str]:
    """The link of an item in the gallery and its sizes, as far as its row is at hand."""
    if row is None:
        return Link(text=f"key {key}"), ""
    before = f"{row.get('original_width', '?')} × {row.get('original_height', '?')}"
    return link_to(row.get("url")), f"{before} → {row.get('width', '?')} × {row.get('height', '?')} px"
