"""The two helper processes of multiprocessing, the fork server and the resource tracker: stopped, killed, misled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BEGIN = """
import os, signal, sys
from multiprocessing import forkserver, resource_tracker
from batchproc.executors import worker
from batchproc.executors.process import ProcessExecutor
from tests.executors.stages import Deed, items

worker.REAP_SECONDS = worker.HELPER_SECONDS = 0.05

def signal_helpers(number):
    os.kill(forkserver._forkserver._forkserver_pid, number)
    os.kill(resource_tracker._resource_tracker._pid, number)

def run(*values, after_the_first):
    with ProcessExecutor(workers=1, log_stem=os.environ["LOG"]) as executor:
        outcomes = executor.run(Deed(), items(values))
        heard = [next(outcomes)]
        after_the_first()
        heard.extend(outcomes)
    print(*(getattr(outcome, "value", None) or outcome.code for outcome in heard), flush=True)

"""


def start(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs the script with `folder` as its working directory."""
    return subprocess.run(
        [sys.executable, "-P", "-W", "default", "-c", BEGIN + script],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "LOG": str(folder / "log")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_stopped_helpers_keep_no_process_from_ending_nor_hold_its_streams(tmp_path: Path) -> None:
    done = start("run(1, 2, after_the_first=lambda: signal_helpers(signal.SIGSTOP))", tmp_path)

    assert (0, "2 4\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("number", ["SIGSTOP", "SIGKILL"])
def test_a_worker_is_replaced_though_the_helpers_do_not_answer(tmp_path: Path, number: str) -> None:
    done = start(
        f"run(1, 'exit_zero', 3, after_the_first=lambda: signal_helpers(signal.{number}))", tmp_path
    )

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)


def test_helpers_import_nothing_from_the_working_directory_at_no_start(tmp_path: Path) -> None:
    for name in sys.stdlib_module_names:
        (tmp_path / f"{name}.py").write_text("open('imported', 'a').write(__name__)\n")

    done = start("run(1, 'exit_zero', 3, after_the_first=lambda: signal_helpers(signal.SIGKILL))", tmp_path)

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)
    assert not (tmp_path / "imported").exists()


def test_a_working_directory_that_is_gone_stops_no_worker_from_being_started(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    done = start("os.rmdir(os.getcwd()); run(1, 'exit_zero', 3, after_the_first=lambda: None)", gone)

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)


def test_what_a_step_starts_finds_the_environment_and_the_signals_as_they_were(tmp_path: Path) -> None:
    done = start("run('ask_a_child', after_the_first=lambda: None)", tmp_path)

    assert "None set()\n\n" == done.stdout, done.stderr
