"""The worker's side of the process executor: receives jobs on its pipe, works, replies, and dies when told or alone."""

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import itertools
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from batchproc.executors.serial import attempt, bug
from batchproc.executors.wire import Packed, Pipe, Post, pack, unpack
from batchproc.measure.clocks import GilProbe, Stopwatch, name_thread
from batchproc.model import Failure, Item
from batchproc.protocols import Stage, Work
from batchproc.signals import EXIT_CODES, QUESTIONS

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 64 * 2**20  # at the top of the heap; what one process holds more than it uses
LARGEST_KEPT_BYTES = 32 * 2**20  # of one block, the most that every version of glibc allows


def keep_freed_memory() -> bool:
    """Sets the heap of the calling process, for all its threads; returns whether it could."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))


OOM_SCORE_ADJ = 500  # the kernel takes a worker before the parent, see proc(5)
CPU_GRACE_SECONDS = 60
GROUP_SIGNALS = (*EXIT_CODES, *QUESTIONS)  # the whole group gets them; the parent decides
OUR_SAFE_PATH = "batchproc"  # a value that the parent's own environment will not have


class WorkerLimits(Struct, frozen=True, kw_only=True):
    """What a worker may use. Zero means no limit."""

    memory_bytes: int = 0  # RLIMIT_AS
    timeout_seconds: float = 0.0  # per task; the parent enforces it, RLIMIT_CPU guards an orphan
    log_path: str = ""  # where its stdout and stderr go, and the stack of its death; empty = to stderr


class Ready(Struct, frozen=True, kw_only=True):
    """The worker's first reply: it has started, or (after the stage was sent) opened its stage."""

    pid: int
    perf_counter: float  # when its first line ran, or when the stage was open; one clock for all processes on Linux


class Broken(Struct, frozen=True, kw_only=True):
    """The worker cannot work at all: the traceback says why."""

    trace: str


class GaveUp(Struct, frozen=True):
    """The worker has given up what it kept from its last job, and begins the one that asked for it."""


class Tally(NamedTuple):
    """The worker's own account so far, sent with every reply."""

    waiting_seconds: float = 0.0  # for a job to arrive
    ipc_seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0


def main(post: Post, life: Pipe, limits: WorkerLimits) -> None:
    """Runs a worker until its pipe ends. Called by the start method in the new process."""
    began = time.perf_counter()
    gc.freeze()  # the modules that it shares with the fork server: to look through them would copy their pages
    _harden(life, limits)
    try:
        post.send(pack(Ready(pid=os.getpid(), perf_counter=began)))
        stage, name = unpack(post.receive())
        name_thread(name)
        _work(post, stage, name, limits)
    except (EOFError, OSError):
        return  # the parent closed the pipe: this is how a worker is told to end
    except Exception:  # noqa: BLE001 - the seam: no exception crosses the process boundary, its text does
        with contextlib.suppress(OSError):
            post.send(pack(Broken(trace=traceback.format_exc())))


def _work(post: Post, stage: Stage[Any, Any], name: str, limits: WorkerLimits) -> None:
    with ExitStack() as stack, Stopwatch(stage.name, name, GilProbe()) as stopwatch:
        work = stack.enter_context(closing(stage.open()))
        post.send(pack(Ready(pid=os.getpid(), perf_counter=time.perf_counter())))
        waiting = ipc = 0.0
        clock = time.perf_counter
        for turn in itertools.count():
            asked = clock()
            packed = post.receive()
            received = clock()
            waiting += received - asked
            value, source, enqueued, leaves = unpack(packed)
            ipc_unpack = clock() - received
            if leaves:
                stack.close()
                work = stack.enter_context(closing(stage.open()))
                post.send(pack(GaveUp()))
            _allow_cpu(limits)
            item = Item(source=source, value=value)
            reply, packing = _reply(work, item, stopwatch, enqueued, Tally(waiting, ipc, time.process_time(), _rss()))
            sending = clock()
            post.send(reply, turn)
            ipc += ipc_unpack + packing + clock() - sending


def _reply(
    work: Work[Any, Any], item: Item[Any], stopwatch: Stopwatch, enqueued: float, tally: Tally
) -> tuple[Packed, float]:
    """The packed outcome of one job, and the seconds that packing took.

    Of an item only what is new: its value and its span. The parent has the rest.
    """
    outcome = attempt(work, item, stopwatch, enqueued)
    started = time.perf_counter()
    try:
        packed = pack(outcome.value, outcome.spans, tally) if isinstance(outcome, Item) else pack(outcome, None, tally)
    except Exception as error:  # noqa: BLE001 - whatever pickle raises on a stage's result concerns this item only
        mistake = bug(error)
        failure = Failure(
            source=item.source, stage=stopwatch.stage, code=mistake.code, message=mistake.message, spans=outcome.spans
        )
        packed = pack(failure, None, tally)
    return packed, time.perf_counter() - started


def _harden(life: Pipe, limits: WorkerLimits) -> None:
    """Signals, limits and last words: what makes a worker safe to lose and sure to leave."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)  # what a step starts must not inherit the fork server's
    if os.environ.get("PYTHONSAFEPATH") == OUR_SAFE_PATH:
        del os.environ["PYTHONSAFEPATH"]
    if limits.log_path:
        with contextlib.suppress(OSError):  # its folder may be gone: the run will find out by itself
            log = os.open(limits.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.dup2(log, 2)
            os.close(log)
    os.dup2(2, 1)  # stdout carries results only: neither a user's step nor libtiff may print there
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes:
        _lower_limit(resource.RLIMIT_AS, limits.memory_bytes)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
    keep_freed_memory()
    _leave_with_parent(life)


def _leave_with_parent(life: Pipe) -> None:
    """Ends this process when the parent's end of `life` closes, however busy it is.

    A thread waits for the end of the pipe. It cannot run while C code holds the GIL; on Linux the kernel's SIGIO for
    the closing pipe (F_SETOWN and O_ASYNC, fcntl(2)), whose default action is to terminate, ends such a worker.
    """
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(life.fileno(), fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(life.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(life.fileno(), fcntl.F_SETFL, flags | fcntl.FASYNC)
    threading.Thread(target=_wait_for_end, args=(life,), name="life", daemon=True).start()


def _wait_for_end(life: Pipe) -> None:
    with contextlib.suppress(EOFError, OSError):
        life.recv_bytes()
    os._exit(0)


def _allow_cpu(limits: WorkerLimits) -> None:
    """Moves RLIMIT_CPU ahead of what was used: an orphan stuck in C gets SIGXCPU some time after its task's limit."""
    if limits.timeout_seconds:
        seconds = int(time.process_time() + limits.timeout_seconds + CPU_GRACE_SECONDS)
        _lower_limit(resource.RLIMIT_CPU, seconds)


def _lower_limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # getrusage(2): kilobytes on Linux, bytes on macOS
