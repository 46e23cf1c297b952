"""The embedded origin: a small image server in a process of its own, for demos, benchmarks and tests without a network.

It serves pictures that it makes from a seed, or a folder of the user's, with the latency, bandwidth and share of
misbehaving URLs that a real one would have. `EmbeddedOrigin` is the parent's side.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Self

from msgspec import to_builtins

from batchproc.errors import BatchprocError, ExitCode, UsageError
from batchproc.origin.site import OriginSettings, OriginTotals, ServedUrl, check_settings, demo_paths, listing
from batchproc.signals import withheld_from_children

__all__ = ["EmbeddedOrigin", "OriginError", "OriginSettings", "demo_paths", "listing"]

START_SECONDS = 120.0  # making the pictures takes about two; this is for a machine that does much else
STOP_SECONDS = 5.0
TAIL_BYTES = 2000


class OriginError(BatchprocError):
    """The embedded origin did not start."""


class EmbeddedOrigin:
    """An origin in a process of its own, for the length of a `with` block.

    The child reads its settings from its stdin and ends when that pipe does, so it never outlives its parent, however
    that ends. It ignores SIGINT: a Ctrl-C is for the parent. Used from one thread.
    """

    def __init__(self, settings: OriginSettings, *, start_seconds: float = START_SECONDS) -> None:
        self._settings = settings
        self._start_seconds = start_seconds
        self._listing: tuple[ServedUrl, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._base_url = ""
        self.totals: OriginTotals | None = None  # known after the block, None when the child could not say

    def __enter__(self) -> Self:
        """Starts the server and returns when all its pictures are made.

        Raises `UsageError` when the settings cannot be served (a port in use, a folder without pictures), and
        `OriginError` when the server does not become ready.
        """
        check_settings(self._settings)
        self._listing = listing(self._settings)
        self._stderr = tempfile.TemporaryFile()  # closed by _end
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    @property
    def base_url(self) -> str:
        """As `http://127.0.0.1:40123`, without a slash at its end."""
        return self._base_url

    @property
    def pid(self) -> int:
        """The process id of the server. Raises `OriginError` outside the block."""
        if self._process is None:
            raise OriginError("the embedded origin is not running")
        return self._process.pid

    def listing(self) -> tuple[ServedUrl, ...]:
        """Every URL with its fault."""
        return self._listing

    def paths(self) -> list[str]:
        """The relative URLs, as `/img/0007.jpg`."""
        return [entry.path for entry in self._listing]

    def _start(self) -> None:
        # -P: a file named like a standard module in the user's working directory must not be imported.
        command = [sys.executable, "-P", "-m", "batchproc.origin.server"]
        with withheld_from_children(signal.SIGINT):  # it would come before the child ignores it
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: told by the missing ready line
            self._process.stdin.write(json.dumps(to_builtins(self._settings)).encode() + b"\n")
        ready = _read_line(self._process.stdout, self._start_seconds)
        if not ready:
            raise self._start_error()
        self._base_url = json.loads(ready)["base_url"]

    def _start_error(self) -> BatchprocError:
        assert self._process is not None
        assert self._stderr is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        status = self._process.poll()
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - TAIL_BYTES))
        tail = self._stderr.read().decode(errors="replace").strip()
        if status == ExitCode.USAGE:
            return UsageError(tail.removeprefix("error: "))
        if status is None:
            return OriginError(f"the embedded origin was not ready after {self._start_seconds:g} s")
        return OriginError(f"the embedded origin ended with status {status} before it was ready:\n{tail}")

    def _end(self) -> None:
        """Ends the server and waits for it. Bounded, and safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            self._stop(process)
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        if not self._base_url:  # it may be busy with the pictures and not look at its stdin for long
            process.terminate()
        for insist in (process.terminate, process.kill, None):
            try:
                process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if insist is not None:
                    insist()
        with process.stdout:
            totals = _read_line(process.stdout, STOP_SECONDS)
        if self._base_url and process.returncode == 0 and totals:
            self.totals = OriginTotals(**json.loads(totals))


def _read_line(file: IO[bytes], seconds: float) -> bytes:
    """The next line of a pipe; empty at its end or when the time is up."""
    descriptor = file.fileno()
    deadline = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return b""
            part = os.read(descriptor, 4096)
            if not part:
                return b""
            line += part
    return line
