"""One worker process as the parent sees it: start, talk, kill, and find out how it died."""

import atexit
import contextlib
import gc
import multiprocessing
import multiprocessing.util
import os
import re
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from batchproc.errors import Code
from batchproc.executors import child
from batchproc.executors.wire import Post, open_memory
from batchproc.measure.clocks import name_thread
from batchproc.signals import EXIT_CODES, QUESTIONS, unheard, withheld_from_children

REAP_SECONDS, LAST_REAP_SECONDS = 2.0, 1.0
HELPER_SECONDS, LAST_HELPER_SECONDS = 5.0, 60.0  # a fork takes milliseconds, the imports before the first one longer
SAFE_PATH = "PYTHONSAFEPATH"
DESCRIPTORS = "/proc/self/fd"
LOG_TAIL_BYTES = 65536
UNKNOWN_EXIT = 255  # what multiprocessing says when the fork server died before the worker

_CRASH_FRAME = re.compile(r'^Current thread .*\n  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)

# multiprocessing keeps a global set of children and reads each exit status once: start and join one at a time. The
# environment that its helpers are started with is guarded too.
_helpers_lock = threading.Lock()
_spawn = multiprocessing.util.spawnv_passfds
_living: "set[WorkerProcess]" = set()  # started and not closed; set.add and set.discard are atomic


@atexit.register
def _end_helpers() -> None:
    """Before multiprocessing's own exit handler waits without a bound for children that ignore its SIGTERM.

    That one was registered when `multiprocessing.util` was imported, so it runs after this one. It hears of a child's
    end from the fork server alone: one that does not report must be gone by then. One that was stopped would outlive
    this process, with its streams.
    """
    for worker in tuple(_living):
        worker.kill()
    _signal_helpers(signal.SIGCONT)
    if multiprocessing.active_children():
        _signal_helpers(signal.SIGKILL)


def start_context(preload: tuple[str, ...], *, by_fork: bool = False) -> BaseContext:
    """The start method, always explicit: `forkserver` with the modules that workers need, else `spawn`.

    Starts the fork server at once, ahead of its first worker. `by_fork`: as a fork of this process, whose imports it
    then has, where that is safe: on Linux, with no thread but the caller's. For a program that has hardly begun.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["batchproc.executors.child", *preload])
    warnings.filterwarnings("ignore", "resource_tracker: process died")  # it is started anew, and we have no resources
    with _helpers_lock, unheard() if by_fork else contextlib.nullcontext():
        is_safe = Path(DESCRIPTORS).is_dir() and threading.active_count() == 1
        with _forking() if by_fork and is_safe else contextlib.nullcontext():
            _start_helpers()
    return context


def _start_helpers() -> None:
    """Starts multiprocessing's two helper processes, where they are not there any more. Under `_helpers_lock`."""
    from multiprocessing import forkserver, resource_tracker

    with _sheltered():
        resource_tracker.ensure_running()  # by itself: when it starts, it unblocks SIGINT and SIGTERM behind our back
    with _sheltered():
        forkserver.ensure_running()


@contextlib.contextmanager
def _forking() -> Iterator[None]:
    """For the start of helpers: forks of this process take the place of new interpreters.

    The fork server then takes 60 ms of CPU in place of 190 and the tracker next to none in place of 50, on two cores
    that have enough to do (medians of five runs).
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # else the fork would print it again
    multiprocessing.util.spawnv_passfds = _fork  # type: ignore[assignment]
    try:
        yield
    finally:
        multiprocessing.util.spawnv_passfds = _spawn


def _fork(_path: object, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Runs the Python of a helper's `-c` in a fork, which has the standard streams and these descriptors alone."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _forget_helpers()
        sys.excepthook = sys.__excepthook__
        for open_one in list(Path(DESCRIPTORS).iterdir()):  # `os.closerange` may try all that there could be
            if int(open_one.name) not in {0, 1, 2, *descriptors}:
                with contextlib.suppress(OSError):  # that of this list
                    os.close(int(open_one.name))
        for number in (*EXIT_CODES, *QUESTIONS):
            signal.signal(number, signal.SIG_IGN)
        name_thread(arguments[-1].split()[1].rpartition(".")[2])  # "from multiprocessing.forkserver import main; ..."
        gc.freeze()  # what is there stays, and shares its pages with the program
        gc.enable()
        exec(arguments[-1], {})
    except Exception:  # noqa: BLE001 - the end of this process, whatever comes
        traceback.print_exc()
    finally:
        os._exit(0)


def _forget_helpers() -> None:
    """In a fork: what its workers start is started as from a new interpreter. The locks are held here for ever."""
    global _helpers_lock
    from multiprocessing import forkserver, resource_tracker

    _helpers_lock = threading.Lock()
    multiprocessing.util.spawnv_passfds = _spawn
    forkserver._forkserver.__init__()  # type: ignore[misc]
    resource_tracker._resource_tracker.__init__()  # type: ignore[misc]


@contextlib.contextmanager
def _sheltered() -> Iterator[None]:
    """For the start of a helper: no signal to the group is for it, and it imports nothing from the working directory.

    Were it to die of SIGTERM, the parent would lose the exit codes of its workers and the means to replace one. Python
    puts the working directory first on the path of `-c`; a `random.py` of the user's lying there would be imported in
    place of the standard one, unless PYTHONSAFEPATH says no. And nothing starts in a working directory that is gone.
    """
    _leave_lost_folder()
    safe_path = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = safe_path or child.OUR_SAFE_PATH
    try:
        with withheld_from_children(*EXIT_CODES):
            yield
    finally:
        if safe_path is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = safe_path


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """For the start of a worker: it does not run the caller's main module again.

    Multiprocessing would, to find what is defined there; without `if __name__ == "__main__"` in a script that would be
    the whole script once more. What a worker needs it imports by name.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _leave_lost_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """For a wait for the fork server: one that is stopped goes on, one that does not answer even so is ended.

    Its pipes end with it, and with them every wait; the next start brings up another, and another resource tracker.
    """
    timers = [
        threading.Timer(seconds, _signal_helpers, (number,))
        for seconds, number in ((HELPER_SECONDS, signal.SIGCONT), (LAST_HELPER_SECONDS, signal.SIGKILL))
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _signal_helpers(number: int) -> None:
    """Multiprocessing has no names for their pids."""
    from multiprocessing import forkserver, resource_tracker

    for pid in (forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid):  # type: ignore[attr-defined]
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class WorkerProcess:
    """An OS process with its private duplex pipe. Used by one owner thread; `kill` may come from any thread.

    `depth` is how many jobs it may have at once.
    """

    def __init__(self, context: BaseContext, name: str, limits: child.WorkerLimits, depth: int = 1) -> None:
        ours, theirs = context.Pipe(duplex=True)
        self.post = Post(ours, tuple(open_memory() for _ in range(depth)))
        life_theirs, self._life = context.Pipe(duplex=False)
        self._pidfd = -1
        self._log_path = limits.log_path
        with _helpers_lock:
            _start_helpers()
            self._process: Any = context.Process(  # type: ignore[attr-defined]
                target=child.main, args=(Post(theirs, self.post.shelves), life_theirs, limits), name=name, daemon=True
            )
            _living.add(self)
            with _answering(), _sheltered(), _without_main():
                self._process.start()
            theirs.close()
            life_theirs.close()
            self.pid: int = self._process.pid
            if sys.platform == "linux":
                with contextlib.suppress(ProcessLookupError):
                    self._pidfd = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """SIGKILL for exactly this process: a pid may have been given to somebody else, a pidfd cannot."""
        with contextlib.suppress(ProcessLookupError, OSError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif sys.platform != "linux":
                os.kill(self.pid, signal.SIGKILL)

    def release(self) -> None:
        """Tells the worker to end by closing its pipe: it leaves after the job in hand."""
        self.post.pipe.close()

    def reap(self) -> int | None:
        """Waits, with a bound, for the end and returns the exit code as multiprocessing gives it, None if unknown.

        What does not end is killed; a fork server that was stopped reports no end, so it is sent on its way.
        """
        with _helpers_lock:
            self._process.join(REAP_SECONDS)
            if self._process.exitcode is None:
                self.kill()
                _signal_helpers(signal.SIGCONT)
                self._process.join(LAST_REAP_SECONDS)
            exit_code: int | None = self._process.exitcode
        return None if exit_code == UNKNOWN_EXIT else exit_code

    def close(self) -> None:
        """Gives back the descriptors; the worker, should it still live, ends with them."""
        _living.discard(self)
        self.post.close()
        self._life.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def exit_reason(self) -> str:
        """The innermost Python frame that faulthandler wrote when a fatal signal came, as ` in decode.py:12 load`."""
        if not self._log_path:
            return ""
        with contextlib.suppress(OSError):
            with Path(self._log_path).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                frames = _CRASH_FRAME.findall(file.read().decode(errors="replace"))
            return f" in {Path(frames[-1][0]).name}:{frames[-1][1]} {frames[-1][2]}" if frames else ""
        return ""


def verdict(exit_code: int | None, words: str) -> tuple[Code, str]:
    """Why a worker that nobody killed is gone: a failure code and one sentence."""
    if exit_code is None:
        return Code.WORKER_CRASH, "the worker process died; how is not known"
    if exit_code >= 0:
        return Code.WORKER_CRASH, f"the worker process left with exit code {exit_code} in the middle of its task"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    if name == "SIGKILL":
        return Code.WORKER_MEMORY, "the worker process was killed by SIGKILL, most likely for want of memory"
    if name == "SIGXCPU":
        return Code.WORKER_TIMEOUT, "the worker process used up its CPU time"
    return Code.WORKER_CRASH, f"the worker process died of {name}{words}"
