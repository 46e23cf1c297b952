"""What can befall a start: each kind is a function that acts on a living run and says how it may end."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.changing import ChangingServer
from tests.campaign.family import ROOT, Family

NORMAL = frozenset({0, 3})
LONGEST_WAIT_SECONDS = 20.0
LONGEST_DELAY_SECONDS = 2.2
PAUSE_SECONDS = 1.0
SLOW_SECONDS = 0.05  # of latency, so that a run lasts long enough to be looked at
NO_START = "cannot start a worker process: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """Where a run takes place."""

    config: Path
    output: Path
    filler: Path  # a file on the same disk that can grow until it is full
    server: ChangingServer
    rng: Random


class Broken(Exception):
    """What the program did and must not have done."""


Act = Callable[[Scenery, Family], frozenset[int]]


def nothing(scenery: Scenery, family: Family) -> frozenset[int]:
    """An undisturbed run."""
    return NORMAL


def kill(victim: str) -> Act:
    """SIGKILL at a random time, for one of the processes or all."""

    def act(scenery: Scenery, family: Family) -> frozenset[int]:
        if family.ends_within(scenery.rng.uniform(0.0, LONGEST_DELAY_SECONDS)) or not family.kill(victim):
            return NORMAL
        if victim == "fork server":
            return NORMAL | {1}  # 1: it had no workers yet, and says so
        return NORMAL if victim == "worker" else NORMAL | {-9}

    return act


def terminate(scenery: Scenery, family: Family) -> frozenset[int]:
    """SIGTERM, as `systemctl stop` sends it: to the parent."""
    family.ends_within(scenery.rng.uniform(0.0, LONGEST_DELAY_SECONDS))
    send(family.parent.pid, signal.SIGTERM)
    return NORMAL | {143, -15}  # -15: before there was a handler


def interrupt_twice(scenery: Scenery, family: Family) -> frozenset[int]:
    """Ctrl-C, and Ctrl-C again: to the whole group, as a terminal does."""
    family.ends_within(scenery.rng.uniform(0.0, LONGEST_DELAY_SECONDS))
    for _ in range(2):
        with suppress(ProcessLookupError):
            os.killpg(family.parent.pid, signal.SIGINT)
        family.ends_within(scenery.rng.uniform(0.0, 0.3))
    return NORMAL | {130, -2}


def overlap(scenery: Scenery, family: Family) -> frozenset[int]:
    """A second start while the first stands still: it must be turned away, and leave nothing behind."""
    if await_requests(scenery, family):
        runs = len(list((scenery.output / "runs").iterdir()))
        send(family.parent.pid, signal.SIGSTOP)
        second = call("run", "--quiet", str(scenery.config))
        after = len(list((scenery.output / "runs").iterdir()))
        send(family.parent.pid, signal.SIGCONT)
        if second.returncode != 75 or f"pid {family.parent.pid}" not in second.stderr or after != runs:
            raise Broken(f"the second start: exit code {second.returncode}, {second.stderr!r}, {after - runs} folders")
    return NORMAL


def look(scenery: Scenery, family: Family) -> frozenset[int]:
    """`status` and `report` while the run is under way."""
    if await_requests(scenery, family):
        facts = read_status(scenery.config)
        asked = len(scenery.server.asked)
        states = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
        if facts["counts"]["items"] != sum(facts["counts"][state] for state in states):
            raise Broken(f"during a run the counts do not add up: {facts['counts']}")
        report = call("report", str(scenery.output))
        if report.returncode not in (0, 2):
            raise Broken(f"report during a run: exit code {report.returncode}, {report.stderr!r}")
        holder = facts["running"] or {"pid": 0}
        if len(scenery.server.asked) > asked and holder["pid"] != family.parent.pid:  # it was at work after the look
            raise Broken(f"status did not see the run of pid {family.parent.pid}: {facts['running']}")
    return NORMAL


def stop_worker(scenery: Scenery, family: Family) -> frozenset[int]:
    """SIGSTOP of a worker for a while."""
    if await_requests(scenery, family):
        for worker in family.workers()[:1]:
            _pause(family, partial(send, worker))
    return NORMAL


def stop_all(scenery: Scenery, family: Family) -> frozenset[int]:
    """SIGSTOP of the whole group, as a laptop that sleeps."""
    family.ends_within(scenery.rng.uniform(0.0, LONGEST_DELAY_SECONDS))
    _pause(family, partial(_send_group, family.parent.pid))
    return NORMAL


def fill_disk(scenery: Scenery, family: Family) -> frozenset[int]:
    """Something else takes the room while the run is at work."""
    if await_requests(scenery, family):
        fill(scenery.filler, free_bytes=scenery.rng.choice((0, 0, 60_000, 400_000, 2_000_000)))
    return NORMAL | {5}


def limit_files(scenery: Scenery, family: Family) -> frozenset[int]:
    """RLIMIT_FSIZE: some file can grow no further."""
    ledger = scenery.output / "batchproc.db"
    size_bytes = ledger.stat().st_size if ledger.exists() else 100_000
    most = scenery.rng.choice((30_000, size_bytes // 2, size_bytes + 40_000, size_bytes * 4))
    with suppress(ProcessLookupError):
        resource.prlimit(family.parent.pid, resource.RLIMIT_FSIZE, (most, most))
    return NORMAL | {2, 5}


def await_requests(scenery: Scenery, family: Family) -> bool:
    """Waits until the run has asked for something; False when it ends without."""
    asked, deadline = len(scenery.server.asked), time.monotonic() + LONGEST_WAIT_SECONDS
    while len(scenery.server.asked) < asked + 3 and time.monotonic() < deadline:
        if family.ends_within(0.02):
            return False
    return len(scenery.server.asked) >= asked + 3


def fill(path: Path, free_bytes: int) -> None:
    """Grows the file until so many bytes are free on its disk, or none are."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while (missing := _free_bytes(path) - free_bytes) > 0:
            file.write(bytes(min(missing, 1 << 20)))


def _free_bytes(path: Path) -> int:
    room = os.statvfs(path.parent)
    return room.f_bavail * room.f_frsize


def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`batchproc` with these arguments, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "batchproc", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def read_status(config: Path) -> Mapping[str, Any]:
    """What `batchproc status --json` says."""
    done = call("status", "--json", str(config))
    if done.returncode:
        raise Broken(f"status: exit code {done.returncode}, {done.stderr!r}")
    facts: Mapping[str, Any] = json.loads(done.stdout)
    return facts


def send(pid: int, number: int) -> None:
    """A signal for a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _send_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _pause(family: Family, signal_all: Callable[[int], None]) -> None:
    signal_all(signal.SIGSTOP)
    family.ends_within(PAUSE_SECONDS)
    signal_all(signal.SIGCONT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sort of start."""

    act: Act = nothing
    flags: tuple[str, ...] = ()
    is_harmful: bool = False  # kills, stops or starves a process; now and then with one of `FLAGS`
    is_same_list: bool = False
    is_slow: bool = False  # the server takes its time
    server: str = "well"  # or "ill", or "away"
    exits: frozenset[int] = frozenset()  # besides those of the act
    free_bytes: int | None = None  # at the start


KINDS: Mapping[str, Kind] = {
    "plain": Kind(),
    "again": Kind(is_same_list=True),
    "overlap": Kind(act=overlap, is_slow=True),
    "look": Kind(act=look, is_slow=True),
    "kill parent": Kind(act=kill("parent"), is_harmful=True),
    "kill group": Kind(act=kill("group"), is_harmful=True),
    "kill worker": Kind(act=kill("worker"), is_harmful=True),
    "kill fork server": Kind(act=kill("fork server"), is_harmful=True),
    "SIGTERM": Kind(act=terminate, is_harmful=True),
    "SIGINT twice": Kind(act=interrupt_twice, is_harmful=True),
    "stop worker": Kind(act=stop_worker, is_slow=True),
    "stop all": Kind(act=stop_all),
    "full disk": Kind(act=fill_disk, is_harmful=True, is_slow=True),
    "no room": Kind(exits=frozenset({2}), free_bytes=4_000_000),
    "file limit": Kind(act=limit_files, is_harmful=True),
    "max_duration": Kind(flags=("--max-duration", "600ms"), is_slow=True),
    "--refresh": Kind(flags=("--refresh",)),
    "--retry-failed": Kind(flags=("--retry-failed",)),
    "prune": Kind(flags=("--set", "job.prune=true")),
    "server away": Kind(server="away"),
    "server ill": Kind(server="ill"),
}
FLAGS = ((), (), ("--refresh",), ("--retry-failed",), ("--set", "report.html=true"))
