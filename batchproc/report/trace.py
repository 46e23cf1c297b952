"""trace.json: the run as a Chrome trace, for Perfetto's viewer or chrome://tracing.

One track per worker with a slice per item, and inside it a slice per part; counters for what was in flight and held in
memory. Format: "Trace Event Format" (the Chromium project), times in microseconds. From the record and spans.jsonl.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchproc.record.run_json import RunRecord
from batchproc.sink import write_atomically

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


def _document(record: RunRecord, rows: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
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


def _item_events(row: Mapping[str, Any], tracks: dict[str, int]) -> Iterator[dict[str, Any]]:
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


def _part_events(span: Mapping[str, Any], common: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parts follow each other in the order of their first lap; one that came twice is drawn once, with its sum."""
    begin = span["started"]
    for part, (wall, cpu) in span["parts"].items():
        yield {**common, "name": part, "ts": _us(begin), "dur": _us(wall), "args": {"cpu_ms": round(1e3 * cpu, 3)}}
        begin += wall


def _track_names(tracks: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for order, worker in enumerate(sorted(tracks, key=_natural)):
        common = {"ph": "M", "pid": PID, "tid": tracks[worker]}
        yield {**common, "name": "thread_name", "args": {"name": worker}}
        yield {**common, "name": "thread_sort_index", "args": {"sort_index": order}}


def _natural(worker: str) -> tuple[str, int]:
    stem, _, number = worker.rpartition("-")
    return stem, int(number) if number.isdigit() else 0


def _counter_events(record: RunRecord) -> Iterator[dict[str, Any]]:
    """Counters in the time of the spans: the sampler started some time after the observer."""
    series, started, observed = record.sampled.series, record.sampled.started, record.observer_started
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


def _counter(name: str, seconds: float, value: float) -> dict[str, Any]:
    return {"name": name, "ph": "C", "pid": PID, "ts": _us(seconds), "args": {"value": value}}


def _us(seconds: float) -> float:
    return round(MICROSECONDS * seconds, 1)


def _encode(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
