"""Counts what runs cost: system calls, calls in the parent, bytes over the pipe, modules imported. No clock.

A cost per item is the difference of two runs, of few items and of many, so that start and end are not in it. Each run
is a process of its own, in the default modes, from a server on the loopback.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchproc.origin import EmbeddedOrigin

FEW, MANY = 20, 80
LONGEST_SECONDS = 120
# Waits of threads for each other and for time: their number depends on the machine and on who else uses it.
WAITS = {"futex", "poll", "ppoll", "select", "pselect6", "epoll_wait", "clock_nanosleep", "sched_yield",
         "restart_syscall", "wait4", "waitid", "rt_sigreturn"}  # fmt: skip

CONFIG = """
[job]
name = "baseline"
input = "list.txt"
output = "out"
base_url = "{base_url}"

[download]
workers = 4
allow_addresses = ["127.0.0.0/8"]

[transform]
workers = 1

[[transform.steps]]
op = "resize"
size = [128, 128]

[report]
html = false
sampling = false
"""

# Run by `python -c`, with the command line as its arguments; prints the counts as the last line.
_COUNTED = """
import itertools, json, sys, threading
events, number = itertools.count(), lambda *_: next(events)  # one C call: no update is lost between threads

def counted(work):
    def count(*arguments):
        threading.setprofile(number)
        sys.setprofile(number)
        try:
            return work(*arguments)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return count

if {profiled}:  # the items' way alone: what is said of it at the end depends on how fast it was
    from batchproc.pipeline.job import Run
    Run._run_line_to_its_end = counted(Run._run_line_to_its_end)
from batchproc.__main__ import run
exit_code = run()
modules = sorted(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names)
facts = {{"events": next(events), "modules": modules, "exit_code": exit_code}}
sys.__stdout__.write(json.dumps(facts) + "\\n")
sys.__stdout__.flush()
"""


def make_job(folder: Path, origin: EmbeddedOrigin, items: int) -> Path:
    """A config and its list of so many images, each under a name of its own."""
    folder.mkdir()
    good = [entry.path for entry in origin.listing() if entry.fault is None]
    lines = [f"{good[number % len(good)]}?copy={number}" for number in range(items)]
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    config = folder / "job.toml"
    config.write_text(CONFIG.format(base_url=origin.base_url))
    return config


def counts_of(arguments: Sequence[str], *, profiled: bool = False) -> dict[str, Any]:
    """What a command counted of itself."""
    code = _COUNTED.format(profiled=profiled)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert counts["exit_code"] == 0, done.stderr
    return counts


def count_calls(folder: Path, origin: EmbeddedOrigin) -> dict[str, float]:
    """Per item, in the parent: calls of functions, in Python or C, over all threads; and bytes over the pipe."""
    few, many = (
        counts_of(["run", str(make_job(folder / str(items), origin, items)), "-q"], profiled=True)
        for items in (FEW, MANY)
    )
    found = {"parent calls per item": (many["events"] - few["events"]) / 2 / (MANY - FEW)}
    for items in (FEW, MANY):
        facts = json.loads((folder / str(items) / "out/latest/run.json").read_text())
        assert facts["counts"]["done"] == items
    stage = facts["stages"]["transform"]
    copied = stage["ipc_bytes_per_item"] - facts["original_bytes"] / MANY
    return found | {"bytes over the pipe per item, without the image": copied}


def count_modules(folder: Path, origin: EmbeddedOrigin) -> dict[str, float]:
    """Modules imported, those of the standard library left out: they differ from one Python to the next."""
    config = make_job(folder / "nothing", origin, 2)
    subprocess.run([sys.executable, "-m", "batchproc", "run", str(config), "-q"], check=True, timeout=LONGEST_SECONDS)
    return {
        "modules of --help": len(counts_of(["--help"])["modules"]),
        "modules of a run with nothing to do": len(counts_of(["run", str(config)])["modules"]),
        "modules of a worker": len(_modules_of_a_worker(config)),
    }


def _modules_of_a_worker(config: Path) -> list[str]:
    """What the fork server imports for the workers of a job, and with it each worker."""
    asked = (
        "import os, sys; from pathlib import Path; from batchproc.config import load\n"
        "from batchproc.job_file import worker_modules\n"
        f"print(*worker_modules(load(Path({str(config)!r}), environ=os.environ)))"
    )
    names = _printed(asked).split()
    listed = "\n".join(f"import {name}" for name in ("batchproc.executors.child", *names))
    outside = "name for name in sys.modules if name.partition('.')[0] not in sys.stdlib_module_names"
    return _printed(f"{listed}\nimport sys; print(*({outside}))").split()


def _printed(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LONGEST_SECONDS
    ).stdout


def can_trace(folder: Path) -> bool:
    """Whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


def count_system_calls(folder: Path, origin: EmbeddedOrigin) -> dict[str, float]:
    """Per item, of the parent, its worker and the fork server; waits for other threads and for time left out."""
    totals: list[int] = []
    for items in (FEW, MANY):
        config = make_job(folder / f"traced-{items}", origin, items)
        summary = folder / f"summary-{items}"
        run = [sys.executable, "-m", "batchproc", "run", str(config), "-q"]
        subprocess.run(["strace", "-f", "-c", "-o", str(summary), *run], check=True, timeout=LONGEST_SECONDS)
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", summary.read_text(), re.MULTILINE)
        totals.append(sum(int(calls) for calls, name in rows if name not in WAITS | {"total"}))
    return {"system calls per item": (totals[1] - totals[0]) / (MANY - FEW)}
