"""The log of a run: whole lines, safe to show, bounded, and never the reason why a run fails."""

import json
import resource
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from batchproc.model import Failure, Source
from batchproc.redact import printable
from batchproc.runlog import EARLY_RECORDS, RunLog

NOW = datetime(2026, 11, 22, 9, 15, 30, 123456, tzinfo=timezone(timedelta(hours=1)))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def failure(index: int = 0, code: str = "http.404", url: str = "https://example.org/a.jpg") -> Failure:
    source = Source(index=index, line=index + 1, url=url, key=bytes(16))
    return Failure(source=source, stage="download", code=code, message="example.org answered 404", attempts=2)


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    log = RunLog(now=lambda: NOW, failures_per_code=3)
    log.open(tmp_path / "log.jsonl")
    return log


def test_a_record_is_a_line_with_its_time_in_utc(log: RunLog, tmp_path: Path) -> None:
    log.record("run.started", job="demo", work=3)

    expected = {"time": "2026-11-22T08:15:30.123Z", "level": "info", "event": "run.started", "job": "demo", "work": 3}
    assert [expected] == records(tmp_path / "log.jsonl")


def test_what_is_recorded_before_the_folder_exists_is_kept(tmp_path: Path) -> None:
    log = RunLog()
    log.record("early")

    log.open(tmp_path / "log.jsonl")
    log.record("late")

    assert ["early", "late"] == [record["event"] for record in records(tmp_path / "log.jsonl")]


def test_early_records_are_bounded() -> None:
    log = RunLog()
    for _ in range(EARLY_RECORDS + 7):
        log.record("early")

    assert 7 == log.lost


def test_a_failed_item_says_where_it_stands_and_hides_its_secrets(log: RunLog, tmp_path: Path) -> None:
    log.failed(failure(index=41, url="https://user:hunter2@example.org/a.jpg?token=hunter2&w=3"))

    (record,) = records(tmp_path / "log.jsonl")
    assert ("http.404", 42, 2, "failed") == tuple(record[name] for name in ("code", "line", "attempts", "outcome"))
    assert "https://***@example.org/a.jpg?token=***&w=3" == record["url"]


def test_failures_are_bounded_by_code_and_the_rest_is_counted(log: RunLog, tmp_path: Path) -> None:
    for index in range(5):
        log.failed(failure(index))
    log.failed(failure(code="dns"))

    assert ["http.404"] * 3 + ["dns"] == [record["code"] for record in records(tmp_path / "log.jsonl")]
    assert {"http.404": 2} == log.unwritten_failures()


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\x1b[2Jgone", "right\u202eleft", "line\u2028separator", "half \ud83d pair", 'a "quote" \\'],
    ids=ascii,
)
def test_hostile_text_stays_on_its_line_and_plays_no_tricks(log: RunLog, tmp_path: Path, text: str) -> None:
    log.record("note", text=text, nested={text: [text]})

    (record,) = records(tmp_path / "log.jsonl")
    assert printable(text) == record["text"] == record["nested"][printable(text)][0]
    assert 1 == (tmp_path / "log.jsonl").read_bytes().count(b"\n")


def test_a_url_inside_a_text_is_redacted(log: RunLog, tmp_path: Path) -> None:
    log.record("note", text="cannot reach https://example.org/?sig=hunter2")

    assert "hunter2" not in (tmp_path / "log.jsonl").read_text()


def test_a_log_that_cannot_be_written_fails_nothing_and_counts(tmp_path: Path) -> None:
    log = RunLog()
    log.open(tmp_path / "no" / "such" / "log.jsonl")

    log.record("one")
    log.failed(failure())

    assert 2 == log.lost


FULL = """
import resource, signal, sys
from pathlib import Path
from batchproc.runlog import RunLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = RunLog()
log.open(Path(sys.argv[1]))
log.record("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
log.record("too.much", text="x" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.record("after")
print(log.lost)
"""


def test_a_full_disk_costs_whole_records_and_the_log_goes_on(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    path = tmp_path / "log.jsonl"

    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)

    assert "1\n" == done.stdout
    assert ["before", "after"] == [record["event"] for record in records(path)]


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    log = RunLog(now=lambda: datetime.now(UTC))
    log.open(tmp_path / "log.jsonl")

    def write(number: int) -> None:
        for _ in range(50):
            log.record("note", text=str(number) * 200)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 200 == len(records(tmp_path / "log.jsonl"))
