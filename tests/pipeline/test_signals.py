"""Ending a run early: the first signal lets work in flight finish, the second stops it, the same command continues."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.pipeline.control import Brakes, Control
from tests.jobs import MakeJob

from .test_modes import run

ROOT = Path(__file__).parents[2]


def start(config: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "batchproc", "run", str(config), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


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
        with marker.open("rb") as reached:
            assert b"x" == reached.read(1)  # an image is in the worker's hands
            os.killpg(process.pid, number)
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
            assert b"x" == os.read(reached, 1)
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


def test_the_grace_ends_what_does_not_finish() -> None:
    pulled: list[str] = []
    done = threading.Event()

    def stop() -> None:
        pulled.append("stop")
        done.set()

    brakes = Brakes(admit_no_more=lambda: pulled.append("admit"), stop_at_once=stop, tell=len)
    with Control(brakes, grace_seconds=0.01) as control:
        os.kill(os.getpid(), signal.SIGTERM)
        assert done.wait(10)

    assert ["admit", "stop"] == pulled
    assert ExitCode.TERMINATED is control.exit_code


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Control(Brakes(admit_no_more=list, stop_at_once=list, tell=len), grace_seconds=1):
        assert before is not signal.getsignal(signal.SIGINT)

    assert before is signal.getsignal(signal.SIGINT)
