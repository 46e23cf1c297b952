"""trace.json, made from a real run."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from batchproc.record.run_json import RunRecord
from batchproc.report.run_files import write_trace
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run


@pytest.fixture
def events(make_job: MakeJob) -> list[dict[str, Any]]:
    result = run(make_job(images=8), "report.trace=true")
    document = json.loads(write_trace(result.record, result.folder).read_text())
    assert {"displayTimeUnit", "traceEvents"} == set(document)
    return document["traceEvents"]


def test_every_item_has_a_slice_per_stage_on_its_workers_track(events: list[dict[str, Any]]) -> None:
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices = [event for event in events if event["ph"] == "X" and "#" in event["name"]]

    assert {f"{stage} #{number}" for stage in ("download", "transform") for number in range(8)} == {
        event["name"] for event in slices
    }
    assert all(names[event["tid"]].startswith(event["cat"]) for event in slices)


def test_parts_lie_inside_their_slice(events: list[dict[str, Any]]) -> None:
    whole: dict[str, Any] = {}
    for event in events:
        if event["ph"] != "X":
            continue
        if "#" in event["name"]:
            whole = event
        else:
            assert whole["ts"] - 1 <= event["ts"]
            assert event["ts"] + event["dur"] <= whole["ts"] + whole["dur"] + 50


def test_slices_of_one_worker_never_overlap(events: list[dict[str, Any]]) -> None:
    slices = [event for event in events if event["ph"] == "X" and "#" in event["name"]]
    for track in {event["tid"] for event in slices}:
        times = sorted((event["ts"], event["ts"] + event["dur"]) for event in slices if event["tid"] == track)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_counters_run_in_the_time_of_the_slices(events: list[dict[str, Any]]) -> None:
    counters = [event for event in events if event["ph"] == "C"]
    last = max(event["ts"] + event["dur"] for event in events if event["ph"] == "X")

    assert {"in download", "in transform"} <= {event["name"] for event in counters}
    assert all(0 <= event["ts"] <= last + 2e6 for event in counters)


def test_a_run_folder_without_spans_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"spans\.jsonl"):
        write_trace(RunRecord(), tmp_path)
