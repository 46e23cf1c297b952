"""A scheduler and workers of Dask for tests, each a process of its own that can be killed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

PATIENCE_SECONDS = 60.0


class DaskCluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.port = 0
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        file = self._folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard",
            "--scheduler-file", str(file),
        )  # fmt: skip
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"))  # it is written, and whole
        self.address = json.loads(file.read_text())["address"]
        self.port = int(self.address.rpartition(":")[2])

    def start_worker(self, disk: Path | None = None, *, nanny: bool = False) -> None:
        """One more; the parts that it works on are on `disk`. A nanny starts what it watches over again."""
        folder = disk or self._folder / f"worker-{len(self.workers)}"
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--host", "127.0.0.1",
            "--local-directory", str(folder), "--nanny" if nanny else "--no-nanny",
        )  # fmt: skip
        self.workers.append(worker)

    def pids(self) -> dict[str, int]:
        """The processes that do the work, by the addresses of the workers."""
        import distributed

        client: Any = distributed
        with client.Client(self.address, set_as_default=False) as asked:
            asked.wait_for_workers(len(self.workers), timeout=PATIENCE_SECONDS)
            found: dict[str, int] = asked.run(os.getpid)
            return found

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=log, stderr=log)
        self._stack.callback(end, process)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all below it."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
    psutil.wait_procs(family, timeout=5)


def wait_for(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; fails after a minute."""
    ended = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if condition():
            return
        ended.wait(0.05)
    raise AssertionError("did not come to pass")


def part_processes(worker: int) -> list[psutil.Process]:
    """The processes of parts below a worker, theirs included."""
    try:
        return [
            process for process in psutil.Process(worker).children(recursive=True)
            if "batchproc.cluster.part_process" in " ".join(process.cmdline())
        ]  # fmt: skip
    except psutil.NoSuchProcess:
        return []
