"""Ending a run early: the first signal lets work in flight finish, the second stops it, the same command continues."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.ledger import LedgerView
from batchproc.lock import RunLock
from batchproc.pipeline.stopping import Control, StopHandlers
from batchproc.signals import doing
from tests.jobs import MakeJob

from .test_modes import run

ROOT = Path(__file__).parents[2]


def start(config: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "batchproc", "run", str(config), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def await_mark(marker: int) -> None:
    """Waits, with a bound, until a step has said that it works."""
    assert [marker] == select.select([marker], [], [], 60)[0], "no step began"
    assert b"x" == os.read(marker, 1)


def with_slow_step(config: Path, marker: Path) -> None:
    """A step that says that it runs, and then waits until it is killed or the file `go` appears."""
    table = f'[[transform.steps]]\nop = "tests.pipeline.steps:Waits"\nmarker = "{marker}"\n\n[report]'
    config.write_text(config.read_text().replace("[report]", table))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_to_the_group_lets_work_in_flight_finish(
    make_job: MakeJob, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    config = make_job(images=30)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)

    with start(config, "--set", "transform.workers=1") as process:
        reached = os.open(marker, os.O_RDWR)
        try:
            await_mark(reached)  # an image is in the worker's hands
            os.killpg(process.pid, number)
        finally:
            os.close(reached)
        stdout, stderr = process.communicate(timeout=60)

    assert code == process.returncode, stderr
    assert "nothing more starts" in stderr
    facts = json.loads((tmp_path / "out/latest/run.json").read_text())
    assert "signal" == facts["stopped_by"]
    assert 0 < facts["counts"]["done"] < 30
    assert facts["counts"]["pending"] == 30 - facts["counts"]["done"]
    assert "the same command continues" in stdout


def test_an_interrupted_job_is_continued_and_nothing_is_fetched_twice(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=20)
    first = run(config, "download.mode=serial", "job.max_duration=0.001")

    second = run(config)

    assert "duration" == first.facts["stopped_by"]
    assert 20 == first.facts["counts"]["processed"] + second.facts["counts"]["processed"]
    assert 20 == second.facts["counts"]["done"]


def test_a_second_signal_stops_at_once(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)

    with start(config, "--set", "transform.workers=1") as process:
        reached = os.open(marker, os.O_RDWR)  # never answered: the step waits on and on
        try:
            await_mark(reached)
            assert process.stderr is not None
            os.killpg(process.pid, signal.SIGINT)
            assert "nothing more starts" in process.stderr.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            os.close(reached)

    assert 130 == process.returncode, stderr
    assert "stopping at once" in stderr
    assert 0 == json.loads((tmp_path / "out/latest/run.json").read_text())["counts"]["done"]


def pulled_by(control: Control) -> tuple[list[str], threading.Event]:
    pulled: list[str] = []
    stopped = threading.Event()

    def stop() -> None:
        pulled.append("stop")
        stopped.set()

    control.take(StopHandlers(admit_no_more=lambda: pulled.append("admit"), stop_at_once=stop))
    return pulled, stopped


def test_the_grace_ends_what_does_not_finish() -> None:
    with Control(len, grace_seconds=0.01) as control:
        control.take_over()
        pulled, stopped = pulled_by(control)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(10)

    assert ["admit", "stop"] == pulled
    assert ExitCode.TERMINATED is control.exit_code


def test_a_message_that_cannot_be_shown_keeps_nothing_from_ending() -> None:
    def broken(text: str) -> None:
        raise BrokenPipeError

    with Control(broken, grace_seconds=0.01) as control:
        control.take_over()
        pulled, stopped = pulled_by(control)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(10)

    assert ["admit", "stop"] == pulled


def test_a_signal_before_the_line_starts_is_not_lost() -> None:
    heard = threading.Event()

    with Control(lambda text: heard.set(), grace_seconds=20) as control:
        control.take_over()
        os.kill(os.getpid(), signal.SIGINT)
        assert heard.wait(10)
        pulled, _ = pulled_by(control)

    assert ["admit"] == pulled
    assert "signal" == control.stopped_by


def test_a_signal_after_the_line_stops_nothing_and_a_second_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard, gone = threading.Event(), threading.Event()
    left: list[int] = []

    def leave(code: int) -> None:
        left.append(code)
        gone.set()

    def tell(text: str) -> None:
        told.append(text)
        heard.set()

    monkeypatch.setattr("batchproc.lifecycle.os._exit", leave)
    with Control(tell, grace_seconds=20) as control:
        control.take_over()
        pulled, _ = pulled_by(control)
        control.let_go()
        with doing("writing metadata.jsonl"):
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard.wait(10)
        os.kill(os.getpid(), signal.SIGTERM)
        assert gone.wait(10)

    assert [] == pulled
    assert ["SIGTERM: the run is being finished: writing metadata.jsonl. Once more leaves at once."] == told
    assert ExitCode.TERMINATED is control.exit_code
    assert [143] == left


@pytest.mark.parametrize(("moves", "left"), [(True, []), (False, [5])], ids=["that moves", "that hangs"])
def test_only_a_finish_that_does_not_move_is_left(
    monkeypatch: pytest.MonkeyPatch, moves: bool, left: list[int]
) -> None:
    codes: list[int] = []
    looked = threading.Event()
    asked = itertools.count()

    def describe() -> str:
        number = next(asked)
        if number > 4:
            looked.set()
        return f"writing, {number} rows so far" if moves else "writing"

    monkeypatch.setattr("batchproc.lifecycle.os._exit", codes.append)
    monkeypatch.setattr("batchproc.pipeline.stopping.FINISHING_SECONDS", 0.01)
    with Control(len, grace_seconds=20) as control, doing(describe):
        control.take_over()
        control.let_go()
        assert looked.wait(10)

    assert left == sorted(set(codes))


def test_what_cannot_be_stopped_is_left_after_a_last_save(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    saved: list[int] = []
    gone = threading.Event()

    def leave(code: int) -> None:
        left.append(code)
        gone.set()

    monkeypatch.setattr("batchproc.pipeline.stopping.LAST_SECONDS", 0.01)
    monkeypatch.setattr("batchproc.lifecycle.os._exit", leave)
    with Control(len, grace_seconds=0.01) as control:
        control.take_over()
        control.take(StopHandlers(admit_no_more=list, stop_at_once=list, save=saved.append))
        os.kill(os.getpid(), signal.SIGINT)
        assert gone.wait(10)
        control.let_go()

    assert 130 == left[0]
    assert [130] == saved[:1]


@pytest.mark.parametrize("stderr", ["open", "full", "closed"])
def test_a_third_signal_under_quiet_is_told_and_has_its_row(make_job: MakeJob, tmp_path: Path, stderr: str) -> None:
    config = make_job(images=4)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)
    flags = ("--quiet", "--transform-mode", "serial")  # the step holds the main thread: only force ends this run

    with start(config, *flags) as process:
        reached = os.open(marker, os.O_RDWR)
        assert process.stderr is not None
        try:
            await_mark(reached)
            if stderr == "closed":
                process.stderr.close()
            elif stderr == "full":
                fill(process.stderr.fileno(), process.pid)
            for _ in range(3):
                process.send_signal(signal.SIGTERM)
                await_heard(process.pid)
            process.wait(30)
        finally:
            os.close(reached)
        if stderr == "open":
            assert "SIGTERM for the third time: leaving at once; the same command continues.\n" == process.stderr.read()

    assert 143 == process.returncode
    with LedgerView.open_view(tmp_path / "out/batchproc.db") as ledger:
        assert [143] == [run.exit_code for run in ledger.last_runs()]


def fill(reader: int, pid: int) -> None:
    """Fills the pipe that a process has as its stderr, as a reader does that does not read."""
    writer = os.open(f"/proc/{pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, bytes(65536))
    except BlockingIOError:
        assert [reader] == select.select([reader], [], [], 0)[0]
    finally:
        os.close(writer)


def await_heard(pid: int) -> None:
    """Waits until no signal is pending for a process: two of the same kind would be one. Returns when it is gone."""
    try:
        while int(re.findall(r"ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[0], 16):
            os.sched_yield()
    except (FileNotFoundError, IndexError):
        return


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Control(len, grace_seconds=1) as control:
        control.take_over()
        assert before is not signal.getsignal(signal.SIGINT)

    assert before is signal.getsignal(signal.SIGINT)


def test_ctrl_c_ends_a_run_whose_terminal_is_gone(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)

    with start(config, "--set", "transform.workers=1", "--set", "job.grace=0.2") as process:
        reached = os.open(marker, os.O_RDWR)
        try:
            await_mark(reached)
            assert process.stdout is not None
            assert process.stderr is not None
            process.stderr.close()
            process.stdout.close()
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)
        finally:
            os.close(reached)

    assert 130 == process.returncode


def test_a_hanging_step_in_a_thread_does_not_change_the_exit_code(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)

    with start(config, "--transform-mode", "thread", "--transform-workers", "1") as process:
        reached = os.open(marker, os.O_RDWR)
        try:
            await_mark(reached)
            assert process.stderr is not None
            os.killpg(process.pid, signal.SIGTERM)
            assert "nothing more starts" in process.stderr.readline()
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            os.close(reached)

    assert 143 == process.returncode


def test_a_run_that_waits_for_the_lock_answers_and_ends(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out").mkdir()

    with RunLock(tmp_path / "out/lock"), start(config, "--wait", "60s") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting up to 60 s for another run of this job (pid")
        process.send_signal(signal.SIGUSR1)
        answer = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)

    assert re.fullmatch(rf"waiting for another run of this job \(pid {os.getpid()}, .*, 60 s at most\n", answer)
    assert 143 == process.returncode
    assert stderr.startswith("error: stopped while waiting for another run of this job (pid ")


def test_a_run_that_imports_its_list_answers_and_ends(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    config.write_text(config.read_text().replace('"list.txt"', '"-"'))
    command = [sys.executable, "-P", "-m", "batchproc", "run", str(config), "--quiet"]

    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        answer = ""
        while "importing" not in answer:  # it is on its way there
            await_listener(process.pid)
            process.send_signal(signal.SIGUSR1)
            answer = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait(60)
        stderr = process.stderr.read()

    assert "importing the list, 0 lines so far\n" == answer
    assert (130, "error: stopped while importing the list, 0 lines so far\n") == (process.returncode, stderr)


def await_listener(pid: int) -> None:
    """Waits until a process answers SIGUSR1."""
    while not int(re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[0], 16) >> 9 & 1:
        os.sched_yield()
