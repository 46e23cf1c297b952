"""The parent's side of the sampler: starts it, shows it the gauges, ends it and takes what it saw."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.measure.gauges import Gauges
from batchproc.measure.samples import Samples
from batchproc.measure.threads import allow_reader

PATIENCE_SECONDS = 5.0


class Sampler:
    """Watches the calling process and all below it from a process of its own, for the time of the `with` block.

    `result()` afterwards: what was seen, or None with `failure` as the reason; a sampler that breaks never breaks the
    run. Open it inside the executors' `with` blocks, so that the last look still finds the workers. Not thread-safe.
    """

    def __init__(self, gauges: Gauges, *, origin_pid: int | None = None) -> None:
        self._gauges = gauges
        self._origin_pid = origin_pid
        self._process: subprocess.Popen[str] | None = None
        self._samples: Samples | None = None
        self.failure = ""

    @property
    def pid(self) -> int | None:
        """The sampler's process, so that nobody takes it for a worker."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-m", "batchproc.measure.sampling", self._watch()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
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

    def stop(self) -> None:
        """Ends the sampler: one last look, then its result. Takes some 10 ms, at most 5 s; once."""
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
            last_line = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            self.failure = f"the sampler broke ({last_line})"
            return
        self._samples = Samples.from_json(json.loads(text))

    def result(self) -> Samples | None:
        """What the sampler saw; None before `stop`, and when it failed."""
        return self._samples

    def _watch(self) -> str:
        return json.dumps(
            {
                "root": os.getpid(),
                "origin": self._origin_pid,
                "gauges_path": str(self._gauges.path),
                "gauge_names": self._gauges.names,
            }
        )


def _environment() -> dict[str, str]:
    """The child starts without `site`, which saves 10 ms; so it is told where this package, and psutil, lie."""
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *(() if sys.platform.startswith("linux") else sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
