"""What may start now: per-host limits, retries with their time, a byte budget. No thread ever sleeps for a retry.

    sources --window--> host queues --> in flight --downloaded--> (transform) --heard--> gone, or back with a time

The download executor pulls (`__next__` waits until something may start); the pipeline tells what became of each item.
It ends when the list is exhausted *and* every outcome was heard, because a retry may come back until then.
"""

import heapq
import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from batchproc.errors import Code, Retry
from batchproc.model import Disposition, Failure, Fetch, Item, Original, Outcome, Source, Validators

WINDOW = 1000  # sources read ahead of their start
REFILL = 100
LONGEST_BACKOFF_SECONDS = 300.0
HOST_PAUSE_SECONDS = 30.0  # for a host that asks to wait and does not say how long
HOST_PAUSES = 5  # an item that met so many pauses is left for the next run
LONGEST_WAIT_SECONDS = 1.0  # no wait without a bound, though every change wakes it
FIRST_ESTIMATE_BYTES = 1_000_000  # of an original, before any has come
SIZES_REMEMBERED = 64
UNREACHED = ("dns", "connect", "tls", "timeout.")
UNREACHED_IN_A_ROW = 20  # then the host counts as down
STRUGGLING = frozenset({"rate", "http.429", "http.503"})
CLEAN_REPLIES = 50  # after so many the limit of a host grows by one
HOSTS_REMEMBERED = 10_000
HOSTS_TOLD = 20
NOTHING_KNOWN = Validators()


def full_jitter(attempt: int) -> float:
    """Seconds to wait after the failed attempt 1, 2, …: uniform(0, min(300, 2^n)), so that retries spread out."""
    return random.uniform(0.0, min(LONGEST_BACKOFF_SECONDS, 2.0 ** (attempt - 1)))


@dataclass(frozen=True, slots=True)
class Entry:
    """An item that waits for its start."""

    source: Source
    host: str
    attempt: int = 1
    pauses: int = 0  # times its host asked to wait; they burn no attempt


@dataclass(slots=True)
class Host:
    """What is known of one host. Its limit halves when it struggles and grows again while it answers."""

    limit: int
    waiting: deque[Entry] = field(default_factory=deque)
    in_flight: int = 0
    not_before: float = 0.0
    clean: int = 0  # good replies since the limit changed
    grace: int = 0  # outcomes still to come of what was under way when the limit was cut: they cut no second time
    unreached: int = 0  # in a row

    @property
    def is_down(self) -> bool:
        """Whether the breaker is open: what waits is left for the next run."""
        return self.unreached >= UNREACHED_IN_A_ROW

    def hear(self, outcome: Outcome, most: int) -> None:
        """Learns from one download's outcome; `most` is the limit of a healthy host."""
        code = outcome.code if isinstance(outcome, Failure) else ""
        if code.startswith(UNREACHED):
            self.unreached += 1
        elif not isinstance(outcome, Failure) or outcome.stage == "download":
            self.unreached = 0
        self.grace = max(0, self.grace - 1)
        if (code in STRUGGLING or code.startswith("timeout.")) and not self.grace:
            self.grace = self.in_flight
            self.limit, self.clean = max(1, self.limit // 2), 0
        elif not code:
            self.clean += 1
            if self.clean >= CLEAN_REPLIES and self.limit < most:
                self.limit, self.clean = self.limit + 1, 0

    @property
    def is_forgettable(self) -> bool:
        """Nothing is known of it that a fresh entry would not say as well."""
        return not (self.in_flight or self.waiting or self.not_before or self.unreached)


@dataclass(slots=True)
class Flight:
    """An item under way: from its start until its outcome is heard."""

    entry: Entry
    size_bytes: int  # 0: it was never sent out, its host is down
    downloading: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may start now; look again after so many seconds, or when something has changed."""

    seconds: float


class Refill:
    """Nothing in the window may start now: read on."""


class End:
    """Nothing will start any more."""


class Frontier:
    """Decides which item may start. Thread-safe.

    Shared and mutable, all under `_changed`: the hosts, the flights, the retry heap and the counts. The iterator of
    sources is read by the pulling thread alone, outside the lock.
    """

    def __init__(
        self,
        sources: Iterator[Source],
        *,
        per_host: int,
        retries: int,
        buffer_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[int], float] = full_jitter,
    ) -> None:
        self.retried = 0
        self.started_by_host: Counter[str] = Counter()  # of the first `HOSTS_REMEMBERED` hosts
        self.lowest_limit = per_host  # that any host was cut to
        self.retry_wait_seconds = 0.0  # nothing was in flight, and what was left had to wait for its retry
        self._sources = sources
        self._per_host = per_host
        self._retries = retries
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._backoff = backoff
        self._changed = threading.Condition()
        self._hosts: dict[str, Host] = {}
        self._ready: deque[str] = deque()  # hosts that may have something to start, in turn
        self._later: list[tuple[float, int, Entry]] = []
        self._sequence = itertools.count()
        self._flights: dict[bytes, Flight] = {}
        self._waiting = 0
        self._held_bytes = 0
        self._sizes: deque[int] = deque(maxlen=SIZES_REMEMBERED)
        self._estimate_bytes = FIRST_ESTIMATE_BYTES
        self._exhausted = False
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item[Fetch] | Failure:
        """Waits for the next item that may start; ends when nothing will. A host that is down yields failures."""
        while True:
            with self._changed:
                decision = self.decide(self._clock())
                if isinstance(decision, Wait):
                    self._wait(min(decision.seconds, LONGEST_WAIT_SECONDS))
                    continue
            if isinstance(decision, End):
                raise StopIteration
            if isinstance(decision, Refill):
                self._refill()
            else:
                return decision

    def __repr__(self) -> str:
        return (
            f"<Frontier waiting={self._waiting} later={len(self._later)} in_flight={len(self._flights)}"
            f" held_bytes={self._held_bytes} closed={self._closed}>"
        )

    @property
    def in_flight(self) -> int:
        """Items started whose outcome was not heard yet."""
        return len(self._flights)

    @property
    def waiting(self) -> int:
        """Items read ahead, and items that wait for their retry."""
        return self._waiting + len(self._later)

    @property
    def held_bytes(self) -> int:
        """Bytes of originals in memory, those that are still to come estimated."""
        return self._held_bytes

    def describe_hosts(self) -> dict[str, Any]:
        """Hosts by the number of starts, for run.json. `lowest_limit` is below `per_host` when one struggled."""
        top = self.started_by_host.most_common(HOSTS_TOLD)
        return {
            "count": len(self.started_by_host),
            "top": [{"host": host, "starts": starts} for host, starts in top],
            "per_host": self._per_host,
            "lowest_limit": self.lowest_limit,
        }

    def decide(self, now: float) -> Item[Fetch] | Failure | Wait | Refill | End:
        """What to do at `now`. Does no I/O and does not wait; the caller holds the lock."""
        if self._closed:
            return End()
        while self._later and self._later[0][0] <= now:
            self._enqueue(heapq.heappop(self._later)[2])
        if self._may_hold_more():
            entry = self._take(now)
            if entry is not None:
                return self._start(entry)
            if not self._exhausted and self._waiting < WINDOW:
                return Refill()
        if self._exhausted and not (self._waiting or self._later or self._flights):
            return End()
        return Wait(self._seconds_to_change(now))

    def downloaded(self, outcome: Outcome) -> Outcome:
        """Hears, between the stages, that a download has ended: frees its place at the host. Passes it on."""
        with self._changed:
            flight = self._flights[outcome.source.key]
            if flight.downloading and flight.size_bytes:
                host = self._hosts[flight.entry.host]
                host.hear(outcome, self._per_host)
                self.lowest_limit = min(self.lowest_limit, host.limit)
            self._land(flight)
            if isinstance(outcome, Item) and isinstance(outcome.value, Original):
                size_bytes = len(outcome.value.content)
                self._held_bytes += size_bytes - flight.size_bytes
                flight.size_bytes = size_bytes
                self._sizes.append(size_bytes)
                self._estimate_bytes = max(self._sizes)
            self._changed.notify()
        return outcome

    def heard(self, outcome: Outcome) -> Outcome | None:
        """Hears what became of an item: the final outcome, or None when it comes back, now or in a later run."""
        with self._changed:
            flight = self._flights.pop(outcome.source.key)
            self._land(flight)
            self._held_bytes -= flight.size_bytes
            self._changed.notify()
            if not isinstance(outcome, Failure):
                return outcome
            delay = self._delay(outcome, flight.entry)
            if delay is None:
                paused = outcome.retry is Retry.HOST
                disposition = Disposition.DEFERRED if paused else outcome.disposition
                return replace(outcome, attempts=flight.entry.attempt, disposition=disposition)
            if not self._closed:
                self._come_back(flight.entry, outcome.retry, delay)
            return None

    def close(self) -> None:
        """Starts nothing more: the iterator ends; what is in flight goes on. From any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self, seconds: float) -> None:
        """Waits for a change, and notes the time for which a retry was all there was to wait for."""
        only_retries = not self._flights
        started = self._clock()
        self._changed.wait(seconds)
        if only_retries:
            self.retry_wait_seconds += self._clock() - started

    def _refill(self) -> None:
        batch = list(itertools.islice(self._sources, REFILL))
        with self._changed:
            self._exhausted = len(batch) < REFILL
            for source in batch:
                self._enqueue(Entry(source, host_of(source.url)))

    def _enqueue(self, entry: Entry) -> None:
        host = self._hosts.setdefault(entry.host, Host(self._per_host))
        if not host.waiting:
            self._ready.append(entry.host)
        host.waiting.append(entry)
        self._waiting += 1

    def _take(self, now: float) -> Entry | None:
        """The next entry, host by host in turn; hosts that are full or paused keep their turn."""
        for _ in range(len(self._ready)):
            name = self._ready.popleft()
            host = self._hosts[name]
            may_start = host.is_down or (host.in_flight < host.limit and host.not_before <= now)
            entry = host.waiting.popleft() if may_start else None
            if host.waiting:
                self._ready.append(name)
            if entry is not None:
                host.in_flight += 1
                self._waiting -= 1
                return entry
        return None

    def _start(self, entry: Entry) -> Item[Fetch] | Failure:
        is_down = self._hosts[entry.host].is_down
        flight = Flight(entry, 0 if is_down else self._estimate_bytes)
        self._flights[entry.source.key] = flight
        self._held_bytes += flight.size_bytes
        if is_down:
            return _host_is_down(entry)
        if entry.host in self.started_by_host or len(self.started_by_host) < HOSTS_REMEMBERED:
            self.started_by_host[entry.host] += 1
        known = entry.source.refresh or NOTHING_KNOWN
        fetch = Fetch(attempt=entry.attempt, etag=known.etag, last_modified=known.last_modified)
        return Item(source=entry.source, value=fetch)

    def _land(self, flight: Flight) -> None:
        """Frees the item's place at its host, once, and forgets a host that has nothing more to remember."""
        if not flight.downloading:
            return
        flight.downloading = False
        name = flight.entry.host
        host = self._hosts[name]
        host.in_flight -= 1
        if host.is_forgettable or (len(self._hosts) > HOSTS_REMEMBERED and not host.in_flight and not host.waiting):
            del self._hosts[name]

    def _may_hold_more(self) -> bool:
        """Originals in memory are bounded by what has come and by the largest of the last for what is to come."""
        return not self._flights or self._held_bytes + self._estimate_bytes <= self._buffer_bytes

    def _delay(self, failure: Failure, entry: Entry) -> float | None:
        """Seconds until the item is tried again in this run; None when its failure is final for now."""
        if failure.retry is Retry.HOST:
            pause = HOST_PAUSE_SECONDS if failure.retry_after_seconds is None else failure.retry_after_seconds
            return pause if entry.pauses < HOST_PAUSES else None
        allowed = {Retry.BACKOFF: self._retries, Retry.ONCE: min(1, self._retries)}.get(failure.retry, 0)
        return self._backoff(entry.attempt) if entry.attempt <= allowed else None

    def _come_back(self, entry: Entry, retry: Retry, delay: float) -> None:
        self.retried += 1
        due = self._clock() + delay
        if retry is Retry.HOST:
            host = self._hosts.setdefault(entry.host, Host(self._per_host))
            host.not_before = max(host.not_before, due)
            self._enqueue(replace(entry, pauses=entry.pauses + 1))
        else:
            heapq.heappush(self._later, (due, next(self._sequence), replace(entry, attempt=entry.attempt + 1)))

    def _seconds_to_change(self, now: float) -> float:
        times = [self._later[0][0]] if self._later else []
        times += [due for name in self._ready if (due := self._hosts[name].not_before) > now]
        return max(0.0, min(times) - now) if times else LONGEST_WAIT_SECONDS


def _host_is_down(entry: Entry) -> Failure:
    return Failure(
        source=entry.source,
        stage="download",
        code=Code.CONNECT,
        message=f"not tried: {entry.host} was not reached {UNREACHED_IN_A_ROW} times in a row",
        hint="the next run tries again",
        retry=Retry.NEXT_RUN,
        disposition=Disposition.DEFERRED,
    )


def host_of(url: str) -> str:
    """The host and port of an absolute URL, as the unit of politeness."""
    return url.split("/", 3)[2].rpartition("@")[2].lower()
