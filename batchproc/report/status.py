"""What `batchproc status` prints: the ledger at a glance, the last runs, and what to do next. Changes nothing."""

from dataclasses import asdict
from typing import Any

from batchproc.config import Config
from batchproc.ledger import LedgerView
from batchproc.sink import Layout

RUNS_SHOWN = 10
STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")


def status_facts(config: Config) -> dict[str, Any]:
    """The state of the job as JSON-safe values. Raises `UsageError` when it never ran, `DiskError` when unreadable."""
    layout = Layout(output=config.paths.output)
    with LedgerView.open_view(layout.ledger_path) as ledger:
        return {
            "job": config.job.name,
            "output": str(layout.output),
            "counts": asdict(ledger.counts()),
            "failures": ledger.failures_by_code(),
            "due": ledger.count_work(max_runs=config.job.max_runs_per_item),
            "runs": [asdict(record) | {"is_clean": record.is_clean} for record in ledger.last_runs(RUNS_SHOWN)],
        }


def describe_status(facts: dict[str, Any]) -> str:
    """The state for people."""
    counts = facts["counts"]
    lines = [f"{facts['job']}: {counts['items']:,} items in {facts['output']}"]
    lines += [f"  {state:<12}{counts[state]:>10,}" for state in STATES if counts[state] or state == "done"]
    if counts["absent"]:
        lines.append(f"  {'absent':<12}{counts['absent']:>10,}  no longer in the list, files kept")
    if facts["failures"]:
        lines.append("failed by code: " + ", ".join(f"{code} {number}" for code, number in facts["failures"].items()))
    lines += ["last runs, newest first:", *(_run(run) for run in facts["runs"])]
    return "\n".join([*lines, f"next: {_advice(facts)}"])


def _run(run: dict[str, Any]) -> str:
    if not run["is_clean"]:
        return f"  {run['name']}  did not end: killed, or still running (pid {run['pid']})"
    done = run["counters"].get("processed", 0)
    return f"  {run['name']}  exit {run['exit_code']}, {done:,} items processed"


def _advice(facts: dict[str, Any]) -> str:
    if facts["due"]:
        return f"{facts['due']:,} items are due: batchproc run continues"
    if facts["counts"]["failed"]:
        return "nothing is due; batchproc run --retry-failed tries the failed items again"
    return "nothing is due"
