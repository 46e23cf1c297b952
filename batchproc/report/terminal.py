"""The closing summary of a run, from its record alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from batchproc.errors import ExitCode
from batchproc.exit_reason import shown_codes
from batchproc.explain.words import count, seconds, share, significant, size, workers
from batchproc.record.run import RunRecord
from batchproc.report.palette import BUCKETS
from batchproc.report.summary import command_time, failure_step, list_lines, named_keys

if TYPE_CHECKING:
    from rich.text import Text

    from batchproc.record.stage import ConcurrencyRecord, StageRecord

BUCKETS_SHOWN, LEAST = 4, 0.005
STAGES = ("download", "transform")


def summarise(record: RunRecord, folder: Path, *, verbose: bool = False) -> str:
    """The text for people: counts, rate, time per stage, the bottleneck, where things are."""
    return "\n".join(_lines(record, folder, verbose))


def _lines(record: RunRecord, folder: Path, verbose: bool) -> Iterator[str]:
    yield _headline(record)
    if again := record.due_again.items:
        yield f"  due again   {count(again, 'item')}: {named_keys(record.due_again.because)} changed"
    if record.counts.processed:
        yield from _rates(record)
        if record.auto:
            yield f"  auto        {record.auto.text}"
        for name in STAGES:
            yield from _stage_lines(name, record.stages[name])
            if name == "download" and record.concurrency:
                yield _adapted(record.concurrency)
        if record.resampler_problem:
            problem = record.resampler_problem
            yield f"  resampler   Pillow resized in its place, for two to three times the CPU: {problem}"
        yield f"  bottleneck  {record.bottleneck.because}"
        if all(record.stages[name].tasks for name in STAGES):
            yield from _reasons(record)
    yield from _failures(record)
    yield from (f"  list        {text}" for text in _list_lines(record))
    if record.exit_code in (ExitCode.TOO_MANY_FAILED, ExitCode.LIMIT):
        yield f"  exit code   {record.exit_code}: {record.reason}"
    output = Path(record.setting("job", "output", ""))
    yield f"  outputs     {output}"
    yield f"  facts       {folder / 'run.json'}"
    if verbose:
        yield from _details(record)
        if (command := command_time(record)) is not None:
            yield f"  command     {command[0]} until here: {command[1]}"
    if step := _next_step(record, output / "failures.jsonl"):
        yield f"  next        {step}"


def _list_lines(record: RunRecord) -> Iterator[str]:
    """What is said of the list."""
    keeps_rows = record.setting("job", "duplicates") == "rows"
    return list_lines(record.counts, record.list_remarks, keeps_rows=keeps_rows, pruned=record.counts.pruned)


def _next_step(record: RunRecord, failures_path: Path) -> str:
    """What to do now; empty when there is nothing."""
    counts = record.counts
    if counts.pending:
        return f"{count(counts.pending, 'item')} left: the same command continues"
    if step := failure_step(record.failures, counts, failures_path, "the same command"):
        return step
    return f"{count(counts.deferred, 'item')} left for the next run: the same command" if counts.deferred else ""


def _headline(record: RunRecord) -> str:
    counts = record.counts
    words = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
    states = ", ".join(f"{number:,} {word}" for word in words if (number := getattr(counts, word)) or word == "done")
    text = f"{record.job}: {count(counts.items, 'item')}: {states}"
    if not counts.items:
        return f"{record.job}: the list is empty, nothing to do"
    if not (counts.processed or counts.pending or record.stopped_by):
        return f"{text}; nothing to do"
    stopped = {"signal": "; interrupted", "duration": "; stopped by max_duration", "limit": "; stopped by --limit"}
    done = count(counts.processed, "item") if counts.processed else "no item finished"
    return f"{text}; {done} in this run{stopped.get(record.stopped_by or '', '')}"


def _rates(record: RunRecord) -> Iterator[str]:
    rate = record.images_per_second
    speed = f"{significant(rate)} images/s" if rate else "no new image"
    yield (
        f"  speed       {speed} in {seconds(record.line_seconds)}; "
        f"start-up to the first request {seconds(record.startup_seconds)}; "
        f"{size(record.original_bytes)} in, {size(record.rendition_bytes)} out"
    )


def _stage_lines(name: str, stage: "StageRecord") -> Iterator[str]:
    if not stage.tasks:
        yield f"  {name:<11} {stage.mode}, {workers(stage)}; no image came so far"
        return
    service = stage.service_seconds
    yield (
        f"  {name:<11} {stage.mode}, {workers(stage)}, busy {share(stage.utilisation)}; per image "
        f"{seconds(service.p50)} (p95 {seconds(service.p95)}), CPU {seconds(stage.cpu_per_item_seconds)}"
    )
    yield f"    time went {_account(stage)}"


def _adapted(limit: "ConcurrencyRecord") -> str:
    """What `workers = "auto"` came to."""
    return f"    at once     {limit.start} at first, {limit.highest} at most, {limit.limit} at the end"


def _account(stage: "StageRecord") -> str:
    """Where the stage's worker-seconds went: the largest buckets, in the words of the report."""
    whole = sum(stage.account.values())
    largest = sorted(stage.account.items(), key=lambda bucket: -bucket[1])[:BUCKETS_SHOWN]
    return ", ".join(f"{share(spent / whole)} {BUCKETS[name][1]}" for name, spent in largest if spent > LEAST * whole)


def styled(text: str) -> "Text":
    """The summary with its labels set off, for a terminal; colours follow NO_COLOR and the terminal's abilities."""
    from rich.text import Text

    lines = Text(text)
    lines.highlight_regex(r"(?m)^\S[^\n]*", "bold")
    lines.highlight_regex(r"(?m)^  (speed|download|transform|outputs|facts|list|report)\b", "cyan")
    lines.highlight_regex(r"(?m)^    time went\b", "dim")
    lines.highlight_regex(r"(?m)^  (auto|bottleneck|why|hint|next)\b", "green")
    lines.highlight_regex(r"(?m)^  (failures|deferred|missing|due again|exit code)\b", "red")
    return lines


def _reasons(record: RunRecord) -> Iterator[str]:
    """Why each stage's mode was right or wrong, and the best hint."""
    for brief in dict.fromkeys(choice.brief for choice in record.choices):
        yield f"  why         {brief}"
    if record.hints:
        hint = record.hints[0]
        yield f"  hint        {hint.text}: {hint.evidence}"


def _failures(record: RunRecord) -> Iterator[str]:
    if record.failures:
        yield f"  failures    {shown_codes(record.failures)}"
    if record.deferrals:
        yield f"  deferred    {shown_codes(record.deferrals)}"
    if missing := record.counts.missing_files:
        yield f"  missing     {count(missing, 'file')} of done items; --repair makes them again"


def _details(record: RunRecord) -> Iterator[str]:
    for name in STAGES:
        stage = record.stages.get(name)
        if stage and stage.parts:
            parts = ", ".join(f"{part} {seconds(value)}" for part, value in stage.parts.items())
            yield f"  {name} parts: {parts} in all"
    counts = record.counts
    yield f"  retried {counts.retried}, duplicates {counts.duplicates}, bad rows {counts.bad_rows}"
