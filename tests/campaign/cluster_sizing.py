"""What the driver of a large cluster needs, on a simulated clock: `python -m tests.campaign.cluster_sizing`.

    --parts N      100,000: 5 * 10^8 URLs, 5,000 a part
    --workers N    200
    --slices N     2,000 of the parts are slices of one domain, which run one after another

Driver, queue, ledger of parts and the adding up of what was measured are the real ones; the workers are simulated, and
commit what one real part came to. Prints what the driver needs of memory, disk and CPU, how long the run takes by the
simulated clock, and how much of that the workers are at work.
"""

import argparse
import random
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from batchproc.cluster.driver import Driver
from batchproc.cluster.merge import Measured
from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.partition import make_plan
from batchproc.cluster.shard_plan import (
    FOLDER,
    LIST_NAME,
    ClusterPlan,
    ListShard,
    PartManifest,
    PendingPart,
    write_plan,
)
from batchproc.cluster.task import PartOutcome, PartTask, run_part
from batchproc.job_file import load
from batchproc.pipeline.import_list import JobList

T = TypeVar("T")

SHARD_URLS = 5_000
SECONDS_PER_URL = 0.02
CONFIG = """
[job]
name = "sizing"
input = "list.txt"
output = "out"
[download]
retries = 0
allow_addresses = ["127.0.0.0/8"]
[transform]
mode = "serial"
[report]
html = false
[cluster]
scheduler = "tcp://127.0.0.1:1"
"""


class SimulatedEngine:
    """Workers that need a while by a clock of their own, and commit what another part came to."""

    dashboard = ""

    def __init__(self, workers: int, manifest: PartManifest) -> None:
        self._workers = {f"tcp://10.0.{number // 256}.{number % 256}:1": 1 for number in range(workers)}
        self._free = list(self._workers)
        self._manifest = manifest
        self._waiting: deque[int] = deque()
        self._running: list[tuple[float, int, str]] = []
        self._chance = random.Random(1)
        self.now = 0.0
        self.busy_seconds = 0.0

    def slots(self) -> Mapping[str, int]:
        return self._workers

    def ask(self, question: Callable[[], T], workers: Iterable[str]) -> Mapping[str, T | str]:
        raise NotImplementedError

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        (self._waiting.appendleft if task.part.domain else self._waiting.append)(task.part.number)
        self._start()

    def stop_parts(self, run: str) -> None:
        """Nobody asks for it."""

    def wait(self, seconds: float) -> list[PartOutcome]:
        """The part that ends next; the clock is put forward to its end."""
        self.now, number, worker = heappop(self._running)
        self._free.append(worker)
        self._start()
        return [PartOutcome(place=(number, 0), worker=worker, manifest=self._made(number, worker))]

    def close(self) -> None:
        """There is nothing to close."""

    def _start(self) -> None:
        while self._waiting and self._free:
            seconds = SHARD_URLS * SECONDS_PER_URL * self._chance.lognormvariate(0, 0.3)
            self.busy_seconds += seconds
            heappush(self._running, (self.now + seconds, self._waiting.popleft(), self._free.pop()))

    def _made(self, number: int, worker: str) -> PartManifest:
        return replace(self._manifest, number=number, worker=worker, due=0, pending=0, rest="")


def make_real_manifest(folder: Path) -> tuple[PartManifest, ClusterPlan]:
    """What a part of ten URLs comes to at which nobody answers, and the plan that it is of."""
    (folder / "list.txt").write_text("".join(f"http://127.0.0.1:9/{number}.jpg\n" for number in range(10)))
    (folder / "job.toml").write_text(CONFIG)
    config = load(folder / "job.toml").config
    plan = make_plan(JobList.of(config, ""), folder / FOLDER / "plan", shard_urls=SHARD_URLS)
    (shard,) = plan.shards
    task = PartTask(
        config=config, run="", store=str(folder), plan=plan.name, columns=plan.columns, names=(),
        part=PendingPart(
            number=0, generation=0, list_name=f"{FOLDER}/plan/{LIST_NAME}", offset=0, size_bytes=shard.size_bytes,
            items=shard.items, first_shard=0,
        ),
        seconds=60.0, slots={},
    )  # fmt: skip
    outcome = run_part(task, worker="tcp://127.0.0.1:1")
    assert outcome.manifest is not None, outcome.reason
    return outcome.manifest, plan


def simulate(folder: Path, *, parts: int, workers: int, slices: int) -> None:
    """One run of a driver, and what it needed."""
    manifest, plan = make_real_manifest(folder)
    shards = tuple(
        ListShard(
            number=number, offset=number * 10**6, size_bytes=10**6, items=SHARD_URLS, hosts=100,
            domain="large.example" if number < slices else None, after=number - 1 if 0 < number < slices else None,
        )
        for number in range(parts)
    )  # fmt: skip
    plan = replace(plan, shards=shards, items=parts * SHARD_URLS)
    write_plan(folder, plan)
    measured = Measured()
    engine = SimulatedEngine(workers, manifest)
    config = load(folder / "job.toml").config
    began = time.process_time()
    with PartLedger.open(folder / "parts.db") as ledger:
        driver = Driver(
            config, plan, ledger, lambda: engine, note=print, committed=measured.add,
            joined=lambda _engine, workers: workers, store=str(folder), clock=lambda: engine.now,
        )  # fmt: skip
        driver.work()
        assert parts == len(ledger.last_committed())
    seconds = time.process_time() - began
    largest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    disk_mb = [sum(path.stat().st_size for path in folder.glob(name)) / 1e6 for name in ("plan.json", "parts.db*")]
    at_work = engine.busy_seconds / engine.now / workers
    print(
        f"{parts:,} parts, {workers:,} workers: driver {largest_mb:.0f} MB, {1e3 * seconds / parts:.1f} ms of CPU per "
        f"part, plan {disk_mb[0]:.0f} MB, ledger {disk_mb[1]:.0f} MB; {engine.now / 3600:.1f} h, workers at work "
        f"{at_work:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--slices", type=int, default=2_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchproc-sizing-") as folder:
        simulate(Path(folder), parts=chosen.parts, workers=chosen.workers, slices=chosen.slices)


if __name__ == "__main__":
    main()
