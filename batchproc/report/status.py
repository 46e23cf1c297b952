"""What `batchproc status` prints: the ledger at a glance, the last runs with their trend, and what to do next.

Changes nothing: the ledger is opened for reading only, and the run lock is tried, never kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from batchproc.config import Config, deciding_values
from batchproc.explain.words import count, seconds, significant
from batchproc.ledger import LedgerView
from batchproc.lock import find_holder, read_last_holder
from batchproc.record.counts import Counts
from batchproc.report.advice import failure_step, named_keys
from batchproc.report.list_words import list_lines
from batchproc.sink import ImageFolder, Layout

RUNS_SHOWN = 10
SECOND = len("2026-11-22T08:15:30")  # of a time in ISO 8601: the lock file has whole seconds
RUNS_COMPARED = 3  # a trend needs at least so many runs that had work
STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
MEANINGS = {
    "quarantined": "  killed their worker twice; --retry-failed tries them again",
    "deferred": "  left for the next run without being charged",
    "absent": "  no longer in the list",
}
TREND = {"rate": "images_per_second", "failures": "failed_this_run", "duration": "wall_seconds"}  # counters of a run


def status_facts(config: Config) -> dict[str, Any]:
    """The state of the job as JSON-safe values. Raises `UsageError` when it never ran, `DiskError` when unreadable."""
    layout = Layout(output=config.paths.output)
    holder = find_holder(layout.lock_path)
    with LedgerView.open_view(layout.ledger_path) as ledger:
        runs = [asdict(record) | {"is_clean": record.is_clean} for record in ledger.last_runs(RUNS_SHOWN)]
        facts: dict[str, Any] = {
            "job": config.job.name,
            "config": str(config.paths.config),
            "output": str(layout.output),
            "running": asdict(holder) if holder else None,
            "lost_start": None if holder else _find_lost_start(layout.lock_path, runs),
            "counts": asdict(ledger.counts()),
            "failures": ledger.failures_by_code(),
            "due": ledger.count_work(max_runs=config.job.max_runs_per_item),
            "due_again": _find_due_again(ledger, config),
            "list_remarks": ledger.remarks(),
            "keeps_rows": config.job.duplicates == "rows",
            "missing_files": ledger.count_missing(ImageFolder(layout.output)),
            "runs": runs,
            "trend": find_trend(runs),
        }
    return facts | {"next": advise(facts)}


def _find_due_again(ledger: LedgerView, config: Config) -> dict[str, Any]:
    """What the next run tries again because the config has changed. Steps are not looked at: that would load them."""
    found = ledger.find_due_again(deciding_values(config), max_runs=config.job.max_runs_per_item)
    return {"items": found.items, "because": list(found.because)}


def _find_lost_start(lock_path: Path, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The last start, if it ended before it had a row in the ledger: killed while it read the list, or refused by the
    disk. The lock file alone knows of it. One that was refused before it had the lock (exit codes 2 and 75) left no
    trace."""
    last = read_last_holder(lock_path)
    if last is None:
        return None
    if runs and last.pid == runs[0]["pid"] and last.started[:SECOND] <= runs[0]["started"][:SECOND]:
        return None
    return asdict(last)


def find_trend(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]] | None:
    """The last run that had work, beside the median of those before it; None without enough of them."""
    worked = [run["counters"] for run in runs if run["is_clean"] and run["counters"].get("images_per_second")]
    if len(worked) < RUNS_COMPARED:
        return None
    return {
        name: {"last": worked[0].get(key, 0), "median_before": median(run.get(key, 0) for run in worked[1:])}
        for name, key in TREND.items()
    }


def advise(facts: Mapping[str, Any]) -> str:
    """What to do next, as one sentence."""
    counts, command = facts["counts"], f"batchproc run {facts['config']}"
    last = facts["runs"][0] if facts["runs"] else None
    lost = facts.get("lost_start")
    if facts["running"]:
        return f"wait: a run is under way; kill -USR1 {facts['running']['pid']} makes it tell how far it is"
    if lost:
        return f"the start of {lost['started']} ended before its run began; {command} goes on, or says why it cannot"
    if last is not None and last["exit_code"] == 5:
        return f"the last run could not write: make room or look at the disk, then {command}"
    if last is not None and not last["is_clean"]:
        return f"the last run was killed; {command} continues and loses nothing"
    if again := facts["due_again"]["items"]:
        changed = named_keys(facts["due_again"]["because"])
        more = f", and {facts['due']:,} more" if facts["due"] else ""
        return f"{count(again, 'item')} due again, since {changed} changed{more}: {command}"
    if facts["due"]:
        return f"{count(facts['due'], 'item')} due: {command}"
    if missing := facts.get("missing_files"):
        return f"{count(missing, 'file')} missing: {command} --repair makes them again"
    if step := failure_step(facts["failures"], Counts(**counts), Path(facts["output"]) / "failures.jsonl", command):
        return f"nothing is due; {step}"
    return "nothing is due; --refresh asks the servers whether anything has changed"


def describe_status(facts: Mapping[str, Any]) -> str:
    """The state for people."""
    return "\n".join(_lines(facts))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    counts, running = facts["counts"], facts["running"]
    yield f"{facts['job']}: {count(counts['items'], 'item')} in {facts['output']}"
    for state in (*STATES, "absent"):
        if counts[state] or state == "done":
            yield f"  {state:<12}{counts[state]:>10,}{MEANINGS.get(state, '')}"
    if facts["missing_files"]:
        yield f"files missing: {facts['missing_files']:,} of done items; --repair makes them again"
    pruned = facts["runs"][0]["counters"].get("pruned", 0) if facts["runs"] else 0
    for text in list_lines(Counts(**counts), facts["list_remarks"], keeps_rows=facts["keeps_rows"], pruned=pruned):
        yield f"list: {text}"
    if facts["failures"]:
        yield "failed by code: " + ", ".join(f"{code} {number:,}" for code, number in facts["failures"].items())
    if running:
        yield f"running now: pid {running['pid']}, since {running['started']}"
    if facts["lost_start"]:
        yield f"last start: {facts['lost_start']['started']}, ended before its run began"
    yield "last runs, newest first:"
    yield f"  {'run':<20}{'exit':>4}{'processed':>12}{'failed':>9}{'deferred':>10}{'images/s':>10}{'duration':>12}"
    yield from (_run(run, running) for run in facts["runs"])
    if facts["trend"]:
        yield "trend: " + "; ".join(_trend_words(facts["trend"]))
    yield f"next: {facts['next']}"


def _run(run: Mapping[str, Any], running: Mapping[str, Any] | None) -> str:
    if not run["is_clean"]:
        under_way = running is not None and running["pid"] == run["pid"]
        return f"  {run['name']:<20}{'under way' if under_way else 'did not end: it was killed'}"
    counters = run["counters"]
    rate, duration = counters.get("images_per_second"), counters.get("wall_seconds")
    return (
        f"  {run['name']:<20}{run['exit_code']:>4}{counters.get('processed', 0):>12,}"
        f"{counters.get('failed_this_run', 0):>9,}{counters.get('deferred_this_run', 0):>10,}"
        f"{significant(rate) if rate else '-':>10}{seconds(duration) if duration is not None else '-':>12}"
    )


def _trend_words(trend: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    rate, failures, duration = trend["rate"], trend["failures"], trend["duration"]
    change = 100 * (rate["last"] / rate["median_before"] - 1)
    yield f"{significant(rate['last'])} images/s, before {significant(rate['median_before'])} ({change:+.0f} %)"
    yield f"{failures['last']:,.0f} failed, before {failures['median_before']:,.0f}"
    yield f"{seconds(duration['last'])}, before {seconds(duration['median_before'])}"
