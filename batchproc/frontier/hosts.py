"""All hosts with something to do, in turn: one item of each, so that none waits behind a long list of another.

A host stands in the queue of turns while its next item may start, in the heap of times while it has to wait for one,
and in neither while it waits for something in flight to end. So the cost of a decision does not grow with the hosts.
"""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchproc.frontier.host import Aside, Away, Entry, Host, Limits
from batchproc.frontier.pace import FIRST_PAUSE_SECONDS, NEVER, Pace
from batchproc.model import Outcome
from batchproc.record.run import HostsRecord
from batchproc.record.stage import HostStarts, TroubledHost

HOSTS_REMEMBERED = 10_000
HOSTS_TOLD = 20
IN_MEMORY = 200  # entries of one host; further ones are put aside
RECALL_BELOW = 50
RECALLED = 150


@dataclass(frozen=True, slots=True)
class Recall:
    """Positions of sources that were put aside and are wanted now."""

    indexes: Sequence[int]


class Hosts:
    """The hosts by name. Not thread-safe: used under the frontier's condition.

    `may_put_aside`: sources can be read again by their positions, so that those of a host with many need no memory.
    """

    def __init__(self, limits: Limits, *, may_put_aside: bool = False) -> None:
        self.waiting = 0  # entries in memory that wait at all hosts
        self.aside = 0
        self.moved = 0  # of `waiting`: redirects led them to their host
        self.lowest_limit = limits.usual.per_host  # that any host was cut to
        self._limits = limits
        self._may_put_aside = may_put_aside
        self._by_name: dict[str, Host] = {}
        self._turns: deque[str] = deque()
        self._times: list[tuple[float, int, str]] = []  # a heap
        self._sequence = itertools.count()
        self._wanting: deque[str] = deque()  # hosts of which too few entries are left in memory
        self._started: Counter[str] = Counter()  # of the first `HOSTS_REMEMBERED` hosts
        self._troubled: dict[str, TroubledHost] = {}  # of the first `HOSTS_TOLD` that refused

    @property
    def is_full(self) -> bool:
        """Whether so many hosts are known that no more of the list should be read for the sake of others."""
        return len(self._by_name) >= HOSTS_REMEMBERED

    def enqueue(self, entry: Entry) -> None:
        """Puts an entry behind the others of its host."""
        host = self._by_name.get(entry.host)
        if host is None or not (host.aside or (self._may_put_aside and len(host.fresh) >= IN_MEMORY)):
            self.append(entry)
            return
        if host.aside is None:
            host.aside = Aside()
        host.aside.append(entry.source.index)
        self.aside += 1

    def append(self, entry: Entry) -> None:
        """Puts an entry that was tried, or put aside, behind those of its host that are in memory."""
        host = self._host(entry.host)
        host.append(entry)
        self.waiting += 1
        self.moved += entry.moved is not None
        self._offer(entry.host, host)

    def take(self, now: float, *, only_moved: bool = False) -> Entry | None:
        """The next entry, host by host in turn; `only_moved`: of hosts that others have redirected to."""
        self._await_times(now)
        passed: list[str] = []
        try:
            return self._take(now, passed, only_moved=only_moved)
        finally:
            self._turns.extendleft(reversed(passed))

    def _take(self, now: float, passed: list[str], *, only_moved: bool) -> Entry | None:
        while self._turns:
            name = self._turns.popleft()
            host = self._by_name.get(name)
            if host is None:  # it was given up and forgotten while its time had not come
                continue
            if only_moved and not host.moved:
                passed.append(name)
                continue
            host.is_queued = False
            start = host.next_start()
            if start > now or not host.is_waiting:
                self._postpone(name, host, start)
                continue
            entry = host.take()
            host.in_flight += 1
            self.waiting -= 1
            self.moved -= entry.moved is not None
            if host.aside and len(host.fresh) in (0, RECALL_BELOW):
                self._wanting.append(name)
            if host.is_waiting:
                self._offer(name, host)
            return entry
        return None

    def recall(self) -> Recall | None:
        """The positions of entries that should be in memory by now."""
        while self._wanting:
            host = self._by_name.get(self._wanting.popleft())
            if host is not None and host.aside:
                indexes = host.aside.take(RECALLED)
                self.aside -= len(indexes)
                return Recall(indexes)
        return None

    def comes_back_at(self, name: str, now: float) -> float:
        """When an item that was refused by this host may be tried again: others first, and not within a pause."""
        host = self._by_name.get(name)
        pace = host.pace if host is not None else None
        return max(now + FIRST_PAUSE_SECONDS, pace.not_before if pace is not None else 0.0)

    def away(self, name: str) -> Away | None:
        """Why a host is left for the next run; None where it is not."""
        return self._by_name[name].away

    def is_away(self, name: str) -> bool:
        """Whether a host, which may be forgotten by now, is left for the next run."""
        host = self._by_name.get(name)
        return host is not None and host.away is not None

    def start(self, name: str, now: float) -> None:
        """A download of this host begins."""
        self._by_name[name].start(now)
        if name in self._started or len(self._started) < HOSTS_REMEMBERED:
            self._started[name] += 1

    def hear(self, entry: Entry, outcome: Outcome, started: float, now: float) -> bool:
        """A download of a host has ended. Returns whether a failure is the host's trouble, not the item's."""
        name = entry.host
        host = self._by_name[name]
        refused = host.refused
        was_away = host.away
        is_hosts = host.hear(outcome, entry, started, now, self._limits)
        if host.away is not was_away:  # nothing of it has to wait for its time any more
            host.is_queued = False
            self._offer(name, host)
        if host.limit < host.most:
            self.lowest_limit = min(self.lowest_limit, host.limit)
        if host.refused > refused:
            self._note(name, host)
        return is_hosts

    def leave_alone(self, name: str, until: float, now: float) -> None:
        """Remembers a pause that the host asked for in an earlier run."""
        host = self._host(name)
        host.pace = Pace(since=now, accepted=0, not_before=until, asked_until=until, pauses=1)
        if until - now > self._limits.longest_pause_seconds:
            host.leave("rate", f"it asked an earlier run to come back in {until - now:.0f} s at the earliest")

    def land(self, name: str) -> None:
        """Frees a place at the host, and forgets a host that has nothing more to remember."""
        host = self._by_name[name]
        host.in_flight -= 1
        too_many = len(self._by_name) > HOSTS_REMEMBERED
        if host.is_forgettable or (too_many and not host.is_busy):
            del self._by_name[name]
        elif host.is_waiting:
            self._offer(name, host)

    def next_time(self) -> float | None:
        """When a host that waits for its time may be asked next; None where none does."""
        return self._times[0][0] if self._times else None

    def pauses(self, now: float) -> Mapping[str, float]:
        """Seconds for which hosts asked to be left alone from `now` on."""
        return {
            name: host.pace.asked_until - now
            for name, host in self._by_name.items()
            if host.pace is not None and host.pace.asked_until > now
        }

    def count_held(self, now: float, most: int) -> int:
        """How many entries in memory wait for their host's time, its pause or its pace; counts up to about `most`."""
        found = 0
        for start, _, name in self._times:
            if found >= most:
                break
            host = self._by_name.get(name)
            found += host.waiting if host is not None and start > now else 0
        return found

    def describe(self) -> HostsRecord:
        """Hosts by the number of starts."""
        top = self._started.most_common(HOSTS_TOLD)
        return HostsRecord(
            count=len(self._started),
            top=tuple(HostStarts(host=host, starts=starts) for host, starts in top),
            per_host=self._limits.usual.per_host,
            lowest_limit=self.lowest_limit,
            troubled=tuple(self._troubled.values()),
        )

    def _host(self, name: str) -> Host:
        host = self._by_name.get(name)
        if host is None:
            limit = self._limits.of(name) if self._limits.by_pattern else self._limits.usual
            host = self._by_name[name] = Host(limit.per_host, limit.per_host)
            if limit.requests_per_second is not None:
                host.pace = Pace.at_most(limit.requests_per_second)
        return host

    def _offer(self, name: str, host: Host) -> None:
        """Gives a host its turn, unless it waits for one already."""
        if not host.is_queued and host.is_waiting:
            host.is_queued = True
            self._turns.append(name)

    def _postpone(self, name: str, host: Host, start: float) -> None:
        """Lets a host wait for its time; without one, until something of it has landed."""
        if start != NEVER and host.is_waiting:
            host.is_queued = True
            heapq.heappush(self._times, (start, next(self._sequence), name))

    def _await_times(self, now: float) -> None:
        while self._times and self._times[0][0] <= now:
            name = heapq.heappop(self._times)[2]
            self._turns.append(name)

    def _note(self, name: str, host: Host) -> None:
        if name in self._troubled or len(self._troubled) < HOSTS_TOLD:
            self._troubled[name] = host.describe(name)
