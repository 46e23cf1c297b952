"""What `batchproc status` says of a job on several machines: its parts, and what its last run came to."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field, to_builtins

from batchproc.cluster.part_ledger import PARTS_NAME, PartLedger
from batchproc.cluster.plan import CURRENT_NAME, FOLDER, read_plan
from batchproc.config import Config
from batchproc.errors import UsageError
from batchproc.explain.wording import cluster_text
from batchproc.explain.words import count
from batchproc.lock import Holder, find_holder
from batchproc.record.run_json import Counts, RunRecord, read_run
from batchproc.sink import Layout


class ClusterStatus(Struct, frozen=True, kw_only=True):
    """The parts by their state, and the last run that ended. `quarantined`: why each of those was given up."""

    job: str
    output: str
    plan: str
    parts: Mapping[str, int]
    quarantined: tuple[str, ...] = ()
    running: Holder | None = None
    counts: Counts | None = None
    last_run: str = ""
    cluster: str = ""
    failures: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        facts: dict[str, Any] = to_builtins(self)
        return facts


def read_cluster_status(config: Config) -> ClusterStatus:
    """How far a job on a cluster is; changes nothing. Raises `UsageError` where nothing was planned yet."""
    layout = Layout(output=config.paths.output)
    home = layout.output / FOLDER
    try:
        name = json.loads((home / CURRENT_NAME).read_bytes())["plan"]
    except FileNotFoundError:
        raise UsageError(f"{home}: there is no plan yet: the job has not run.") from None
    plan = read_plan(home / name)
    if plan is None:
        raise UsageError(f"{home / name}: the plan is gone; --fresh makes everything again.")
    with PartLedger.open_view(home / name / PARTS_NAME) as ledger:
        first = [row for row in ledger.rows() if not row.generation]
        states = Counter(row.state for row in first)
        states["waiting"] += len(plan.shards) - len(first)
        reasons = ledger.quarantined()
    record = _last_record(layout.latest_path)
    return ClusterStatus(
        job=config.job.name,
        output=str(layout.output),
        plan=name,
        parts={state: states[state] for state in ("committed", "waiting", "quarantined")},
        quarantined=reasons,
        running=find_holder(layout.lock_path),
        counts=record.counts if record else None,
        last_run=record.run_id if record else "",
        cluster=cluster_text(record.cluster) if record and record.cluster and record.cluster.workers else "",
        failures=record.failures if record else {},
    )


def describe_cluster_status(status: ClusterStatus) -> str:
    """The text for people."""
    return "\n".join(_lines(status))


def _lines(status: ClusterStatus) -> Iterator[str]:
    total = sum(status.parts.values())
    states = ", ".join(f"{number:,} {state}" for state, number in status.parts.items() if number)
    yield f"{status.job}: {count(total, 'part')}: {states}"
    if status.running is not None:
        yield f"  running     pid {status.running.pid}, since {status.running.started}"
    if status.counts is not None:
        words = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
        found = ", ".join(f"{value:,} {word}" for word in words if (value := getattr(status.counts, word)))
        yield f"  last run    {status.last_run}: {count(status.counts.items, 'item')}: {found}"
    if status.cluster:
        yield f"  cluster     {status.cluster}"
    yield from (f"  quarantine  {line}" for line in status.quarantined)
    yield f"  outputs     {status.output}"


def _last_record(latest: Path) -> RunRecord | None:
    try:
        return read_run(latest)
    except UsageError:
        return None
