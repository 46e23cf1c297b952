from html import unescape

import pytest

from batchproc.record.run import RunRecord, read_run
from batchproc.report.command_time import command_time
from batchproc.report.html import make_report
from batchproc.report.terminal import summarise
from tests.report.folder import Job


@pytest.fixture
def record(job: Job) -> RunRecord:
    return read_run(job.run)


def test_the_parts_of_a_command_follow_on_each_other_and_hold_the_clock_of_the_run(record: RunRecord) -> None:
    parts = record.command_seconds or {}

    assert ["start", "lock", "origin", "prepare", "items", "settle", "describe"] == list(parts)
    assert all(seconds >= 0 for seconds in parts.values())
    assert record.line_seconds == parts["items"]
    assert record.wall_seconds == pytest.approx(parts["prepare"] + parts["items"] + parts["settle"])


def test_summary_and_page_say_the_same_of_the_command(job: Job, record: RunRecord) -> None:
    told = command_time(record)
    assert told is not None

    page = unescape(make_report(job.run).read_text())

    assert f"  command     {told[0]} until here: {told[1]}" in summarise(record, job.run, verbose=True).splitlines()
    assert told[0] in page
    assert told[1] in page


def test_small_parts_of_a_command_are_left_out() -> None:
    parts = dict.fromkeys(("lock", "origin", "prepare", "settle", "describe"), 0.0) | {"start": 0.5, "items": 1.5}

    assert ("2 s", "500 ms starting, 1.5 s items") == command_time(RunRecord(command_seconds=parts))


def test_a_command_that_nobody_timed_is_unknown() -> None:
    assert command_time(RunRecord()) is None
