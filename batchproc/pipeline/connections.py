"""What became of a stage's connections, in all and by host: summed up from its spans, in bounded memory."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchproc.record.stage import ConnectionTotals

WHAT = ("opened", "reused", "dropped")  # dropped: closed before the end, by whichever side
HOSTS_REMEMBERED = 10_000  # the first ones; all others are in the totals only
HOSTS_TOLD = 20


class Connections:
    """Counts `opened HOST`, `reused HOST` and `dropped HOST`. Used by the main thread alone."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._hosts: dict[str, Counter[str]] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """What one span counted."""
        for words, number in counts.items():
            what, _, host = words.partition(" ")
            self._totals[what] += number
            if host in self._hosts or len(self._hosts) < HOSTS_REMEMBERED:
                self._hosts.setdefault(host, Counter())[what] += number

    def describe(self) -> "ConnectionTotals | None":
        """The totals, and the hosts that were asked most. None when nothing was counted."""
        if not self._totals:
            return None
        requests = {host: counts["opened"] + counts["reused"] for host, counts in self._hosts.items()}
        top = sorted(requests, key=lambda host: (-requests[host], host))[:HOSTS_TOLD]
        from batchproc.record.stage import ConnectionTotals, HostConnections

        hosts = tuple(HostConnections(host=host, **_numbers(self._hosts[host])) for host in top)
        return ConnectionTotals(**_numbers(self._totals), hosts=hosts)


def _numbers(counts: Counter[str]) -> dict[str, int]:
    return {what: counts[what] for what in WHAT}
