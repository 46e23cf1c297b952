"""What the closing summary, `status` and the page say alike."""

from html import unescape
from pathlib import Path

import pytest

from batchproc.record.run_json import Counts, RunRecord, read_run
from batchproc.report.html import make_report
from batchproc.report.terminal import command_time, failure_step, named_keys, summarise
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


PATH = Path("out/failures.jsonl")


def step(failures: dict[str, int], **counts: int) -> str:
    known = Counts(**{"failed": sum(failures.values())} | counts)
    return failure_step(failures, known, PATH, "batchproc run job.toml")


def test_a_failure_of_the_config_names_the_key_and_no_flag() -> None:
    assert (
        "see out/failures.jsonl; 120 policy.address: name it in allow_addresses if it is yours; when allow_addresses "
        "has changed, batchproc run job.toml tries them again"
    ) == step({"policy.address": 120})


def test_other_failures_are_tried_again_by_the_flag() -> None:
    assert "see out/failures.jsonl; --retry-failed tries 2 items again" == step({"http.404": 2})
    assert step({"worker.crash": 1}, failed=0, quarantined=1).endswith(
        "--retry-failed tries 1 item again, the quarantined too"
    )


def test_with_both_the_key_is_named_where_it_decides_half_of_them() -> None:
    most, few = step({"too_large": 5, "http.404": 5}), step({"http.404": 9, "too_large": 1})

    assert "5 too_large: raise max_bytes if it should be taken; when max_bytes has changed, " in most
    assert most.endswith("--retry-failed tries all 10 items again")
    assert "see out/failures.jsonl; --retry-failed tries all 10 items again" == few


def test_bad_lines_are_to_be_mended_in_the_list() -> None:
    assert "see out/failures.jsonl, and mend 2 lines of the list" == step({"input.url": 2}, bad_rows=2)


def test_where_nothing_failed_there_is_nothing_to_say() -> None:
    assert "" == step({})


def test_keys_are_told_by_their_tables() -> None:
    assert "[download] allow_addresses, max_bytes, [transform] formats" == named_keys(
        ["download.allow_addresses", "download.max_bytes", "transform.formats"]
    )
