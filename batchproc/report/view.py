"""From facts on disk to what the page shows: plain values in the page's order. Unknown stays unknown, never zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchproc.explain.words import count, seconds, significant, size
from batchproc.report.account_view import CeilingView, Chart, StageView, view_ceilings, view_stages
from batchproc.report.auto_view import AutoView, leg_note, view_auto
from batchproc.report.command_time import command_time
from batchproc.report.connections_view import ConnectionsView, view_connections
from batchproc.report.gallery import Gallery, Pair, read_gallery
from batchproc.report.items_view import ItemsView, Link, link_to, view_items
from batchproc.report.run_files import Row, RunFolder, manifest, read_attempts
from batchproc.report.time_view import TimelineView, view_series, view_timeline
from batchproc.report.trust_view import Provenance, TrustView, view_provenance, view_trust
from batchproc.sink import Layout

GALLERY_BYTES = 850_000
HINTS_SHOWN = 8
_ENDS = {
    0: ("good", "done"),
    1: ("bad", "ended by an internal error"),
    3: ("bad", "done, but more items failed than allowed"),
    4: ("unknown", "stopped by a limit with work left"),
    5: ("bad", "ended by the disk or the ledger"),
    130: ("unknown", "interrupted"),
    143: ("unknown", "terminated"),
}
_STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Something to change, why, and the gain as text; empty where it is not known."""

    text: str
    evidence: str
    gain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryView:
    """The pairs with the items they are of."""

    pairs: Sequence[tuple[Pair, Link, str]]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that the template needs."""

    job: str
    run_id: str
    started: str
    tone: str
    ended_how: str
    counts: str
    figures: Sequence[tuple[str, str, str]]  # name, value, remark
    verdict: Sequence[str]
    hints: Sequence[Hint]
    auto: AutoView | None
    stages: Sequence[StageView]
    leg_note: str  # which part of the run the stages' figures are of
    ceilings: Sequence[CeilingView]
    balance: Sequence[tuple[str, str]]
    timeline: TimelineView | None
    series: Sequence[Chart]
    items: ItemsView
    items_note: str
    connections: ConnectionsView | None
    gallery: GalleryView
    trust: TrustView
    provenance: Provenance


def view_page(facts: Mapping[str, Any], run: RunFolder) -> Page:
    """Reads what is beside run.json and arranges everything. Raises OSError when the folder cannot be read."""
    attempts = read_attempts(run.path)
    metadata, failures = _manifests(run)
    gallery = _read_gallery(facts, run.path)
    items = view_items(facts, attempts, metadata, failures, [pair.key for pair in gallery.pairs])
    tone, ended_how = _ENDS.get(facts.get("exit_code", -1), ("unknown", f"exit code {facts.get('exit_code')}"))
    items_note = _items_note(run, items)
    return Page(
        job=str(facts.get("job", "unknown")),
        run_id=str(facts.get("run_id", run.path.name)),
        started=str(facts.get("started", "unknown")).replace("T", " ").partition(".")[0],
        tone=tone,
        ended_how=ended_how,
        counts=_counts(facts),
        figures=_figures(facts),
        verdict=_verdict(facts),
        hints=[_hint(hint) for hint in (facts.get("hints") or ())[:HINTS_SHOWN]],
        auto=view_auto(facts),
        stages=view_stages(facts),
        leg_note=leg_note(facts),
        ceilings=view_ceilings(facts),
        balance=_balance(facts),
        timeline=view_timeline(facts, attempts),
        series=view_series(facts),
        items=items,
        items_note=items_note,
        connections=view_connections(facts),
        gallery=_gallery(gallery, items),
        trust=view_trust(facts, [items_note] if items_note else []),
        provenance=view_provenance(facts),
    )


def _manifests(run: RunFolder) -> tuple[Any, Any]:
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
        notes.append(f"Hosts are counted in {100 * items.read_share:.1f} % of the lists, spread evenly over them.")
    return " ".join(notes)


def _counts(facts: Mapping[str, Any]) -> str:
    counts = facts["counts"]
    states = ", ".join(f"{counts[word]:,} {word}" for word in _STATES if counts.get(word) or word == "done")
    return f"{count(counts['items'], 'item')} in the list: {states}. In this run: {counts['processed']:,}."


def _figures(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    counts, memory = facts["counts"], facts.get("memory") or {}
    cpu = sum(float(stage.get("cpu_seconds") or 0) for stage in facts["stages"].values()) if facts["stages"] else None
    rate = facts.get("images_per_second")
    failed = counts["failed"] + counts["quarantined"]
    received = f"{size(facts.get('original_bytes'))} in, {size(facts.get('rendition_bytes'))} out"
    command = command_time(facts)
    return [
        ("images per second", "unknown" if rate is None else significant(rate), received),
        ("time", seconds(facts.get("line_seconds")), f"first request after {seconds(facts.get('startup_seconds'))}"),
        ("failed", f"{failed:,}", f"of {count(counts['items'], 'item')}"),
        ("CPU of both stages", seconds(cpu), f"{facts.get('host', {}).get('cores', 'unknown')} cores"),
        ("memory at most", size(memory.get("peak_pss_bytes")), "all processes, PSS"),
        *([("the whole command, until this page", *command)] if command else []),
    ]


def _verdict(facts: Mapping[str, Any]) -> list[str]:
    return [as_sentence(str(sentence).removeprefix("next: ")) for sentence in facts.get("verdict") or ()][:3]


def as_sentence(text: str) -> str:
    """With a full stop, and a capital unless it begins with the name of a setting or a case."""
    if not text:
        return text
    first = text.split(" ", 1)[0]
    start = text[:1] if set("._+") & set(first) else text[:1].upper()
    return f"{start}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _hint(hint: Mapping[str, Any]) -> Hint:
    gain = hint.get("gain")
    return Hint(
        text=str(hint.get("text", "")),
        evidence=str(hint.get("evidence", "")),
        gain="" if gain is None else f"× {float(gain):.2f}" if float(gain) >= 1 else f"+{100 * float(gain):.0f} %",
    )


def _balance(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    crossover, break_even = facts.get("crossover") or {}, facts.get("break_even") or {}
    rows = [
        ("When processes overtake threads", crossover.get("text")),
        ("When starting processes pays", break_even.get("text")),
    ]
    return [(name, str(text)) for name, text in rows if text]


def _read_gallery(facts: Mapping[str, Any], folder: Path) -> Gallery:
    most = int(((facts.get("config") or {}).get("report") or {}).get("gallery") or 0)
    return read_gallery(folder / "gallery", most=most, budget_bytes=GALLERY_BYTES)


def _gallery(gallery: Gallery, items: ItemsView) -> GalleryView:
    pairs = [(pair, *_about(pair.key, items.known.get(pair.key))) for pair in gallery.pairs]
    return GalleryView(pairs=pairs, sentence=f"{count(len(pairs), 'item')} spread over the run.")


def _about(key: str, row: Row | None) -> tuple[Link, str]:
    """The link of an item in the gallery and its sizes, as far as its row is at hand."""
    if row is None:
        return Link(text=f"key {key}"), ""
    before = f"{row.get('original_width', '?')} × {row.get('original_height', '?')}"
    return link_to(row.get("url")), f"{before} → {row.get('width', '?')} × {row.get('height', '?')} px"
