"""A long list as Parquet and as CSV: `python -m tests.campaign.long_lists`; rows a second, and memory.

The same rows in both, as data-set makers have them: URL, caption, numbers. Each import is a process of its own into a
ledger of its own, in turn, so that its peak of memory is its own. Nothing is downloaded. 10 million rows need 6 GB.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow
from pyarrow import parquet

from batchproc.config import load
from batchproc.measure.processes import usable_cores
from batchproc.pipeline.import_list import take_in
from batchproc.pipeline.opening import make_transform, open_ledger
from batchproc.pipeline.types import RunOptions
from batchproc.sink import Layout
from batchproc.transform.plan import build_steps

LEAST_ROWS_PER_SECOND = 60_000
MOST_MB = 300
BATCH_ROWS = 50_000
CONFIG = """
[job]
name = "long"
input = "{list}"
output = "out-{kind}"
[report]
html = false
"""


def make_rows(number: int) -> Iterator[list[dict[str, Any]]]:
    """The rows, in batches."""
    for start in range(0, number, BATCH_ROWS):
        yield [
            {
                "url": f"https://host{row % 30_011}.example.org/pictures/{row % 997}/{row:09d}.jpg",
                "caption": f"a picture of thing number {row}, taken from the side",
                "width": 640 + row % 1000,
                "similarity": (row % 1000) / 1000,
            }
            for row in range(start, min(start + BATCH_ROWS, number))
        ]


def make_lists(folder: Path, number: int) -> None:
    """Writes both lists."""
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["url", "caption", "width", "similarity"])
        writer = None
        for rows in make_rows(number):
            batch = pyarrow.Table.from_pylist(rows)
            writer = writer or parquet.ParquetWriter(folder / "list.parquet", batch.schema)
            writer.write_table(batch)
            table.writerows(row.values() for row in rows)
        if writer is not None:
            writer.close()


def import_list(config_path: Path) -> Mapping[str, float]:
    """What this process needs to bring a new ledger up to the list."""
    config = load(config_path, environ={}, cores=usable_cores())
    steps = build_steps(config.transform.steps)
    layout = Layout(output=config.paths.output)
    layout.prepare()
    with open_ledger(config, layout) as ledger:
        wall, cpu = time.perf_counter(), time.process_time()
        found = take_in(config, RunOptions(), make_transform(config, steps), ledger, "")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"rows": found.items, "wall": found.items / wall, "cpu": found.items / cpu, "peak_mb": peak}


def run_import(folder: Path, kind: str) -> Mapping[str, float]:
    """The same in a process of its own."""
    config = folder / f"{kind}.toml"
    config.write_text(CONFIG.format(list=f"list.{kind}", kind=kind))
    command = [sys.executable, "-m", "tests.campaign.long_lists", "--import-only", str(config)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: Mapping[str, float] = json.loads(done.stdout)
    for path in (folder / f"out-{kind}").glob("batchproc.db*"):
        path.unlink()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--import-only", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.import_only:
        print(json.dumps(import_list(asked.import_only)))
        return 0
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="long-lists-") as name:
        make_lists(Path(name), asked.rows)
        found: dict[str, list[Mapping[str, float]]] = {"csv": [], "parquet": []}
        for _ in range(asked.rounds):
            for kind, figures in found.items():
                figures.append(run_import(Path(name), kind))
                print(kind, *(f"{key} {value:,.0f}" for key, value in figures[-1].items()), flush=True)
    rates = {kind: median(one["cpu"] for one in figures) for kind, figures in found.items()}
    peak = max(one["peak_mb"] for one in found["parquet"])
    print(f"parquet against csv, by CPU: {rates['parquet'] / rates['csv']:.2f}; peak {peak:,.0f} MB")
    is_kept = rates["parquet"] >= max(LEAST_ROWS_PER_SECOND, rates["csv"]) and peak <= MOST_MB
    print("kept" if is_kept else "NOT kept: as fast as CSV, 60,000 rows/s of CPU time, 300 MB")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
