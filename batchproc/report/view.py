"""From a run's record and files to what its page shows. Unknown stays unknown, never zero."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.explain.words import count
from batchproc.record.run import RunCounts, RunRecord
from batchproc.report.account_view import CeilingView, Chart, StageView, view_ceilings, view_stages
from batchproc.report.gallery import Gallery, Pair, read_gallery
from batchproc.report.items_view import ItemsView, Link, link_to, view_items
from batchproc.report.run_files import Row, Rows, RunFolder, manifest, read_attempts
from batchproc.report.time_view import TimelineView, view_series, view_timeline
from batchproc.report.trust_view import Provenance, TrustView, view_provenance, view_trust
from batchproc.sink import Layout

GALLERY_BYTES = 850_000
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
class GalleryView:
    """The pairs with the items they are of."""

    pairs: Sequence[tuple[Pair, Link, str]]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The record of a run, and what is computed from it and its files; the template prints both."""

    record: RunRecord
    started: str
    tone: str
    ended_how: str
    counts: str
    cpu_seconds: float | None
    stages: Sequence[StageView]
    leg_note: str  # which part of the run the stages' figures are of
    ceilings: Sequence[CeilingView]
    timeline: TimelineView | None
    series: Sequence[Chart]
    items: ItemsView
    items_note: str
    gallery: GalleryView
    trust: TrustView
    provenance: Provenance


def view_page(record: RunRecord, run: RunFolder) -> Page:
    """Reads what is beside run.json and arranges everything. Raises OSError when the folder cannot be read."""
    attempts = read_attempts(run.path)
    metadata, failures = _manifests(run)
    most = int(record.setting("report", "gallery") or 0)
    gallery = read_gallery(run.path / "gallery", most=most, budget_bytes=GALLERY_BYTES)
    items = view_items(record, attempts, metadata, failures, [pair.key for pair in gallery.pairs])
    tone, ended_how = _ENDS.get(record.exit_code, ("unknown", f"exit code {_exit_code(record)}"))
    items_note = _items_note(run, items)
    return Page(
        record=record,
        started=record.started.replace("T", " ").partition(".")[0] or "unknown",
        tone=tone,
        ended_how=ended_how,
        counts=_counts(record.counts),
        cpu_seconds=sum(stage.cpu_seconds for stage in record.stages.values()) if record.stages else None,
        stages=view_stages(record),
        leg_note=leg_note(record),
        ceilings=view_ceilings(record),
        timeline=view_timeline(record, attempts),
        series=view_series(record),
        items=items,
        items_note=items_note,
        gallery=_gallery(gallery, items),
        trust=view_trust(record, [items_note] if items_note else []),
        provenance=view_provenance(_provenance(record, run), record.host, record.config),
    )


def leg_note(record: RunRecord) -> str:
    """Which part of the run the stages' figures are of; empty when it is the whole."""
    leg, processed = record.leg, record.counts.processed
    if not leg or leg.items == processed:
        return ""
    if leg.number == 1:
        return f"They are of the run's first {leg.items:,} of {processed:,} items, when the modes were weighed."
    return f"They are of the run's last {leg.items:,} of {processed:,} items, in the modes that were found."


def _exit_code(record: RunRecord) -> str:
    return str(record.exit_code) if record.exit_code >= 0 else "unknown"


def _provenance(record: RunRecord, run: RunFolder) -> list[tuple[str, str]]:
    return [
        ("program", f"batchproc {record.version}"),
        ("run", record.run_id or run.path.name),
        ("started", record.started or "unknown"),
        ("ended", record.ended or "unknown"),
        ("exit code", _exit_code(record)),
    ]


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


def _counts(counts: RunCounts) -> str:
    states = ", ".join(f"{number:,} {word}" for word in _STATES if (number := getattr(counts, word)) or word == "done")
    return f"{count(counts.items, 'item')} in the list: {states}. In this run: {counts.processed:,}."


def as_sentence(text: str) -> str:
    """With a full stop, and a capital unless it begins with the name of a setting or a case."""
    if not text:
        return text
    first = text.split(" ", 1)[0]
    start = text[:1] if set("._+") & set(first) else text[:1].upper()
    return f"{start}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _gallery(gallery: Gallery, items: ItemsView) -> GalleryView:
    pairs = [(pair, *_about(pair.key, items.known.get(pair.key))) for pair in gallery.pairs]
    return GalleryView(pairs=pairs, sentence=f"{count(len(pairs), 'item')} spread over the run.")


def _about(key: str, row: Row | None) -> tuple[Link, str]:
    """The link of an item in the gallery and its sizes, as far as its row is at hand."""
    if row is None:
        return Link(text=f"key {key}"), ""
    before = f"{row.get('original_width', '?')} × {row.get('original_height', '?')}"
    return link_to(row.get("url")), f"{before} → {row.get('width', '?')} × {row.get('height', '?')} px"
