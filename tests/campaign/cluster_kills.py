"""Kills workers, schedulers and drivers of a cluster at random: `python -m tests.campaign.cluster_kills --kills 20`.

A job is run by a real scheduler and two real workers of Dask. Again and again one of them is killed at a random moment:
a worker, which its nanny starts anew; the scheduler, which is started again with new workers; or the driver, which the
same command continues. In the end every byte that its user has must be that of a run on one machine, no process of a
part may be left, and no part may have been committed twice. Moments come from the seed.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import psutil

from tests.campaign.counting import counting_server
from tests.campaign.jobs import write_job
from tests.cluster.dask_cluster import DaskCluster, part_processes

IMAGES = 600
PART_URLS = 40
LAST_SECONDS = 120.0  # for a driver that nobody kills any more


def ending(output: Path) -> Mapping[str, object]:
    """What a job has made for its user: images by their hashes, rows without their order."""
    images = {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (output / "images").rglob("*.*")
    }
    rows = {
        name: sorted((output / name).read_text().splitlines()) for name in ("metadata.jsonl", "failures.jsonl")
    }
    return images | rows


class Cluster:
    """A scheduler with two workers, and what can be killed of it."""

    def __init__(self, folder: Path, stack: ExitStack, rng: Random) -> None:
        self._dask = DaskCluster(folder, stack)
        self._rng = rng
        self._dask.start_scheduler()
        self._start_workers()

    @property
    def address(self) -> str:
        return self._dask.address

    def kill_worker(self) -> list[psutil.Process]:
        """Kills one that does the work; the processes of parts that outlive it."""
        pids = [pid for pid in self._dask.pids().values() if part_processes(pid)]
        if not pids:
            return []
        victim = self._rng.choice(pids)
        family = part_processes(victim)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return psutil.wait_procs(family, timeout=5)[1]

    def kill_scheduler(self) -> None:
        """Kills it, and starts another at the same address with new workers."""
        assert self._dask.scheduler is not None
        self._dask.scheduler.kill()
        self._dask.scheduler.wait()
        self._dask.start_scheduler()
        self._start_workers()

    def _start_workers(self) -> None:
        self._dask.workers.clear()
        self._dask.start_worker()
        self._dask.start_worker()


def campaign(folder: Path, *, kills: int, seed: int) -> list[str]:
    """One job after the other, until so much was killed; returns the faults."""
    rng, killed, faults, jobs = Random(seed), 0, list[str](), 0
    with ExitStack() as stack:
        server = stack.enter_context(counting_server(IMAGES))
        names = [server.base_url, server.base_url.replace("127.0.0.1", "localhost")]
        paths = [f"{names[number % 2]}{path}" for number, path in enumerate(server.paths)]
        config = write_job(folder, server.base_url, paths, download='robots = "ignore"')
        command = [sys.executable, "-m", "batchproc", "run", "-q", str(config)]
        subprocess.run([*command, "--output", str(folder / "alone")], check=True)
        (folder / "dask").mkdir()
        cluster = Cluster(folder / "dask", stack, rng)
        command += ["--set", f"cluster.scheduler={cluster.address}", "--set", f"cluster.shard_urls={PART_URLS}"]
        while killed < kills:
            output = folder / f"shared-{jobs}"
            killed += _one_job([*command, "--output", str(output)], cluster, rng, kills - killed, faults)
            jobs += 1
            faults += faults_of(output, ending(folder / "alone"))
            print(f"{killed} kills, {jobs} jobs, {len(faults)} faults", flush=True)
    return faults


def _one_job(command: list[str], cluster: Cluster, rng: Random, kills: int, faults: list[str]) -> int:
    """Runs a job to its end, killing now and then; how often that was."""
    killed = 0
    while True:
        driver = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            while driver.poll() is None and killed < kills:
                with suppress(subprocess.TimeoutExpired):
                    driver.wait(rng.uniform(2.0, 8.0))
                    break
                killed += 1
                what = rng.choice(["worker", "worker", "scheduler", "driver"])
                if what == "worker":
                    faults += [f"{process} outlived its worker" for process in cluster.kill_worker()]
                elif what == "scheduler":
                    cluster.kill_scheduler()
                else:
                    driver.kill()
            said = driver.communicate(timeout=LAST_SECONDS)[1].decode(errors="replace")
        finally:
            driver.kill()
            driver.wait()
        if driver.returncode != -signal.SIGKILL:
            if driver.returncode:
                faults.append(f"exit code {driver.returncode}: {said}")
            return killed


def faults_of(output: Path, expected: Mapping[str, object]) -> list[str]:
    """What differs from a run on one machine, and what was done twice."""
    found = ending(output)
    faults = [f"{name} differs" for name in expected if name in found and found[name] != expected[name]]
    faults += [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is left" for name in found if name not in expected]
    parts = [json.loads(path.read_bytes()) for path in (output / "cluster").glob("*/parts/*.json")]
    attempts = {path.name.rpartition("-")[2] for path in (output / "cluster").glob("*/attempts/*")}
    faults += [f"{part['rows']} is gone" for part in parts if not (output / part["rows"]).exists()]
    return faults + [f"attempt {name} is left" for name in attempts - {part["attempt"] for part in parts}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchproc-cluster-kills-") as folder:
        faults = campaign(Path(folder), kills=options.kills, seed=options.seed)
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
