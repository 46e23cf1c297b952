"""The parent's side of the sampler: starts it, shows it the gauges, ends it and takes what it saw."""

import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec.json

import batchproc
from batchproc.measure import GAUGES_PREFIX
from batchproc.measure.clocks import allow_reader
from batchproc.measure.samples import Samples
from batchproc.signals import withheld_from_children

PATIENCE_SECONDS = 5.0
SNAPSHOT_SECONDS = 1.0
REQUEST = b"?"
START = "from batchproc.measure.sampling import main; main()"  # half a dozen modules less than `-m` imports


class Gauges:
    """Numbers that the run shows to the sampler: one shared page of memory, a few dozen nanoseconds per change.

    Named, all zero at first. Owned by the `with` block of the run; `path` is what the sampler opens. A gauge is one
    aligned 8-byte float, so a reader in another process sees the old value or the new one, never half. Each has one
    writing thread; two that add to the same one would lose updates. A name that ends in `_total` is a counter: it only
    grows, and the reader keeps its last value where it averages the others.
    """

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        """In `folder`, or in the system's place for temporary files.

        Raises OSError, which names the file, on a full disk.
        """
        self.names = tuple(names)
        self._index = {name: index for index, name in enumerate(self.names)}
        descriptor, path = tempfile.mkstemp(prefix=GAUGES_PREFIX, dir=folder)
        self.path = Path(path)
        try:
            self._memory = _map_zeros(descriptor, 8 * max(1, len(self.names)))
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._values = memoryview(self._memory).cast("d")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, name: str, value: float) -> None:
        """Sets a gauge. Raises `KeyError` for a name that was not declared."""
        self._values[self._index[name]] = value

    def add(self, name: str, amount: float = 1.0) -> None:
        """Adds to a gauge; from one thread only per gauge."""
        self._values[self._index[name]] += amount

    def get(self, name: str) -> float:
        """The present value."""
        return self._values[self._index[name]]

    def close(self) -> None:
        """Gives the memory back and removes the file."""
        self._values.release()
        self._memory.close()
        self.path.unlink(missing_ok=True)


def _map_zeros(descriptor: int, length_bytes: int) -> mmap.mmap:
    """Maps an empty file after filling it, and closes it. Raises OSError.

    The zeros are written: a file that is only made longer has no place on the disk yet, and the first change of its
    memory on a full one is a SIGBUS.
    """
    with open(descriptor, "wb", buffering=0) as file:
        left = length_bytes
        while left:
            left -= file.write(bytes(left)) or 0
        return mmap.mmap(descriptor, length_bytes)


class Sampler:
    """Watches the calling process and all below it from a process of its own, for the time of the `with` block.

    `result()` afterwards: what was seen, or None with `failure` as the reason; a sampler that breaks never breaks the
    run. Open it inside the executors' `with` blocks, so that the last reading still finds the workers. Not thread-safe.
    """

    def __init__(self, gauges: Gauges, *, origin_pid: int | None = None) -> None:
        self._gauges = gauges
        self._origin_pid = origin_pid
        self._process: subprocess.Popen[bytes] | None = None
        self._samples: Samples | None = None
        self._is_silent = False
        self.failure = ""

    @property
    def pid(self) -> int | None:
        """The sampler's process, so that nobody takes it for a worker."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        try:
            with withheld_from_children():
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-P", "-c", START, self._watch()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=None if sys.platform == "win32" else 0,  # Ctrl-C is not meant for it
                    env=_environment(),
                )
        except OSError as error:
            self.failure = f"the sampler did not start ({os.strerror(error.errno or 0)})"
            return self
        allow_reader(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dismiss(self) -> None:
        """Ends the sampler without waiting for what it saw. `stop` has nothing to do then."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
            self.failure = "the sampler was dismissed"

    def stop(self) -> None:
        """Ends the sampler: one last reading, then its result. Takes some 10 ms, at most 5 s; once."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            text, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.failure = f"the sampler did not answer within {PATIENCE_SECONDS:g} s"
            return
        if process.returncode:
            said = errors.decode(errors="replace").strip().splitlines()
            self.failure = f"the sampler broke ({(said or [f'exit code {process.returncode}'])[-1]})"
            return
        self._samples = msgspec.json.decode(text.splitlines()[-1], type=Samples)  # after a snapshot that nobody read

    def snapshot(self) -> Samples | None:
        """What the sampler saw so far; None, then and ever after, when it does not answer within a second."""
        process = self._process
        if self._is_silent or process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(REQUEST)
            process.stdin.flush()
            line = _read_line(process.stdout.fileno(), time.monotonic() + SNAPSHOT_SECONDS)
        except OSError:  # it has ended: `stop` finds out how
            line = b""
        self._is_silent = not line  # its answer may still come: it must not pass for the next one
        return msgspec.json.decode(line, type=Samples) if line else None

    def result(self) -> Samples | None:
        """What the sampler saw; None before `stop`, and when it failed."""
        return self._samples

    def _watch(self) -> str:
        watch = {
            "root": os.getpid(),
            "origin": self._origin_pid,
            "gauges_path": str(self._gauges.path),
            "gauge_names": self._gauges.names,
        }
        return msgspec.json.encode(watch).decode()


def _read_line(descriptor: int, deadline: float) -> bytes:
    """One line, read past all buffers; empty when it did not come by `deadline`, monotonic seconds, or never will."""
    read = b""
    while not read.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return b""
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            return b""
        read += chunk
    return read


def _environment() -> dict[str, str]:
    """The child starts without `site`, which saves 10 ms; so it is told where this package, msgspec and psutil lie."""
    packages = [str(Path(each).resolve().parents[1]) for each in (batchproc.__file__, msgspec.__file__)]
    paths = [*packages, *(() if sys.platform.startswith("linux") else sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
