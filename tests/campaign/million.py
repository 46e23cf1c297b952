"""A job of 1,000,000 items, whole: `python -m tests.campaign.million`; how long, how much memory, how large a file.

The real list, config and ledger, and the real command for the run with nothing to do; only the pictures are not there.
Every phase is a process of its own, so that its peak of memory is its own. Needs about 1.2 GB in the folder.
"""

import argparse
import hashlib
import json
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.config import Config, OutputTable, load
from batchproc.errors import Retry
from batchproc.ledger import Ledger
from batchproc.measure.processes import usable_cores
from batchproc.model import Failure, Item, Outcome, OutputImage, Reply, Source
from batchproc.pipeline import RunOptions
from batchproc.pipeline.closing import write_manifests
from batchproc.pipeline.import_list import take_in
from batchproc.pipeline.opening import make_transform
from batchproc.sink import ImageFolder, Layout
from batchproc.transform.plan import build_steps

ROOT = Path(__file__).parents[2]
FAILING = 50  # one item of so many
SAMPLE = 20_000  # outcomes of which the making alone is measured
CONFIG = """
[job]
name = "million"
input = "list.txt"
output = "out"
max_failed_ratio = 0.05

[download]
allow_addresses = ["127.0.0.0/8"]

[report]
html = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is promised of one figure, for 1,000,000 items."""

    figure: str
    most: float
    unit: str


LIMITS = (
    Limit(figure="import_seconds", most=20.0, unit="s"),
    Limit(figure="import_peak_mb", most=200.0, unit="MB"),
    Limit(figure="pending_mb", most=400.0, unit="MB"),
    Limit(figure="record_us_per_item", most=60.0, unit="us"),
    Limit(figure="record_cpu_us_per_item", most=60.0, unit="us"),
    Limit(figure="record_peak_mb", most=200.0, unit="MB"),
    Limit(figure="done_mb", most=400.0, unit="MB"),
    Limit(figure="manifests_peak_mb", most=200.0, unit="MB"),
    Limit(figure="idle_seconds", most=5.0, unit="s"),
    Limit(figure="idle_peak_mb", most=200.0, unit="MB"),
    Limit(figure="idle_connections", most=0.0, unit=""),
    Limit(figure="status_seconds", most=5.0, unit="s"),
)


class NoFiles(ImageFolder):
    """The names of a million pictures, without the pictures: what is measured is the ledger, not the disk's folders."""

    def place(self, name: str, key_hex: str, suffix: str) -> None:
        """Names nothing."""


class Job:
    """The job in `folder`, as a phase works on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: Config = load(folder / "job.toml", environ={}, cores=usable_cores())
        self.layout = Layout(output=self.config.paths.output)
        self.layout.prepare()
        self.images = NoFiles(self.layout.output)

    def open(self) -> Ledger:
        layout = self.layout
        return Ledger.open(layout.ledger_path, images=self.images, reserve_path=layout.reserve_path)

    def take_in(self, ledger: Ledger) -> None:
        """What every run does before its line."""
        transform = make_transform(self.config, build_steps(self.config.transform.steps))
        take_in(self.config, RunOptions(), transform, ledger, self.config.job.base_url)

    def file_mb(self) -> float:
        """The ledger's size, what SQLite keeps beside it included."""
        return sum(path.stat().st_size for path in self.layout.output.glob("batchproc.db*")) / 1e6


def write_job(folder: Path, items: int, port: int) -> None:
    """Writes the config and a list of usual URLs, about 80 characters each."""
    host = f"http://127.0.0.1:{port}"
    (folder / "job.toml").write_text(CONFIG)
    with (folder / "list.txt").open("w", encoding="ascii") as file:
        for number in range(items):
            file.write(f"{host}/photos/2024/{number % 12 + 1:02d}/{number:08d}-{_digest(number)[:16]}_large.jpg\n")


def run_import(job: Job) -> Mapping[str, float]:
    """From the list to the ledger, as the first run does it."""
    started = time.perf_counter(), time.process_time()
    with job.open() as ledger:
        job.take_in(ledger)
        seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return {"import_seconds": seconds, "import_cpu_seconds": cpu_seconds, "pending_mb": job.file_mb()}


def run_record(job: Job) -> Mapping[str, float]:
    """Every item gets its outcome. What making the outcomes costs is measured before, and taken off."""
    sample = [_source(number) for number in range(SAMPLE)]
    making = time.process_time()
    for source in sample:
        make_outcome(source, job.layout.temporary_folder)
    making = (time.process_time() - making) / SAMPLE
    with job.open() as ledger:
        job.take_in(ledger)
        ledger.begin_run("20261122T081530Z", datetime.now(UTC))
        wall, cpu, items = time.perf_counter(), time.process_time(), 0
        for source in ledger.work():
            ledger.record(make_outcome(source, job.layout.temporary_folder))
            items += 1
        ledger.finish_recording()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ledger.end_run(ended=datetime.now(UTC), exit_code=0)
    return {
        "record_us_per_item": 1e6 * (wall / items - making),
        "record_cpu_us_per_item": 1e6 * (cpu / items - making),
        "making_us_per_item": 1e6 * making,
        "done_mb": job.file_mb(),
    }


def run_manifests(job: Job) -> Mapping[str, float]:
    """Both manifests, as at the end of a run."""
    started = time.perf_counter()
    with job.open() as ledger:
        write_manifests(ledger, job.layout, OutputTable())
    return {
        "manifests_seconds": time.perf_counter() - started,
        "metadata_mb": job.layout.metadata_path.stat().st_size / 1e6,
    }


PHASES: Mapping[str, Callable[[Job], Mapping[str, float]]] = {
    "import": run_import,
    "record": run_record,
    "manifests": run_manifests,
}


def make_outcome(source: Source, temporary_folder: Path) -> Outcome:
    """What a run would tell of this source: facts of the usual length."""
    if source.index % FAILING == 0:
        return Failure(
            source=source, stage="download", code="http.404", message="404 Not Found",
            hint="drop it from the list, or correct the URL", retry=Retry.NEVER, attempts=1,
        )  # fmt: skip
    digest = _digest(source.index)
    reply = Reply(
        status_code=200, content_type="image/jpeg", etag=f'"{digest[:32]}"', final_url=source.url,
        last_modified="Wed, 21 Oct 2015 07:28:00 GMT", attempts=1,
    )  # fmt: skip
    rendition = OutputImage(
        temporary_path=f"{temporary_folder}/{source.key_hex}.4711-{source.index}.part", suffix=".jpg",
        size_bytes=20_000 + source.index % 10_000, sha256=digest, format="JPEG", mode="RGB", width_px=512,
        height_px=341, original_width_px=2048, original_height_px=1365, original_format="JPEG",
        original_size_bytes=155_000, source_sha256=digest[::-1], reply=reply,
    )  # fmt: skip
    return Item(source=source, value=rendition)


def _source(number: int) -> Source:
    return Source(index=number, line=number + 1, url=f"http://127.0.0.1/{number:060d}", key=number.to_bytes(16, "big"))


def _digest(number: int) -> str:
    return hashlib.sha256(number.to_bytes(8, "big")).hexdigest()


def measure(folder: Path, items: int) -> Iterator[Mapping[str, float]]:
    """Runs the phases one after the other; yields the figures of each as it ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_job(folder, items, server.getsockname()[1])
        for name in PHASES:
            figures, cost = _run_child("-m", __spec__.name, "--phase", name, "--folder", str(folder))
            yield json.loads(figures) | {f"{name}_peak_mb": cost.peak_mb}
        job = str(folder / "job.toml")
        _, cost = _run_child("-m", "batchproc", "run", "--quiet", job)
        connections = len(select.select([server], [], [], 0)[0])
        yield {"idle_seconds": cost.seconds, "idle_peak_mb": cost.peak_mb, "idle_connections": connections}
        facts, cost = _run_child("-m", "batchproc", "status", "--json", job)
        assert items == json.loads(facts)["counts"]["items"], facts
        yield {"status_seconds": cost.seconds, "status_peak_mb": cost.peak_mb}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process took."""

    seconds: float
    peak_mb: float


def _run_child(*arguments: str) -> tuple[str, Cost]:
    """Runs Python to its end; returns its stdout. Its peak is read from its own account (`wait4`), the highest RSS."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        said = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert 0 == child.returncode, f"{arguments}: exit code {child.returncode}"
    return said, Cost(seconds=time.perf_counter() - started, peak_mb=_peak_mb(usage))


def _peak_mb(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss * 1024 / 1e6


def missed(figures: Mapping[str, float], limits: Sequence[Limit] = LIMITS) -> list[str]:
    """The promises that these figures do not keep."""
    return [
        f"{limit.figure} is {figures[limit.figure]:,.1f} {limit.unit}, at most {limit.most:g} was promised"
        for limit in limits
        if figures[limit.figure] > limit.most
    ]


def show(figures: Iterable[tuple[str, float]]) -> None:
    """Prints figures, a line each."""
    for name, value in figures:
        print(f"{name:<26}{value:>12,.2f}", flush=True)


def main() -> int:
    """The command line; returns 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--phase", choices=sorted(PHASES), help="one phase alone, in this process; prints JSON")
    parser.add_argument("--folder", type=Path, help="where the job is; kept. By default a temporary one")
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(PHASES[options.phase](Job(options.folder))))
        return 0
    figures: dict[str, Any] = {}
    folder = options.folder or Path(tempfile.mkdtemp(prefix="million-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for found in measure(folder, options.items):
            show(found.items())
            figures |= found
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    print("\n".join(missed(figures)) or "every promise is kept")
    return 1 if missed(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
