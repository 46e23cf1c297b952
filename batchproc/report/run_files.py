"""What a run or a bench left on disk, read in bounded time and memory: a list of ten million rows is sampled.

And trace.json, which is made of it: the run as a Chrome trace, for Perfetto's viewer or chrome://tracing. One track per
worker with a slice per item, and inside it a slice per part; counters for what was in flight and held in memory.
Format: "Trace Event Format" (the Chromium project), times in microseconds.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct

from batchproc.errors import UsageError
from batchproc.record.run_json import RunRecord
from batchproc.sink import Layout, write_atomically

READ_BYTES = 6_000_000  # about 10,000 rows, a fifth of a second at most
BLOCKS = 48
SPANS_READ = 20_000

Row: TypeAlias = Mapping[str, Any]  # of a file that anything may have been written to
TraceEvent: TypeAlias = Mapping[str, object]


class RunFolder(Struct, frozen=True, kw_only=True):
    """The folder of one run, and the job's output folder around it, where there is one."""

    path: Path
    output: Path | None

    @property
    def is_latest(self) -> bool:
        """Whether the manifests beside it are as this run left them, as far as can be told."""
        return self.output is not None and Layout(output=self.output).latest_path.resolve() == self.path.resolve()


class Rows(Struct, frozen=True, kw_only=True):
    """Rows of a manifest: all of them, or blocks spread evenly over the file. `share`: of its bytes that are read."""

    path: Path
    share: float

    def __iter__(self) -> Iterator[Row]:
        return _rows(self.path, self.share)


def read_attempts(folder: Path) -> list[Row]:
    """The sample of attempts in spans.jsonl, in its order; empty when there is none."""
    path = folder / "spans.jsonl"
    attempts: list[Row] = []
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                row = _row(line)
                if row is not None and isinstance(row.get("spans"), list):
                    attempts.append(row)
                if len(attempts) >= SPANS_READ:
                    break
    return attempts


def manifest(path: Path | None) -> Rows | None:
    """A manifest's rows; None when there is no such file."""
    if path is None or not path.is_file():
        return None
    length = path.stat().st_size
    return Rows(path=path, share=min(1.0, READ_BYTES / length) if length else 1.0)


def _rows(path: Path, share: float) -> Iterator[Row]:
    with path.open("rb") as file:
        lines = file if share >= 1 else _spread(file, path.stat().st_size)
        for line in lines:
            row = _row(line)
            if row is not None:
                yield row


def _spread(file: BufferedReader, length: int) -> Iterator[bytes]:
    """The whole lines inside blocks that are spread evenly over the file."""
    size = READ_BYTES // BLOCKS
    for block in range(BLOCKS):
        start = (length - size) * block // (BLOCKS - 1)
        file.seek(start)
        lines = file.read(size).split(b"\n")
        yield from lines[1 if start else 0 : -1]


def _row(line: bytes) -> Row | None:
    """A row, or None for a line that is none: half a line must not cost the page."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def find_subject(path: Path) -> RunFolder | Path:
    """A run, or the folder of a bench. Raises `UsageError`.

    The folder itself goes first: `run.json` or `bench.json` in it. Then its `latest`, as a job's output folder and the
    `bench` folder in it have one. A job that has runs and benches means its last run; one without runs its last bench.
    """
    from batchproc.bench.bench_json import FILE_NAME  # of no use to `status`, and slow to import

    for folder in (path, path / "latest"):
        if (folder / FILE_NAME).is_file():
            return folder.resolve()
    if (path / "run.json").is_file():
        run = path.resolve()
        return RunFolder(path=run, output=run.parent.parent if run.parent.name == "runs" else None)
    latest = Layout(output=path).latest_path
    if (latest / "run.json").is_file():
        return RunFolder(path=latest.resolve(), output=path.resolve())
    latest_bench = path / "bench" / "latest"
    if (latest_bench / FILE_NAME).is_file():
        return latest_bench.resolve()
    if not path.exists():
        raise UsageError(f"{path}: no such folder; give a run's folder, or a job's output folder")
    message = f"{path}: holds no run.json, no bench.json, and no latest/ with one"
    raise UsageError(f"{message}; give a run's or a bench's folder, or a job's output folder")


PID = 1
MICROSECONDS = 1e6
COUNTERS = {
    "held_bytes": "originals held in memory (bytes)",
    "waiting": "items read ahead",
    "pss_bytes": "memory of all processes (PSS, bytes)",
    "threads": "threads",
}


def write_trace(record: RunRecord, folder: Path) -> Path:
    """Writes `trace.json` into a run's folder and returns its path. Raises OSError, and ValueError for broken spans."""
    path = folder / "trace.json"
    with (folder / "spans.jsonl").open(encoding="utf-8") as lines:
        write_atomically(path, _document(record, (json.loads(line) for line in lines)))
    return path


def _document(record: RunRecord, rows: Iterator[Row]) -> Iterator[bytes]:
    """The JSON text in pieces: a trace may be longer than what one wants to hold."""
    yield b'{"displayTimeUnit": "ms", "traceEvents": [\n'
    name = {"name": "process_name", "ph": "M", "pid": PID, "args": {"name": f"batchproc {record.job}"}}
    yield _encode(name)
    tracks: dict[str, int] = {}
    for row in rows:
        for event in _item_events(row, tracks):
            yield b",\n" + _encode(event)
    for event in (*_track_names(tracks), *_counter_events(record)):
        yield b",\n" + _encode(event)
    yield b"\n]}\n"


def _item_events(row: Row, tracks: dict[str, int]) -> Iterator[TraceEvent]:
    for span in row["spans"]:
        track = tracks.setdefault(span["worker"], len(tracks) + 1)
        common = {"ph": "X", "pid": PID, "tid": track, "cat": span["stage"]}
        yield {
            **common,
            "name": f"{span['stage']} #{row['index']}",
            "ts": _us(span["started"]),
            "dur": _us(span["ended"] - span["started"]),
            "args": {
                "key": row["key"],
                "outcome": row["outcome"],
                "code": row["code"],
                "waited_ms": round(1e3 * (span["started"] - span["enqueued"]), 3),
                "cpu_ms": round(1e3 * span["cpu"], 3),
                "runqueue_ms": None if span["runqueue"] is None else round(1e3 * span["runqueue"], 3),
            },
        }
        yield from _part_events(span, common)


def _part_events(span: Row, common: TraceEvent) -> Iterator[TraceEvent]:
    """Parts follow each other in the order of their first lap; one that came twice is drawn once, with its sum."""
    begin = span["started"]
    for part, (wall, cpu) in span["parts"].items():
        yield {**common, "name": part, "ts": _us(begin), "dur": _us(wall), "args": {"cpu_ms": round(1e3 * cpu, 3)}}
        begin += wall


def _track_names(tracks: Mapping[str, int]) -> Iterator[TraceEvent]:
    for order, worker in enumerate(sorted(tracks, key=worker_order)):
        common = {"ph": "M", "pid": PID, "tid": tracks[worker]}
        yield {**common, "name": "thread_name", "args": {"name": worker}}
        yield {**common, "name": "thread_sort_index", "args": {"sort_index": order}}


def worker_order(worker: str) -> tuple[str, int]:
    """What sorts workers by their stem, then by their number."""
    stem, _, number = worker.rpartition("-")
    return (stem, int(number)) if re.fullmatch(r"(?a:\d{1,9})", number) else (worker, 0)


def _counter_events(record: RunRecord) -> Iterator[TraceEvent]:
    """Counters in the time of the spans: the sampler started some time after the observer."""
    series, started, observed = record.samples.series, record.samples.started, record.observer_started
    if not series or started is None or observed is None:
        return
    shift = started - observed
    for row, seconds in enumerate(series["t_seconds"]):
        if seconds is None:
            continue
        for column, name in COUNTERS.items():
            value = series[column][row] if column in series else None
            if value is not None:
                yield _counter(name, seconds + shift, value)
        for name, value in _in_flight(series, row):
            yield _counter(name, seconds + shift, value)


def _in_flight(series: Mapping[str, Sequence[float | None]], row: int) -> Iterator[tuple[str, float]]:
    columns = ("download_in_total", "download_out_total", "transform_out_total")
    admitted, downloaded, done = (series[column][row] if column in series else None for column in columns)
    if admitted is not None and downloaded is not None and done is not None:
        yield "in download", admitted - downloaded
        yield "in transform", downloaded - done


def _counter(name: str, seconds: float, value: float) -> TraceEvent:
    return {"name": name, "ph": "C", "pid": PID, "ts": _us(seconds), "args": {"value": value}}


def _us(seconds: float) -> float:
    return round(MICROSECONDS * seconds, 1)


def _encode(event: TraceEvent) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
