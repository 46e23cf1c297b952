"""All hosts with something to do, in turn: one item of each, so that none waits behind a long list of another.

A host stands in the queue of turns while its next item may start, in the heap of times while it has to wait for one,
and in neither while it waits for something in flight to end. So the cost of a decision does not grow with the hosts.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter

from msgspec import Struct

from batchproc.frontier.host import FIRST_PAUSE_SECONDS, NEVER, Aside, Away, Entry, Host, Limits, Pace
from batchproc.model import Outcome
from batchproc.record.run_json import HostsRecord
from batchproc.record.run_parts import HostStarts, TroubledHost

HOSTS_REMEMBERED = 10_000
HOSTS_TOLD = 20
IN_MEMORY = 200  # entries of one host; further ones are put aside
RECALL_BELOW = 50
RECALLED = 150


class Recall(Struct, frozen=True):
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
        self._turns: deque[Host] = deque()
        self._times: list[tuple[float, int, Host]] = []  # a heap
        self._sequence = itertools.count()
        self.wanting: deque[Host] = deque()  # hosts of which too few entries are left in memory
        self._started: dict[str, int] = {}  # of the first `HOSTS_REMEMBERED` hosts
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
        host = self._by_name.get(entry.host) or self._meet(entry.host)
        host.append(entry)
        self.waiting += 1
        if entry.moved is not None:
            self.moved += 1
        self._offer(host)

    def take(self, now: float, *, only_moved: bool = False) -> Entry | None:
        """The next entry, host by host in turn; `only_moved`: of hosts that others have redirected to."""
        while self._times and self._times[0][0] <= now:
            self._turns.append(heapq.heappop(self._times)[2])
        turns = self._turns
        entry, passed = None, []
        while turns and entry is None:
            host = turns.popleft()
            if only_moved and not host.moved:
                passed.append(host)
            else:
                entry = self._take_from(host, now)
        if passed:
            turns.extendleft(reversed(passed))
        return entry

    def _take_from(self, host: Host, now: float) -> Entry | None:
        """The next entry of a host whose turn it is; None where there is none, or none may start yet."""
        host.is_queued = False
        if not (host.fresh or host.again or host.moved):  # it was given up while its time had not come
            return None
        if host.in_flight >= host.limit or host.pace is not None or host.away is not None:
            start = host.next_start()
            if start > now:
                self._postpone(host, start)
                return None
        entry = host.take()
        host.in_flight += 1
        self.waiting -= 1
        if entry.moved is not None:
            self.moved -= 1
        if host.aside and len(host.fresh) in (0, RECALL_BELOW):
            self.wanting.append(host)
        if host.fresh or host.again or host.moved:
            self._offer(host)
        return entry

    def recall(self) -> Recall | None:
        """The positions of entries that should be in memory by now."""
        while self.wanting:
            host = self.wanting.popleft()
            if host.aside:
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
        host = self._by_name[name]
        if not host.since:
            host.since = now
        if host.pace is not None:
            host.pace.start(now)
        starts = self._started.get(name, 0)
        if starts or len(self._started) < HOSTS_REMEMBERED:
            self._started[name] = starts + 1

    def on_outcome(self, entry: Entry, outcome: Outcome, now: float) -> bool:
        """A download of a host has ended. Returns whether a failure is the host's trouble, not the item's."""
        host = self._by_name[entry.host]
        refused, was_away = host.refused, host.away
        is_hosts = host.on_outcome(outcome, entry, now, self._limits)
        if host.away is not was_away:  # nothing of it has to wait for its time any more
            host.is_queued = False
        if host.limit < self.lowest_limit and host.limit < host.most:
            self.lowest_limit = host.limit
        if host.refused > refused and (host.name in self._troubled or len(self._troubled) < HOSTS_TOLD):
            self._troubled[host.name] = host.describe()
        self.land(host)
        return is_hosts

    def leave_alone(self, name: str, until: float, now: float) -> None:
        """Remembers a pause that the host asked for in an earlier run."""
        host = self._by_name.get(name) or self._meet(name)
        host.pace = Pace(since=now, accepted=0, not_before=until, asked_until=until, pauses=1)
        if until - now > self._limits.longest_pause_seconds:
            host.leave("rate", f"it asked an earlier run to come back in {until - now:.0f} s at the earliest")

    def not_sent(self, name: str) -> None:
        """An entry that was taken is not sent out."""
        self.land(self._by_name[name])

    def land(self, host: Host) -> None:
        """Frees a place at the host, and forgets a host that has nothing more to remember."""
        host.in_flight -= 1
        if host.fresh or host.again or host.moved:
            self._offer(host)
        elif not host.is_busy and (host.is_forgettable or len(self._by_name) > HOSTS_REMEMBERED):
            del self._by_name[host.name]

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
        for start, _, host in self._times:
            if found >= most:
                break
            found += host.waiting if start > now else 0
        return found

    def describe(self) -> HostsRecord:
        """Hosts by the number of starts."""
        top = heapq.nlargest(HOSTS_TOLD, self._started.items(), key=itemgetter(1))
        return HostsRecord(
            count=len(self._started),
            top=tuple(HostStarts(host=host, starts=starts) for host, starts in top),
            per_host=self._limits.usual.per_host,
            lowest_limit=self.lowest_limit,
            troubled=tuple(self._troubled.values()),
        )

    def _meet(self, name: str) -> Host:
        limit = self._limits.of(name) if self._limits.by_pattern else self._limits.usual
        host = self._by_name[name] = Host(name, limit.per_host)
        if limit.requests_per_second is not None:
            host.pace = Pace.at_most(limit.requests_per_second)
        return host

    def _offer(self, host: Host) -> None:
        """Gives a host with entries its turn, unless it waits for one already."""
        if not host.is_queued:
            host.is_queued = True
            self._turns.append(host)

    def _postpone(self, host: Host, start: float) -> None:
        """Lets a host wait for its time; without one, until something of it has landed."""
        if start != NEVER:
            host.is_queued = True
            heapq.heappush(self._times, (start, next(self._sequence), host))
