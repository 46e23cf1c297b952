"""The processes of one real run, from the outside: who is who, killing one of them, and waiting until none is left."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from batchproc.failpoints import VARIABLE

ROOT = Path(__file__).parents[2]
FORK_SERVER = "multiprocessing.forkserver"  # in the command line of the fork server, and of the workers it forks
FORKED = re.compile(r"forkserver|(download|transform)-\d+")  # the names of these, where the run has forked it
FATAL = ("parent", "group")  # whose death is the run's
LONGEST_RUN_SECONDS = 60.0
LONGEST_FAREWELL_SECONDS = 10.0


class Family:
    """A run and all its processes: the session that its parent leads."""

    def __init__(self, parent: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self.parent = parent
        self._log = log

    def living(self) -> list[int]:
        """The pids of the session that still run; a zombie does not."""
        return [pid for pid in psutil.pids() if _is_of(pid, self.parent.pid)]

    def fork_server(self) -> int:
        """The fork server's pid, 0 when there is none."""
        return next((pid for pid in self._forked() if _parent_of(pid) == self.parent.pid), 0)

    def workers(self) -> list[int]:
        """The pids of the workers, orphans of a dead fork server among them."""
        return [pid for pid in self._forked() if _parent_of(pid) != self.parent.pid]

    def kill(self, victim: str, worker: int = 0) -> str:
        """SIGKILL for `parent`, `worker` (this one or any), `fork server` or `group`, or two of them joined by `+`.

        Returns, when they are dead, who there was to kill: the same words, or fewer, or none.
        """
        if victim == "group":
            with suppress(ProcessLookupError):
                os.killpg(self.parent.pid, signal.SIGKILL)
            return victim
        return "+".join([name for name in victim.split("+") if self._kill_one(name, worker)])

    def wait(self) -> int:
        """The parent's exit code. Raises `subprocess.TimeoutExpired`."""
        return self.parent.wait(LONGEST_RUN_SECONDS)

    def ends_within(self, seconds: float) -> bool:
        """Waits for the parent's end, so long at most; returns whether it came."""
        return _await_end(self.parent.pid, seconds)

    def outlived(self) -> list[str]:
        """Waits until no process of the run is left; returns the command lines of those that would not go."""
        deadline = time.monotonic() + LONGEST_FAREWELL_SECONDS
        while left := self.living():
            if not _await_end(left[0], deadline - time.monotonic()):
                return [_describe(pid) for pid in left]
        return []

    def said(self) -> str:
        """What the run wrote to stdout and stderr, as far as it came."""
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")

    def _forked(self) -> list[int]:
        return [pid for pid in self.living() if FORK_SERVER in _describe(pid) or FORKED.fullmatch(_name_of(pid))]

    def _kill_one(self, name: str, worker: int) -> bool:
        if name == "parent":
            pid = self.parent.pid
        elif name == "worker":
            pid = worker or next(iter(self.workers()), 0)
        else:
            pid = self.fork_server()
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return _await_end(pid, LONGEST_FAREWELL_SECONDS)


@contextmanager
def started(config: Path, *flags: str, failpoint: str = "") -> Iterator[Family]:
    """`batchproc run` in a session of its own; nothing of it outlives the block."""
    command = [sys.executable, "-m", "batchproc", "run", str(config), *flags]
    armed = {VARIABLE: failpoint} if failpoint else {}
    with (config.parent / "said.log").open("wb") as log:
        parent = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **armed},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        family = Family(parent, log)
        try:
            yield family
        finally:
            for pid in family.living():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            parent.wait(LONGEST_FAREWELL_SECONDS)


def run_to_its_end(config: Path, *flags: str) -> None:
    """The same command, undisturbed."""
    with started(config, *flags) as family:
        assert 0 == family.wait(), family.said()
        assert [] == family.outlived()


def _is_of(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
        return False


def _parent_of(pid: int) -> int:
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return 0


def _name_of(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _describe(pid: int) -> str:
    try:
        words: Sequence[str] = psutil.Process(pid).cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
    return " ".join(words)


def _await_end(pid: int, seconds: float) -> bool:
    """Waits until a process has ended, reaped or not; False when it has not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))
    finally:
        os.close(descriptor)
