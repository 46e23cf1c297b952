"""The one line that cron mails: short, whole, without secrets, whatever goes into it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.errors import LockHeldError, Problem, UsageError
from batchproc.exit_reason import LONGEST, error_line, exit_line, run_line, shown_codes
from batchproc.record.run_json import RunRecord

FOLDER = "/srv/pictures/out/runs/20261122T081530Z"


def record(**others: Any) -> RunRecord:
    return RunRecord(**{"job": "small", "exit_code": 0} | others)


def test_the_line_says_job_reason_codes_exit_code_and_folder() -> None:
    told = record(
        reason="30 of 100 items failed, over max_failed_ratio = 0.1",
        exit_code=3,
        failures={"http.404": 20, "dns": 10},
        deferrals={"connect": 15},
    )

    assert (
        "small: 30 of 100 items failed, over max_failed_ratio = 0.1: 20 http.404, 15 connect, 10 dns; "
        f"exit 3, {FOLDER}"
    ) == run_line(told, Path(FOLDER))


def test_a_run_that_ended_well_has_no_line() -> None:
    assert "" == run_line(record(failures={"http.404": 1}), Path(FOLDER))


def test_codes_give_way_before_the_folder_does() -> None:
    codes = {f"http.{number}": 1000 - number for number in range(400, 420)}

    line = exit_line("small", "20 items failed, over max_failed = 3", exit_code=3, codes=codes, folder=FOLDER)

    assert ": 600 http.400, " in line
    assert "more codes" in line
    assert line.endswith(f"; exit 3, {FOLDER}")


def test_of_a_long_folder_the_end_is_told() -> None:
    line = exit_line("small", "why", exit_code=3, codes={"dns": 4}, folder=f"{'/very/long' * 30}/runs/20261122T081530Z")

    assert "small: why: 4 dns; exit 3, …/runs/20261122T081530Z" == line


def test_an_error_is_told_with_its_exit_code() -> None:
    assert "small: another run is under way; exit 75" == error_line("small", LockHeldError("another run is under way"))


def test_a_long_path_before_the_reason_gives_way_to_it() -> None:
    held = "another run of this job holds the lock (pid 4711). Wait for its end"
    error = LockHeldError(f"{'/very/long' * 20}/out/lock: {held}")

    assert f"small: …/out/lock: {held}; exit 75" == error_line("small", error)


def test_of_several_problems_the_first_is_told_and_their_number() -> None:
    error = UsageError([Problem(where="[job] name", message="missing"), *3 * [Problem(where="x", message="y")]])

    assert "job.toml: [job] name: missing (and 3 more); exit 2" == error_line("job.toml", error)


@pytest.mark.parametrize("text", ["two\nlines", "a\r\nb", "tab\there", "turn \u202e round", "bell \x07"])
def test_nothing_breaks_the_line(text: str) -> None:
    line = exit_line(text, text, exit_code=1, folder=text)

    assert line.isprintable()


def test_no_secret_is_in_it() -> None:
    line = exit_line("small", "http://user:pass@h/a?token=abc cannot be read", exit_code=5)

    assert "pass" not in line
    assert "abc" not in line


@settings(max_examples=60)
@given(
    st.text(max_size=300), st.text(max_size=400), st.dictionaries(st.text(max_size=60), st.integers(0, 10**9)),
    st.text(max_size=400),
)  # fmt: skip
def test_it_is_never_longer_than_its_limit(job: str, reason: str, codes: dict[str, int], folder: str) -> None:
    line = exit_line(job, reason, exit_code=143, codes=codes, folder=folder)

    assert len(f"warning: {line}") <= LONGEST
    assert "exit 143" in line
    assert 1 == len(line.splitlines())


def test_codes_are_told_with_how_many_are_left_out() -> None:
    assert "3 dns, 2 tls and 1 more codes" == shown_codes({"dns": 3, "tls": 2, "rate": 1}, 2)
    assert "" == shown_codes({})
