"""How many connections a server has: the kernel's table, looked at again and again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.005
TABLE = Path("/proc/net/tcp")
ESTABLISHED = "01"


@dataclass
class Seen:
    """What was seen at a port."""

    most: int = 0  # connections at once


def connections(port: int) -> int:
    """Established connections whose near end is `port` of 127.0.0.1: accepted, or waiting for it.

    The table is not read at one instant: where connections come and go, some may be counted that never met.
    """
    near = f"0100007F:{port:04X}"
    rows = (line.split(maxsplit=4) for line in TABLE.read_text().splitlines()[1:])
    return len({row[2] for row in rows if row[1] == near and row[3] == ESTABLISHED})  # a row may be read twice


@contextmanager
def watched(port: int) -> Iterator[Seen]:
    """Notes the most connections at once while the block runs."""
    seen, ended = Seen(), threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            seen.most = max(seen.most, connections(port))

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
