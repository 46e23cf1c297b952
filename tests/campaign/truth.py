"""What is true of a job, read without the program: its ledger by SQL of our own, its files by their hashes."""

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchproc.kinds import kind_of

STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
TRANSIENT = ("http.500", "connect", "truncated", "timeout.connect")  # of what the night's server can do
MOST_RUNS = 5  # [job] max_runs_per_item
ITEMS = (
    "SELECT lower(hex(key)), url, state, code, stage, runs, coalesce(suffix, ''), coalesce(temporary, ''), "
    "coalesce(before_absent, ''), coalesce(lower(hex(sha256)), ''), coalesce(lower(hex(source_sha256)), '') FROM item"
)
RUNS = "SELECT name, pid, ended, exit_code, counters_json FROM run ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item of the ledger."""

    key: str
    url: str
    state: str
    code: str
    stage: str
    runs: int
    suffix: str
    temporary: str
    before_absent: str
    sha256: str
    source_sha256: str

    @property
    def is_due(self) -> bool:
        """Whether a plain run works on it, by the README's words; a staged one has its file already."""
        tried_out = self.runs >= MOST_RUNS
        return self.state in ("pending", "deferred") or (
            self.state == "failed" and self.code in TRANSIENT and not tried_out
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One run of the ledger."""

    name: str
    pid: int
    ended: str | None
    exit_code: int | None
    counters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A job at one moment: its rows by key, its runs in their order, and the hash of every picture by file name."""

    rows: Mapping[str, Row]
    runs: Sequence[Started]
    hashes: Mapping[str, str]
    metadata: bytes
    failures: bytes

    def of(self, *states: str) -> dict[str, Row]:
        """The rows in these states."""
        return {key: row for key, row in self.rows.items() if row.state in states}

    def run_of(self, pid: int) -> Started | None:
        """What the ledger knows of the run of a process."""
        return next((run for run in reversed(self.runs) if run.pid == pid), None)

    @property
    def counts(self) -> dict[str, int]:
        """The states of the list; what is staged counts as pending."""
        states = Counter(row.state for row in self.rows.values())
        states["pending"] += states.pop("staged", 0)
        absent = states.pop("absent", 0)
        return {"items": states.total(), **{state: states[state] for state in STATES}, "absent": absent}

    @property
    def failed_share(self) -> float:
        counts = self.counts
        return (counts["failed"] + counts["quarantined"]) / max(1, counts["items"])

    @property
    def deferred_share(self) -> float:
        counts = self.counts
        return counts["deferred"] / max(1, counts["items"])


def read_truth(output: Path) -> Truth:
    """The job as it stands; empty before its first run. The ledger is read from a copy: looking must not repair it."""
    rows: list[Row] = []
    runs: list[Started] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in output.glob("batchproc.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder, "batchproc.db"))) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'item'").fetchone():
                rows = [_row(values) for values in connection.execute(ITEMS)]
                runs = [_run(values) for values in connection.execute(RUNS)]
    return Truth(
        rows={row.key: row for row in rows},
        runs=runs,
        hashes={str(path.relative_to(output)): _hash(path) for path in _files(output / "images")},
        metadata=_content(output / "metadata.jsonl"),
        failures=_content(output / "failures.jsonl"),
    )


def faults_of_status(facts: Mapping[str, Any], truth: Truth, rowless: Sequence[int], exit_code: int) -> Iterator[str]:
    """Where `batchproc status --json` and the truth differ, while no run is under way.

    `rowless`: the pids of the starts since the last run that left no row; `exit_code` of the last start.
    """
    counts = truth.counts
    for name, number in counts.items():
        if facts["counts"][name] != number:
            yield f"status says {facts['counts'][name]} {name}, there are {number}"
    codes = Counter(row.code for row in truth.of("failed", "quarantined").values())
    if facts["failures"] != dict(codes):
        yield f"status says {facts['failures']} failed, there are {dict(codes)}"
    due = sum(row.is_due for row in truth.rows.values())
    if facts["due"] != due:
        yield f"status says {facts['due']} due, there are {due}"
    if facts["running"] is not None:
        yield f"status says that a run is under way: {facts['running']}"
    shown = [(run["name"], run["pid"], run["exit_code"]) for run in facts["runs"]]
    known = [(run.name, run.pid, run.exit_code) for run in reversed(truth.runs[-len(shown) :])]
    if shown != (known if shown else []):
        yield f"status shows the runs {shown}, there were {known}"
    lost = facts["lost_start"]
    if lost and lost["pid"] not in rowless:
        yield f"status says that a start was lost: {lost}; without a row are those of {rowless}"
    if rowless and exit_code == 5 and not lost:  # it had the lock: the disk says no later
        yield f"status does not know of the start of pid {rowless[-1]}, which ended with {exit_code}"
    words = "before its run began" if lost else next_words(truth, due)
    if words not in facts["next"]:
        yield f'status says "{facts["next"]}", not "{words}"'


def next_words(truth: Truth, due: int) -> str:
    """What the advice of `status` must speak of."""
    counts, last = truth.counts, truth.runs[-1] if truth.runs else None
    if last is not None and last.exit_code == 5:
        return "could not write"
    if last is not None and last.ended is None:
        return "killed"
    if due:
        return f"{due} item"
    left = [row for row in truth.of("failed", "quarantined").values() if row.stage != "input"]
    if left:
        return "has changed" if all(kind_of(row.code).decided_by for row in left) else "--retry-failed"
    return "mend" if counts["failed"] else "nothing is due; --refresh"


def faults_of_files(truth: Truth, output: Path, *, tidy: bool) -> Iterator[str]:
    """Rows without their file, files without their row, files that are not what their row says.

    `tidy`: the last start had the time and the room to leave no temporary file behind.
    """
    names = {f"images/{row.key[:2]}/{row.key}{row.suffix}": row for row in truth.rows.values() if row.suffix}
    for name, row in names.items():
        if row.state == "done" and truth.hashes.get(name) != row.sha256:
            yield f"{name} is done, and its file is {'another' if name in truth.hashes else 'not there'}"
        if row.state == "staged" and row.sha256 not in (truth.hashes.get(name), _part_hash(output, row.temporary)):
            yield f"{name} is staged, and has no file of that content under either name"
    for name in truth.hashes:
        if name not in names:
            yield f"{name} has no row"
    known = {row.temporary for row in truth.of("staged").values()}
    if tidy:
        yield from (f".tmp/{path.name} is left" for path in (output / ".tmp").glob("*.part") if path.name not in known)


def faults_of_manifests(truth: Truth, *, tidy: bool) -> Iterator[str]:
    """Lines that are not whole; after a `tidy` end also lines that are not what the ledger says."""
    try:
        metadata = {row["key"]: row for row in map(json.loads, truth.metadata.splitlines())}
        failures = {row["key"]: row for row in map(json.loads, truth.failures.splitlines())}
    except ValueError as error:
        yield f"a manifest has a line that is no JSON: {error}"
        return
    if not tidy:
        return
    done = {key: row.sha256 for key, row in truth.of("done").items()}
    if done != {key: row["sha256"] for key, row in metadata.items()}:
        yield f"metadata.jsonl has {len(metadata)} rows, {len(done)} are done, or with other contents"
    left = {key: (row.state, row.code) for key, row in truth.of(*STATES[1:-1]).items()}
    if left != {key: (row["outcome"], row["code"]) for key, row in failures.items()}:
        yield f"failures.jsonl has {len(failures)} rows, {len(left)} left early, or for other reasons"


def _row(values: Sequence[Any]) -> Row:
    key, url, state, code, stage, runs, suffix, temporary, before_absent, sha256, source_sha256 = values
    return Row(
        key=key, url=url, state=state, code=code, stage=stage, runs=runs, suffix=suffix, temporary=temporary,
        before_absent=before_absent, sha256=sha256, source_sha256=source_sha256,
    )  # fmt: skip


def _run(values: Sequence[Any]) -> Started:
    name, pid, ended, exit_code, counters = values
    return Started(name=name, pid=pid, ended=ended, exit_code=exit_code, counters=json.loads(counters))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _part_hash(output: Path, name: str) -> str:
    path = output / ".tmp" / name
    return _hash(path) if name and path.is_file() else ""


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
