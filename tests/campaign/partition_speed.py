"""How fast a list is shared out, and with how much memory and disk: `python -m tests.campaign.partition_speed`.

    --urls N      lines of the list, 2,000,000
    --domains N   registrable domains, 200,000; their sizes follow Zipf's law
    --folder DIR  where list and plan are made, a temporary folder

The list is made first, in CSV with two columns. The plan is made by a process of its own, whose time and largest memory
are printed, with what reading the list alone costs.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from batchproc.cluster.partition import make_plan
from batchproc.pipeline.import_list import JobList
from batchproc.sources import ListFormat

SHARD_URLS = 5_000
HOSTS = ("www", "img", "cdn")


def lines(urls: int, domains: int) -> Iterator[str]:
    """The same list for the same numbers."""
    chance = random.Random(urls)
    weights = list(accumulate(1 / rank for rank in range(1, domains + 1)))
    yield "url,caption\n"
    for number in range(urls):
        (domain,) = chance.choices(range(domains), cum_weights=weights)
        host = f"{HOSTS[number % 3]}.site-{domain}.co.uk"
        yield f'https://{host}/pictures/{number:010d}.jpg,"picture {number}, large"\n'


def measure(path: str, folder: str) -> None:
    """Reads a list, then shares it out, and prints what that took."""
    job_list = JobList(paths=(path,), format=ListFormat(), duplicates="first")
    began = time.perf_counter()
    count = sum(1 for _ in job_list.items())
    read = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    plan = make_plan(job_list, Path(folder), shard_urls=SHARD_URLS)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    largest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count:,} URLs, {len(plan.shards):,} parts: {seconds:.1f} s ({cpu:.1f} s CPU, {cpu / count * 1e6:.1f} µs per "
        f"URL), of which reading takes {read:.1f} s; {largest_mb:.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--urls", type=int, default=2_000_000)
    parser.add_argument("--domains", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchproc-partition-", dir=chosen.folder) as folder:
        path = Path(folder, "list.csv")
        with path.open("w") as file:
            file.writelines(lines(chosen.urls, chosen.domains))
        code = f"from tests.campaign.partition_speed import measure; measure({str(path)!r}, {folder + '/plan'!r})"
        subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
