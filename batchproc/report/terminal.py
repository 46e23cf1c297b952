"""The closing summary of a run, from its record alone: its verdict as a chart, and more of it with `-v`.

What `status` and the page say in the same words is here, too: the command's time, the list, and what failed.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchproc.errors import ExitCode
from batchproc.exit_reason import shown_codes
from batchproc.explain.mode_wording import ModeRate, StageRates, rates_of_run
from batchproc.explain.wording import cluster_text, process_cost_text, spare_text
from batchproc.explain.words import CATEGORIES, count, seconds, share, significant, size, states, workers
from batchproc.kinds import kind_of
from batchproc.record.explanation import Advice
from batchproc.record.run_json import Counts, RunRecord
from batchproc.record.run_parts import STAGES

if TYPE_CHECKING:
    from rich.text import Text

    from batchproc.record.run_parts import StageRecord


BUCKETS_SHOWN, LEAST = 4, 0.005
WIDTH = 80
INDENT = 14  # of what a label is followed by
BAR, CELL = 10, 31  # letters of a chart's bar, and of a stage's column


def summarise(record: RunRecord, folder: Path, *, verbose: bool = False, unicode: bool = True) -> str:
    """The text for people: counts, rate, how fast each mode is and why, the bottleneck, where things are."""
    return "\n".join(_lines(record, folder, verbose, unicode))


def wrapped(text: str) -> str:
    """The summary in lines of 80 columns, broken between words only: a path stays whole."""
    lines = (
        textwrap.fill(line, WIDTH, subsequent_indent=INDENT * " ", break_long_words=False, break_on_hyphens=False)
        if len(line) > WIDTH else line
        for line in text.split("\n")
    )  # fmt: skip
    return "\n".join(lines)


def _lines(record: RunRecord, folder: Path, verbose: bool, unicode: bool) -> Iterator[str]:
    yield _headline(record)
    if again := record.due_again.items:
        yield f"  due again   {count(again, 'item')}: {named_keys(record.due_again.because)} changed"
    if record.counts.processed:
        yield from _verdict(record, unicode)
        if record.cluster is not None:
            yield f"  cluster     {cluster_text(record.cluster)}"
        if verbose:
            yield from _details(record)
        if record.resampler_problem:
            problem = record.resampler_problem
            yield f"  resampler   Pillow resized in its place, for two to three times the CPU: {problem}"
    yield from _failures(record)
    keeps_rows = record.setting("job", "duplicates") == "rows"
    told = list_lines(record.counts, record.list_remarks, keeps_rows=keeps_rows, pruned=record.counts.pruned)
    yield from (f"  list        {text}" for text in told)
    if record.exit_code in (ExitCode.TOO_MANY_FAILED, ExitCode.LIMIT):
        yield f"  exit code   {record.exit_code}: {record.reason}"
    output = Path(record.setting("job", "output", ""))
    yield f"  outputs     {output}"
    if verbose:
        yield f"  facts       {folder / 'run.json'}"
        if (command := command_time(record)) is not None:
            yield f"  command     {command[0]} until here: {command[1]}"
    if step := _next_step(record, output / "failures.jsonl"):
        yield f"  next        {step}"


def _next_step(record: RunRecord, failures_path: Path) -> str:
    """What to do now; empty when there is nothing."""
    counts = record.counts
    if counts.pending:
        return f"{count(counts.pending, 'item')} left: the same command continues"
    if step := failure_step(record.failures, counts, Path(failures_path.name), "the same command"):
        return step
    return f"{count(counts.deferred, 'item')} left for the next run: the same command" if counts.deferred else ""


def _headline(record: RunRecord) -> str:
    counts = record.counts
    text = f"{record.job}: {count(counts.items, 'item')}: {states(counts)}"
    if not counts.items:
        return f"{record.job}: the list is empty, nothing to do"
    if not (counts.processed or counts.pending or record.stopped_by):
        return f"{text}; nothing to do"
    stopped = {"signal": "; interrupted", "duration": "; stopped by max_duration", "limit": "; stopped by --limit"}
    done = count(counts.processed, "item") if counts.processed else "no item finished"
    text = text if counts.processed == counts.items else f"{text}; {done} in this run"
    return f"{text}{stopped.get(record.stopped_by or '', '')}{_speed(record)}"


def _speed(record: RunRecord) -> str:
    rate = record.images_per_second
    speed = f"{significant(rate)} images/s" if rate else "no new image"
    return f"; {speed} in {seconds(record.line_seconds)}" if record.counts.processed else ""


def _verdict(record: RunRecord, unicode: bool) -> Iterator[str]:
    """How fast each mode of each stage is, why the best one is, what held the run back, and what to change first."""
    if found := rates_of_run(record):
        yield from _chart(record, found, unicode)
    elif any(record.stages[name].tasks for name in STAGES):
        yield from (f"  modes       {brief}" for brief in dict.fromkeys(choice.brief for choice in record.choices))
    if record.auto:
        yield f"  auto        {record.auto.text}"
    yield from (f"  {one.stage:<11} {one.reason}" for one in found)
    yield from (f"  silent host {text}" for stage in record.stages.values() if (text := spare_text(stage)))
    yield f"  bottleneck  {record.bottleneck.because}"
    is_noise = any(choice.values.get("others") for choice in record.choices)
    is_told = is_noise and bool(record.hints) and record.hints[0].code == Advice.MEASURE_AGAIN
    if record.hints and all(record.stages[name].tasks for name in STAGES) and not is_told:
        yield f"  hint        {record.hints[0].text}"


def _chart(record: RunRecord, found: Sequence[StageRates], unicode: bool) -> Iterator[str]:
    """Modes down, stages across; the bar of the mode that was used is the solid one."""
    heads = [f"{one.stage}: {workers(record.stages[one.stage])}" for one in found]
    yield f"  images/s    {''.join(head.ljust(CELL) for head in heads)}".rstrip()
    longest = max(rate.rate or 0.0 for one in found for rate in one.rates)
    for row in zip(*(one.rates for one in found), strict=True):
        cells = (_bar(rate, longest, unicode).ljust(CELL) for rate in row)
        yield f"  {row[0].name:<11} {''.join(cells)}".rstrip()


def _bar(mode: ModeRate, longest: float, unicode: bool) -> str:
    """As `█████████    79.3 used, best` or `░            8.1 (7.2-9)`."""
    if mode.rate is None:
        return "not predicted"
    letter = ("█" if unicode else "#") if mode.is_used else ("░" if unicode else "-")
    bar = letter * max(1, round(BAR * mode.rate / longest))
    span = "" if mode.low is None or mode.high is None else f" ({significant(mode.low)}-{significant(mode.high)})"
    return f"{bar:<{BAR}} {significant(mode.rate)}{span} {mode.marks}".rstrip()


def _stage_lines(name: str, stage: "StageRecord") -> Iterator[str]:
    if not stage.tasks:
        yield f"  {name:<11} {stage.mode}, {workers(stage)}; no image came so far"
        return
    service = stage.service_seconds
    yield (
        f"  {name:<11} {stage.mode}, {workers(stage)}, busy {share(stage.load.busy)}; per image "
        f"{seconds(service.p50)} (p95 {seconds(service.p95)}), CPU {seconds(stage.cpu_per_item_seconds)}"
    )
    whole = sum(stage.account.values())
    largest = sorted(stage.account.items(), key=lambda category: -category[1])[:BUCKETS_SHOWN]
    told = (f"{share(spent / whole)} {CATEGORIES[key]}" for key, spent in largest if spent > LEAST * whole)
    yield f"    time went {', '.join(told)}"


def styled(text: str) -> "Text":
    """The summary with its labels set off, for a terminal; colours follow NO_COLOR and the terminal's abilities."""
    from rich.text import Text

    lines = Text(text)
    lines.highlight_regex(r"(?m)^\S[^\n]*", "bold")
    lines.highlight_regex(r"(?m)^  (images/s|modes|serial|thread|process|start-up|outputs|facts|list|report)\b", "cyan")
    lines.highlight_regex(r"(?m)^    time went\b", "dim")
    lines.highlight_regex(r"(?m)^  (auto|download|transform|silent host|bottleneck|hint|next)\b", "green")
    lines.highlight_regex(r"(?m)^  (failures|deferred|missing|due again|exit code)\b", "red")
    return lines


def _failures(record: RunRecord) -> Iterator[str]:
    if record.failures:
        yield f"  failures    {shown_codes(record.failures)}"
    if record.deferrals:
        yield f"  deferred    {shown_codes(record.deferrals)}"
    if missing := record.counts.missing_files:
        yield f"  missing     {count(missing, 'file')} of done items; --repair makes them again"


def _details(record: RunRecord) -> Iterator[str]:
    """Where the time of each stage went, and the figures behind the verdict."""
    for name in STAGES:
        stage = record.stages[name]
        yield from _stage_lines(name, stage)
        if cost := process_cost_text(record, stage):
            yield f"    process cost {cost}"
        if name == "download" and (limit := record.concurrency):  # what `workers = "auto"` came to
            yield f"    at once     {limit.start} at first, {limit.highest} at most, {limit.limit} at the end"
        if stage.parts:
            parts = ", ".join(f"{part} {seconds(value)}" for part, value in stage.parts.items())
            yield f"    parts       {parts} in all"
    if record.hints:
        yield f"  hint        {record.hints[0].text}: {record.hints[0].evidence}"
    yield (
        f"  start-up    {seconds(record.startup_seconds)} to the first request; {size(record.original_bytes)} in, "
        f"{size(record.rendition_bytes)} out"
    )
    counts = record.counts
    yield f"  counts      retried {counts.retried}, duplicates {counts.duplicates}, bad rows {counts.bad_rows}"


COMMAND_PARTS = {
    "start": "starting",
    "lock": "waiting for the lock",
    "origin": "making the origin's images",
    "prepare": "opening the ledger and reading the list",
    "items": "items",
    "settle": "ledger and manifests",
    "describe": "explaining",
}
LEAST_PART = 0.01  # what is less is not named


def command_time(record: RunRecord) -> tuple[str, str] | None:
    """The whole command until its run.json was made, and its parts in their order; None where it is not known."""
    parts = record.command_seconds
    if not parts:
        return None
    whole = sum(parts.values())
    large = {name: value for name, value in parts.items() if value >= LEAST_PART * whole}
    named = [f"{seconds(large[name])} {words}" for name, words in COMMAND_PARTS.items() if name in large]
    return seconds(whole), ", ".join(named)


REMARKS_SHOWN = 5


def list_lines(counts: Counts, remarks: Sequence[str], *, keeps_rows: bool, pruned: int) -> Iterator[str]:
    """A sentence for each thing that whoever wrote the list should know; none where all is plain."""
    if counts.duplicates:
        kept = "each has its row in metadata.jsonl" if keeps_rows else 'duplicates = "rows" keeps their columns too'
        yield f"{count(counts.duplicates, 'further row')} of items listed before: {kept}"
    if counts.bad_rows:
        yield f"{count(counts.bad_rows, 'bad row')}: see failures.jsonl"
    if pruned:
        yield f"{count(pruned, 'file')} pruned: their sources left the list"
    yield from remarks[:REMARKS_SHOWN]
    if len(remarks) > REMARKS_SHOWN:
        yield f"and {len(remarks) - REMARKS_SHOWN} remarks more, in run.json"


def failure_step(failures: Mapping[str, int], counts: Counts, path: Path, command: str) -> str:
    """What to do now; empty where nothing failed. `failures`: by code, the most frequent first.

    A failure whose cause is in the config comes back by itself once that has changed; `--retry-failed` is for others.
    """
    again = counts.failed + counts.quarantined - counts.bad_rows
    if again:
        too = ", the quarantined too" if counts.quarantined else ""
        decided = {code: number for code, number in failures.items() if kind_of(code).decided_by}
        common = [(code, number) for code, number in decided.items() if 2 * number >= again]
        steps = [f"see {path}", *(_config_step(*found, command) for found in common[:1])]
        if sum(decided.values()) < again:
            steps.append(f"--retry-failed tries {'all ' if decided else ''}{count(again, 'item')} again{too}")
        return "; ".join(steps)
    return f"see {path}, and mend {count(counts.failed, 'line')} of the list" if counts.failed else ""


def _config_step(code: str, number: int, command: str) -> str:
    kind = kind_of(code)
    keys = " or ".join(key.partition(".")[2] for key in kind.decided_by)
    it = "it" if number == 1 else "them"
    return f"{number:,} {code}: {kind.advice}; when {keys} has changed, {command} tries {it} again"


def named_keys(keys: Iterable[str]) -> str:
    """Config keys as they are told: `[download] allow_addresses, max_bytes`."""
    tables: dict[str, list[str]] = {}
    for key in keys:
        table, _, name = key.partition(".")
        tables.setdefault(table, []).append(name)
    return ", ".join(f"[{table}] {', '.join(names)}" for table, names in tables.items())
