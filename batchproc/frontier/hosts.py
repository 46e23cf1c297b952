"""All hosts with something to do, in turn: one item of each, so that none waits behind a long list of another."""

from collections import Counter, deque
from typing import Any

from batchproc.frontier.host import Entry, Host
from batchproc.model import Outcome

HOSTS_REMEMBERED = 10_000
HOSTS_TOLD = 20


class Hosts:
    """The hosts by name. Not thread-safe: used under the frontier's condition."""

    def __init__(self, per_host: int) -> None:
        self.waiting = 0  # entries in the queues of all hosts
        self.lowest_limit = per_host  # that any host was cut to
        self._per_host = per_host
        self._by_name: dict[str, Host] = {}
        self._turns: deque[str] = deque()  # hosts with something to start
        self._started: Counter[str] = Counter()  # of the first `HOSTS_REMEMBERED` hosts

    def enqueue(self, entry: Entry) -> None:
        """Puts an entry behind the others of its host."""
        host = self._by_name.setdefault(entry.host, Host(self._per_host))
        if not host.waiting:
            self._turns.append(entry.host)
        host.waiting.append(entry)
        self.waiting += 1

    def take(self, now: float) -> Entry | None:
        """The next entry, host by host in turn; hosts that are full or paused keep their turn."""
        for _ in range(len(self._turns)):
            name = self._turns.popleft()
            host = self._by_name[name]
            entry = host.waiting.popleft() if host.may_start(now) else None
            if host.waiting:
                self._turns.append(name)
            if entry is not None:
                host.in_flight += 1
                self.waiting -= 1
                return entry
        return None

    def is_down(self, name: str) -> bool:
        """Whether the breaker of a host is open."""
        return self._by_name[name].is_down

    def count_start(self, name: str) -> None:
        """A download of this host begins."""
        if name in self._started or len(self._started) < HOSTS_REMEMBERED:
            self._started[name] += 1

    def hear(self, name: str, outcome: Outcome) -> None:
        """A download of this host has ended."""
        host = self._by_name[name]
        host.hear(outcome, self._per_host)
        self.lowest_limit = min(self.lowest_limit, host.limit)

    def pause(self, name: str, until: float) -> None:
        """Starts nothing at this host before `until`."""
        host = self._by_name.setdefault(name, Host(self._per_host))
        host.not_before = max(host.not_before, until)

    def land(self, name: str) -> None:
        """Frees a place at the host, and forgets a host that has nothing more to remember."""
        host = self._by_name[name]
        host.in_flight -= 1
        too_many = len(self._by_name) > HOSTS_REMEMBERED
        if host.is_forgettable or (too_many and not host.in_flight and not host.waiting):
            del self._by_name[name]

    def ends_of_pauses(self, now: float) -> list[float]:
        """The times at which hosts with something to start may be asked again."""
        return [due for name in self._turns if (due := self._by_name[name].not_before) > now]

    def describe(self) -> dict[str, Any]:
        """Hosts by the number of starts, for run.json. `lowest_limit` is below `per_host` when one struggled."""
        top = self._started.most_common(HOSTS_TOLD)
        return {
            "count": len(self._started),
            "top": [{"host": host, "starts": starts} for host, starts in top],
            "per_host": self._per_host,
            "lowest_limit": self.lowest_limit,
        }
