"""What the frontier decides, and what it keeps of an item under way."""

from dataclasses import dataclass

from batchproc.frontier.host import Entry


@dataclass(slots=True)
class Flight:
    """An item under way: from its start until its outcome is heard."""

    entry: Entry
    size_bytes: int  # 0: it was never sent out, its host is away
    started: float
    downloading: bool = True
    is_hosts: bool = False  # it failed by its host's trouble


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may start now; look again after so many seconds, or when something has changed."""

    seconds: float


class Refill:
    """Nothing in the window may start now: read on."""


class End:
    """Nothing will start any more."""
