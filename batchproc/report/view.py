"""From a run's record and files to what its page shows, and how far to trust it. Unknown stays unknown, never zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.wording import check_text
from batchproc.explain.words import count, seconds, share, size
from batchproc.measure.checks import Check
from batchproc.record.run import MachineRecord, NotSampled, RunCounts, RunRecord
from batchproc.report.account_view import CeilingView, StageView, view_ceilings, view_stages
from batchproc.report.gallery import Gallery, Pair, read_gallery
from batchproc.report.items_view import ItemsView, Link, link_to, view_items
from batchproc.report.mode_rates import StageRates, pairs_of_auto, rates_of_run
from batchproc.report.run_files import Row, Rows, RunFolder, manifest, read_attempts
from batchproc.report.svg import Chart
from batchproc.report.time_view import view_series, view_timeline
from batchproc.sink import Layout

_NAMES = {
    "remainder": "the account adds up",
    "little": "two counts of items in flight agree",
    "others": "nothing else used the machine",
    "steal": "no CPU taken by the hypervisor",
    "throttling": "no CPU quota in the way",
    "origin": "the embedded origin took little of the machine",
    "hidden": "no CPU outside the measured threads",
    "overhead": "measuring costs next to nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One self-check. `verdict`: passed, failed or unknown."""

    name: str
    text: str
    limit: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustView:
    """The honesty panel."""

    summary: str
    checks: Sequence[CheckRow]
    methods: Sequence[tuple[str, str]]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Machine, libraries, and the config as it was resolved, as text like TOML."""

    run: Sequence[tuple[str, str]]
    machine: Sequence[tuple[str, str]]
    libraries: Sequence[tuple[str, str]]
    config: str


def view_trust(record: RunRecord, notes: Sequence[str]) -> TrustView:
    """`notes`: what the page itself could not show."""
    checks = [_check(check) for check in record.checks]
    if not any(check.name.startswith("overhead") for check in record.checks):
        checks.append(CheckRow(name=_NAMES["overhead"], text="not known: no pair of runs with and without measuring "
                               "was made", limit="1%", verdict="unknown"))  # fmt: skip
    counts = {word: sum(check.verdict == word for check in checks) for word in ("passed", "failed", "unknown")}
    account = [f"{name}: {note}" for name, stage in record.stages.items() for note in stage.account_notes]
    return TrustView(
        summary=f"{counts['passed']} of {len(checks)} self-checks passed, {counts['failed']} failed, "
        f"{counts['unknown']} could not be made.",
        checks=checks,
        methods=_methods(record),
        notes=list(dict.fromkeys([*account, *_sampler_notes(record), *notes])),
    )


def view_provenance(
    run: Sequence[tuple[str, str]], machine: MachineRecord, config: Mapping[str, object]
) -> Provenance:
    """What ran, on what, with which settings."""
    return Provenance(
        run=run,
        machine=[
            ("name", machine.name),
            ("system", f"{machine.system}, {machine.machine}"),
            ("usable cores", f"{machine.cores or 'unknown'} of {machine.cores_online or 'unknown'}"),
            ("Python", f"{machine.implementation} {machine.python}".strip()),
            ("GIL", {True: "yes", False: "no: free-threaded", None: "unknown"}[machine.gil]),
            ("processes started by", machine.start_method),
        ],
        libraries=list(machine.libraries.items()),
        config=_as_text(config),
    )


def _check(check: Check) -> CheckRow:
    name, _, stage = check.name.partition(".")
    words = _NAMES.get(name, name.replace("_", " "))
    limit = seconds(check.limit) if name == "throttling" else share(check.limit)
    verdict = {True: "passed", False: "failed", None: "unknown"}[check.passed]
    text = f"{check.text}, {check_text(check.name)}" if check.passed is False else check.text
    return CheckRow(name=f"{words}: {stage}" if stage else words, text=text, limit=limit, verdict=verdict)


def _methods(record: RunRecord) -> list[tuple[str, str]]:
    samples, wall = record.sampled, record.line_seconds
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
    if isinstance(record.samples, NotSampled):
        return [f"The sampler saw nothing: {record.samples.unknown}."] if record.samples.unknown else []
    if record.samples.gil_method == "unknown":
        return [f"Waiting for the GIL could not be sampled: {record.samples.gil_reason or 'no reason given'}."]
    return []


def _as_text(config: Mapping[str, object]) -> str:
    return "\n\n".join(_table(name, table) for name, table in config.items() if isinstance(table, dict))


def _table(name: str, table: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in table.items() if not _is_tables(value)}
    lines = [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in plain.items())]
    for key, value in table.items():
        if _is_tables(value):
            for entry in value:
                lines += ["", f"[[{name}.{key}]]", *(f"{part} = {_value(one)}" for part, one in entry.items())]
    return "\n".join(lines)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    return str(value)


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
    modes: Sequence[StageRates]
    stages: Sequence[StageView]
    leg_note: str  # which part of the run the stages' figures are of
    ceilings: Sequence[CeilingView]
    timeline: Chart | None
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
        modes=[*rates_of_run(record), *(pairs_of_auto(auto) for auto in [record.auto] if auto and auto.candidates)],
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
