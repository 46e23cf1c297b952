"""How many items a second the frontier alone hands out, by its own CPU time: `python -m tests.campaign.frontier_speed`.

Arguments: the number of items (1,000,000) and of hosts (100,000), in turn. Each item is started, downloaded and done;
what the making of the list costs is taken off. Prints one line, with the calls per item and the largest memory.
"""

import resource
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

from batchproc.frontier import Frontier
from batchproc.model import Outcome, Source

PER_HOST = 8
WORKERS = 64
COUNTED = 20_000  # items, for the calls


def make_source(index: int, hosts: int) -> Source:
    """An item of a list that goes round all hosts."""
    url = f"http://h{index % hosts}.example.org/{index}"
    return Source(index=index, line=index + 1, url=url, key=index.to_bytes(16, "big"))


def hand_out(items: int, hosts: int) -> int:
    """Takes all items through a frontier, `WORKERS` at once; returns how many it gave."""

    def reread(indexes: Sequence[int]) -> Sequence[Source]:
        return [make_source(index, hosts) for index in indexes]

    sources: Iterator[Source] = (make_source(index, hosts) for index in range(items))
    frontier = Frontier(sources, per_host=PER_HOST, retries=3, buffer_bytes=10**9, reread=reread)
    started: deque[Outcome] = deque()
    given = 0
    at_once = min(WORKERS, hosts * PER_HOST)
    while given < items:
        if given + len(started) < items and len(started) < at_once:
            started.append(next(frontier))
            continue
        outcome = started.popleft()
        frontier.downloaded(outcome)
        frontier.on_outcome(outcome)
        given += 1
    assert next(frontier, None) is None
    return given


def calls_per_item(items: int, hosts: int) -> float:
    """Calls of functions in Python and C, those of the list's making among them."""
    events = count()
    sys.setprofile(lambda *_: next(events))
    try:
        hand_out(items, hosts)
    finally:
        sys.setprofile(None)
    return next(events) / 2 / items


def cpu_seconds(items: int, hosts: int) -> float:
    """Of handing out, without the making of the list."""
    started = time.process_time()
    for index in range(items):
        make_source(index, hosts)
    made = time.process_time()
    hand_out(items, hosts)
    return time.process_time() - made - (made - started)


def main() -> None:
    items, hosts = (int(argument) for argument in (*sys.argv[1:], "1000000", "100000")[:2])
    rate = items / cpu_seconds(items, hosts)
    largest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    calls = calls_per_item(COUNTED, hosts)
    print(f"{items:,} items, {hosts:,} hosts: {rate:,.0f} items/s, {calls:.0f} calls per item, {largest_mb:.0f} MB")


if __name__ == "__main__":
    main()
