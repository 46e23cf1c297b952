"""Modes that make different files are not compared; the origin's CPU is charged to the origin."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.bench.runner import BenchError, BenchStopped, Interrupt, OutputCheck, digest, with_origin
from batchproc.errors import ExitCode
from batchproc.measure.samples import MachineUsage, ProcessUsage, Samples
from batchproc.record.run_json import RunRecord
from tests.bench.fakes import a_run

FIRST = {"k1": "aa", "k2": "bb", "k3": "http.404"}


def test_equal_outputs_pass_and_are_counted(tmp_path: Path) -> None:
    check = OutputCheck(tmp_path)

    for case in ("serial+serial", "thread+process"):
        check.compare("plan", dict(FIRST), case)

    assert {"plan": 3} == check.compared


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

    assert {"fast": 3, "exact": 1} == check.compared


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


def record(others: float | None = 0.5) -> RunRecord:
    machine = MachineUsage(cores=2, others_cpu_share=others, steal_share=0.0, throttled_seconds=0.0)
    processes = (ProcessUsage(role="main", cpu_seconds=1.0),)
    return RunRecord(samples=Samples(started=10.0, ended=12.0, machine=machine, processes=processes))


def test_the_rate_is_of_images_that_were_made() -> None:
    assert 45.0 == a_run(2.0, done=90, failed=10).rate_per_second


def test_the_origins_cpu_is_not_charged_to_others() -> None:
    found = with_origin(record(), 1.0).samples

    assert pytest.approx(0.25) == found.machine.others_cpu_share  # 1 of 4 core-seconds
    assert ProcessUsage(role="origin", cpu_seconds=1.0) == found.process("origin")


def test_others_never_fall_below_nothing() -> None:
    assert 0.0 == with_origin(record(0.1), 3.0).samples.machine.others_cpu_share


def test_what_is_unknown_stays_unknown() -> None:
    unsampled = RunRecord(samples=Samples(unknown="off"))

    assert with_origin(record(None), 1.0).samples.machine.others_cpu_share is None
    assert unsampled == with_origin(unsampled, 1.0)
    assert record() == with_origin(record(), None)


def test_the_digest_follows_content_and_not_order() -> None:
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})
    assert digest({"a": "1"}) != digest({"a": "2"})
