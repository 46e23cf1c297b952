"""Modes that make different files are not compared."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.bench.runner import BenchError, BenchStopped, Interrupt, OutputCheck
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


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_raises_with_its_exit_code(number: signal.Signals, code: ExitCode) -> None:
    with pytest.raises(BenchStopped) as error, Interrupt():
        os.kill(os.getpid(), number)

    assert code == error.value.exit_code


def start_while_signalled(done: list[str]) -> None:
    with Interrupt() as interrupt, interrupt.held():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("started")


def clear_up_while_signalled(done: list[str]) -> None:
    with Interrupt():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("cleared")


@pytest.mark.parametrize(
    ("act", "word"),
    [(start_while_signalled, "started"), (clear_up_while_signalled, "cleared")],
    ids=["inside a held block it waits for the end", "a second signal does not disturb the clearing up"],
)
def test_what_must_not_be_cut_is_not_cut(act: Callable[[list[str]], None], word: str) -> None:
    done: list[str] = []

    with pytest.raises(BenchStopped) as error:
        act(done)

    assert [word] == done
    assert ExitCode.INTERRUPTED == error.value.exit_code


def test_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    with Interrupt():
        assert before[0] != signal.getsignal(signal.SIGINT)

    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
