"""Modes that make different files are not compared."""

from pathlib import Path

import pytest

from batchproc.bench.runner import BenchError, OutputCheck
from batchproc.errors import ExitCode

FIRST = {"k1": "aa", "k2": "bb", "k3": "http.404"}


def test_equal_outputs_pass_and_are_counted(tmp_path: Path) -> None:
    check = OutputCheck(tmp_path)

    for case in ("serial+serial", "thread+process"):
        check.compare("plan", dict(FIRST), case)

    assert {"plan": 3} == check.to_json()


@pytest.mark.parametrize(
    "now",
    [{**FIRST, "k2": "xx"}, {key: FIRST[key] for key in ("k1", "k3")}, {**FIRST, "k4": "dd"}, {**FIRST, "k3": "cc"}],
    ids=["another image", "one is missing", "one too many", "done instead of failed"],
)
def test_any_difference_ends_the_bench_and_names_the_item(tmp_path: Path, now: dict[str, str]) -> None:
    check = OutputCheck(tmp_path)
    check.compare("plan", FIRST, "serial+serial")

    with pytest.raises(BenchError) as error:
        check.compare("plan", now, "thread+process")

    (changed,) = {key for key in {*FIRST, *now} if FIRST.get(key) != now.get(key)}
    assert f"{changed}: first {FIRST.get(changed, 'nothing')}, now {now.get(changed, 'nothing')}" in str(error.value)
    assert "thread+process" in str(error.value)
    assert ExitCode.INTERNAL == error.value.exit_code


def test_other_plans_may_make_other_files(tmp_path: Path) -> None:
    check = OutputCheck(tmp_path)

    check.compare("fast", FIRST, "serial+serial")
    check.compare("exact", {"k1": "zz"}, "serial+serial")

    assert {"fast": 3, "exact": 1} == check.to_json()


def test_the_first_outputs_are_remembered_across_an_interruption(tmp_path: Path) -> None:
    OutputCheck(tmp_path).compare("plan", FIRST, "serial+serial")

    with pytest.raises(BenchError):
        OutputCheck(tmp_path).compare("plan", {}, "thread+thread")
