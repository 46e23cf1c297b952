"""The two helper processes of multiprocessing, the fork server and the resource tracker: stopped, killed, misled.

Each as a new interpreter, and as a fork of the program, which has hardly begun.
"""

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[2]

BEGIN = """
import os, signal, sys
from multiprocessing import forkserver, resource_tracker
from batchproc.executors import worker
from batchproc.executors.process import ProcessExecutor
from tests.executors.stages import Deed, items

worker.REAP_SECONDS = worker.HELPER_SECONDS = 0.05
if os.environ["BY_FORK"]:
    print(end="not twice: ")
    worker.start_context((), by_fork=True)

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


Start: TypeAlias = Callable[[str, Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["", "by fork"], ids=["new", "fork"])
def start(request: pytest.FixtureRequest) -> Start:
    """Runs the script with this folder as its working directory."""

    def run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-P", "-W", "default", "-c", BEGIN + script],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LOG": str(folder / "log"), "BY_FORK": request.param},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if request.param:
            assert 1 == done.stdout.count("not twice: ")
            done.stdout = done.stdout.replace("not twice: ", "")
        return done

    return run


def test_stopped_helpers_keep_no_process_from_ending_nor_hold_its_streams(start: Start, tmp_path: Path) -> None:
    done = start("run(1, 2, after_the_first=lambda: signal_helpers(signal.SIGSTOP))", tmp_path)

    assert (0, "2 4\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("number", ["SIGSTOP", "SIGKILL"])
def test_a_worker_is_replaced_though_the_helpers_do_not_answer(start: Start, tmp_path: Path, number: str) -> None:
    done = start(f"run(1, 'exit_zero', 3, after_the_first=lambda: signal_helpers(signal.{number}))", tmp_path)

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)


def test_helpers_import_nothing_from_the_working_directory_at_no_start(start: Start, tmp_path: Path) -> None:
    for name in sys.stdlib_module_names:
        (tmp_path / f"{name}.py").write_text("open('imported', 'a').write(__name__)\n")

    done = start("run(1, 'exit_zero', 3, after_the_first=lambda: signal_helpers(signal.SIGKILL))", tmp_path)

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)
    assert not (tmp_path / "imported").exists()


def test_a_working_directory_that_is_gone_stops_no_worker_from_being_started(start: Start, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    done = start("os.rmdir(os.getcwd()); run(1, 'exit_zero', 3, after_the_first=lambda: None)", gone)

    assert (0, "2 6 worker.crash\n", "") == (done.returncode, done.stdout, done.stderr)


def test_what_a_step_starts_finds_the_environment_and_the_signals_as_they_were(start: Start, tmp_path: Path) -> None:
    done = start("run('ask_a_child', after_the_first=lambda: None)", tmp_path)

    assert "None set()\n\n" == done.stdout, done.stderr


def test_a_step_may_use_multiprocessing_itself(start: Start, tmp_path: Path) -> None:
    done = start("run('start_processes', after_the_first=lambda: None)", tmp_path)

    assert (0, "[0, 0]\n") == (done.returncode, done.stdout), done.stderr


FORKED = """
import os, signal, sys, threading
from pathlib import Path
from multiprocessing import forkserver, resource_tracker
from batchproc import signals
from batchproc.executors.worker import WorkerProcess, start_context
from batchproc.executors.child import WorkerLimits

def names():
    for pid in (forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid):
        if Path(f"/proc/{pid}/cmdline").read_text() != Path("/proc/self/cmdline").read_text():
            yield "new"
            continue
        while (name := Path(f"/proc/{pid}/comm").read_text()) == Path("/proc/self/comm").read_text():
            os.sched_yield()  # it is about to give itself one
        yield name.strip()

"""


def run_forked(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", FORKED + script],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "" == done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only there helpers are forks")
def test_a_helper_is_a_fork_only_where_no_other_thread_runs() -> None:
    hold = "held = threading.Event(); threading.Thread(target=held.wait).start()\n"
    look = "start_context((), by_fork=True); print(*names())\n"

    assert ("forkserver resource_tracke\n", "new new\n") == (run_forked(look), run_forked(f"{hold}{look}held.set()"))


@pytest.mark.skipif(sys.platform != "linux", reason="only there helpers are forks")
def test_a_forked_helper_keeps_no_file_open_and_ends_with_the_program() -> None:
    script = """
kept, other = os.pipe()
os.set_inheritable(other, True)
start_context((), by_fork=True)
worker = WorkerProcess(start_context(()), "one", WorkerLimits())
print(forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid, worker.pid, flush=True)
os.close(other)
print(os.read(kept, 1))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", FORKED + script],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    pids, read = done.stdout.splitlines()
    assert "b''" == read
    for pid in map(int, pids.split()):
        wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Returns when this process is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 10)[0]
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="only there helpers are forks")
def test_signals_that_come_during_a_fork_or_later_are_heard_as_before() -> None:
    script = """
said = threading.Event()
with signals.listening(), signals.shown_by(lambda text: said.set()), signals.doing("this"):
    start_context((), by_fork=True)
    print(*names())
    os.kill(os.getpid(), signal.SIGUSR1)
    print(said.wait(10))
    said.clear()
    with signals.unheard():
        os.kill(os.getpid(), signal.SIGUSR1)
        print(threading.active_count(), said.is_set())
    print(said.wait(10))
"""

    assert "forkserver resource_tracke\nTrue\n1 False\nTrue\n" == run_forked(script)
