"""Signals are heard from the program's first instant: questions end nothing, and stops carry their code."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batchproc import signals
from batchproc.signals import Counted, Stopped, doing, handled_by, listening, shown_by
from tests.jobs import MakeJob

ROOT = Path(__file__).parents[1]
QUESTIONS = (signal.SIGUSR1, signal.SIGUSR2)


def send(number: int) -> None:
    """Sends this process a signal; returns when the interpreter has run its handler."""
    os.kill(os.getpid(), number)
    time.sleep(0)


def test_a_question_is_answered_with_what_is_being_done() -> None:
    answers: list[str] = []
    answered = threading.Event()

    def show(text: str) -> None:
        answers.append(text)
        answered.set()

    rows = Counted(range(3))
    with listening(), shown_by(show), doing("making the page"), doing(lambda: f"{rows.number} rows so far"):
        assert [0, 1, 2] == list(rows)
        send(signal.SIGUSR1)
        assert answered.wait(10)

    assert ["3 rows so far"] == answers


def test_an_answer_that_fails_does_not_end_the_listening() -> None:
    asked = threading.Semaphore(0)

    def describe() -> str:
        asked.release()
        raise RuntimeError("dictionary changed size")

    with listening(), doing(describe):
        for _ in range(2):
            send(signal.SIGUSR1)
            assert asked.acquire(timeout=10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_stop_nobody_hears_is_raised_with_its_code_and_what_it_stopped(number: signal.Signals, code: int) -> None:
    with pytest.raises(Stopped) as stopped, listening(), doing("importing the list"):
        signal.raise_signal(number)  # to this thread: the kernel may hand the process's to any

    assert (code, "stopped while importing the list") == (stopped.value.exit_code, str(stopped.value))


def test_what_comes_after_the_work_does_not_change_its_code() -> None:
    def stop_late() -> None:
        signals.settle(3)
        send(signal.SIGTERM)

    with pytest.raises(Stopped) as stopped, listening():
        stop_late()

    assert 3 == stopped.value.exit_code


def test_a_stop_that_is_heard_raises_nothing_and_an_ignored_one_stays_ignored() -> None:
    heard: list[int] = []
    arrived = threading.Event()

    def hear(number: int) -> None:
        heard.append(number)
        arrived.set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled_by(hear):
            send(signal.SIGHUP)
            send(signal.SIGTERM)
            assert arrived.wait(10)
            assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert [signal.SIGTERM] == heard
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


def bombard(process: "subprocess.Popen[str]") -> int:
    """Sends both questions to a process and all that it starts, from its first line to its end; returns how often."""
    status = Path(f"/proc/{process.pid}/status")
    sent, ready = 0, False
    while process.poll() is None:
        if not ready:
            masks = [line.split()[1] for line in status.read_text().splitlines() if line[:6] in ("SigIgn", "SigCgt")]
            ready = any(int(mask, 16) >> (signal.SIGUSR1 - 1) & 1 for mask in masks)
            continue
        for number in QUESTIONS:
            os.killpg(process.pid, number)
        sent += 1
        time.sleep(0.003)
    return sent


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("command", ["run", "rebuild"])
def test_questions_end_no_command_and_none_of_its_processes(make_job: MakeJob, tmp_path: Path, command: str) -> None:
    config = make_job(images=6)
    config.write_text(config.read_text().replace("html = false", "html = true"))
    program = [sys.executable, "-P", "-m", "batchproc"]
    if command != "run":
        subprocess.run([*program, "run", str(config), "--quiet"], cwd=ROOT, check=True, timeout=60)
    if command == "rebuild":
        (tmp_path / "out/batchproc.db").write_bytes(b"damaged")

    with (tmp_path / "errors").open("w") as errors, subprocess.Popen(
        [*program, command, str(config)], cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=errors,
        start_new_session=True,
    ) as process:  # fmt: skip
        sent = bombard(process)

    told = (tmp_path / "errors").read_text()
    assert 0 == process.returncode, told
    assert sent > 10
    assert "starting" in told
    assert "thread MainThread:" in told
    facts = json.loads((tmp_path / "out/latest/run.json").read_text())
    assert {2} == {facts["stages"]["transform"][name] for name in ("workers", "worker_starts")}


AMID_AN_IMPORT = """
import os, signal, sys
from batchproc import __main__

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "msgspec":
            try:
                os.kill(os.getpid(), getattr(signal, sys.argv.pop()))
            except KeyboardInterrupt:
                print("raised amid an import")

sys.meta_path.insert(0, Interrupting())
__main__.main()
"""


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_that_comes_before_the_first_imports_are_done_waits_for_them(number: str, code: int) -> None:
    command = [sys.executable, "-P", "-c", AMID_AN_IMPORT, "steps", number]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (code, "", "") == (done.returncode, done.stdout, done.stderr)
