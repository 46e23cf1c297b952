"""Decides what may start, and notes what became of it.

    sources --window--> host queues --> in flight --downloaded--> (transform) --on_outcome--> gone, or back with a time

The download executor pulls (`__next__` waits until something may start); the pipeline tells what became of each item.
It ends when the list is exhausted *and* every outcome is known, because a retry may come back until then.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

from msgspec.structs import replace

from batchproc.defaults import MAX_RETRY_AFTER_SECONDS
from batchproc.frontier.concurrency import Concurrency
from batchproc.frontier.host import NEVER, REFUSALS_PER_ITEM, Entry, HostLimit, Limits, effect_of, host_of, not_tried
from batchproc.frontier.hosts import Hosts, Recall
from batchproc.frontier.waiting import (
    MISHAPS_PER_ITEM,
    End,
    Machine,
    Memory,
    Refill,
    Retries,
    Wait,
    Waits,
    find_not_due,
    full_jitter,
)
from batchproc.kinds import Code, Effect, kind_of
from batchproc.model import Disposition, Failure, Fetch, Item, Moved, Outcome, Source, SourceImage, Span, Validators
from batchproc.record.run_json import HostsRecord

WINDOW = 1000  # sources read ahead of their start and kept in memory
REFILL = 100
LOOK_AHEAD = 500  # beyond the window, for items of hosts that may be asked now: so many at once
LOOK_AHEAD_SECONDS = 0.02  # and not more often, so that a long list of one host costs no start
LONGEST_WAIT_SECONDS = 1.0  # no wait without a bound, though every change wakes it
STRAGGLERS_SHARE = 8  # of the workers, one in so many: a silent server has no more of them while all else is done
STRAGGLER_SECONDS = 0.25  # a download takes as long as that without being one
NOTHING_KNOWN = Validators()
FIRST_FETCH = Fetch()  # of nearly all items
NO_TIME = (None, None)


class Frontier:
    """Decides which item may start. Thread-safe.

    `reread` gives sources again by their `index`; with it, a host with many items keeps no others waiting: the list is
    read on, and the positions of what cannot start yet are put aside. `host_limits` are by pattern, see `hostname`.

    Shared and mutable, all under `_lock`: the hosts, what is in flight, the retries, the memory, the concurrency and
    the counts. The iterator of sources is read by the pulling thread alone, outside the lock.
    """

    def __init__(
        self,
        sources: Iterator[Source],
        *,
        per_host: int,
        retries: int,
        buffer_bytes: int,
        host_limits: Mapping[str, HostLimit] | None = None,
        longest_pause_seconds: float = MAX_RETRY_AFTER_SECONDS,
        reread: Callable[[Sequence[int]], Sequence[Source]] | None = None,
        concurrency: Concurrency | None = None,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[int], float] = full_jitter,
    ) -> None:
        self.retried = 0
        self.admitted = 0  # downloads begun, less those that go on at another host
        self.waits = Waits()
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_waited_for = False  # a notification costs more than the question whether anybody waits
        limits = Limits(
            usual=HostLimit(per_host=per_host),
            by_pattern=host_limits or {},
            longest_pause_seconds=longest_pause_seconds,
        )
        self._reread = reread
        self._hosts = Hosts(limits, may_put_aside=reread is not None)
        self._look_ahead_at = 0.0
        self._later = Retries(retries, backoff)
        self._memory = Memory(buffer_bytes)
        self._machine = Machine(longest_pause_seconds)
        self._concurrency = concurrency  # None: as many as the download executor pulls
        self._downloading = 0
        self._workers = 0  # of the download stage, once it is known
        self._in_flight: dict[bytes, Entry] = {}
        self._exhausted = False
        self._closed = False
        self._paused = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item[Fetch] | Failure:
        """Waits for the next item that may start; ends when nothing will. A host that is away yields failures."""
        while True:
            with self._lock:
                decision = self.decide(self._clock())
                if isinstance(decision, Wait):
                    self._wait(min(decision.seconds, LONGEST_WAIT_SECONDS))
            if isinstance(decision, (Item, Failure)):
                return decision
            if isinstance(decision, End):
                raise StopIteration
            if isinstance(decision, Refill):
                self._refill()
            elif isinstance(decision, Recall):
                self._recall(decision)

    def __repr__(self) -> str:
        return (
            f"<Frontier waiting={self._hosts.waiting} later={len(self._later)} in_flight={len(self._in_flight)}"
            f" held_bytes={self.held_bytes} closed={self._closed}>"
        )

    @property
    def in_flight(self) -> int:
        """Items started whose outcome is not known yet."""
        return len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Items read ahead of their start. Those that wait for a retry are not among them."""
        return self._hosts.waiting + self._hosts.aside

    @property
    def held_bytes(self) -> int:
        """Bytes of originals in memory, those that are still to come estimated."""
        return self._memory.held_bytes

    def describe_hosts(self) -> HostsRecord:
        """Hosts by the number of starts, and this machine's own trouble."""
        return replace(self._hosts.describe(), local_trouble=self._machine.describe())

    def describe_trouble(self) -> str:
        """A sentence about this machine's own trouble; empty when it had none."""
        return str(self._machine)

    def leave_alone(self, pauses: Mapping[str, float]) -> None:
        """Takes over the pauses that hosts asked an earlier run for, in seconds from now. Before the first item."""
        now = self._clock()
        for host, seconds in pauses.items():
            self._hosts.leave_alone(host, now + seconds, now)

    def pauses(self) -> Mapping[str, float]:
        """The pauses that hosts have asked for, in seconds from now, for the next run."""
        with self._lock:
            return self._hosts.pauses(self._clock())

    def decide(self, now: float) -> Item[Fetch] | Failure | Wait | Refill | Recall | End:
        """What to do at `now`. Does no I/O and does not wait; the caller holds the lock."""
        if self._closed or self._paused:
            return End()
        if self._later.next_due <= now:
            for entry in self._later.pop_due(now):
                self._hosts.append(entry)
        if self._hosts.wanting and (recall := self._hosts.recall()) is not None:
            return recall
        if self._may_start(now):
            taken = self._hosts.take(now, only_moved=self._hosts.moved >= WINDOW)
            if taken is not None:
                return self._start(taken, now)
            if self._reads_on(now):
                return Refill()
        if self._exhausted and not (self._hosts.waiting or self._later or self._in_flight):
            return End()
        return Wait(self._seconds_to_change(now))

    def downloaded(self, outcome: Outcome) -> Outcome | None:
        """Notes, between the stages, that a download has ended: frees its place at the host.

        Passes the outcome on; None when it was redirected to another host, and goes on when that one has room.
        """
        with self._lock:
            entry = self._in_flight[outcome.source.key]
            if entry.is_downloading:
                outcome = self._land(entry, outcome)
            if isinstance(outcome, Item):
                value = outcome.value
                if isinstance(value, SourceImage):
                    size_bytes = len(value.content)
                    self._memory.held_bytes += size_bytes - entry.size_bytes
                    self._memory.learn(size_bytes)
                    entry.size_bytes = size_bytes
                elif isinstance(value, Moved):
                    self._move(entry, value, outcome.spans)
                    return None
            if self._is_waited_for:
                self._changed.notify()
        return outcome

    def on_outcome(self, outcome: Outcome) -> Outcome | None:
        """Notes what became of an item: the final outcome, or None when it comes back, now or in a later run."""
        with self._lock:
            entry = self._in_flight.pop(outcome.source.key)
            if entry.is_downloading:
                self._free(entry)
                self._hosts.not_sent(entry.host)
            self._memory.held_bytes -= entry.size_bytes
            if self._is_waited_for:
                self._changed.notify()
            if not isinstance(outcome, Failure):
                return outcome
            if self._comes_back(outcome, entry):
                return None
            left = entry.is_hosts and (outcome.code == Code.RATE or self._hosts.is_away(entry.host))
            left = left or kind_of(outcome.code).is_local
            disposition = Disposition.DEFERRED if left else outcome.disposition
            return replace(outcome, attempts=entry.attempt, disposition=disposition)

    def close(self) -> None:
        """Starts nothing more: the iterator ends; what is in flight goes on. From any thread."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Ends the iterator until `resume`: what is waiting stays, and retries come back to it. From any thread."""
        with self._lock:
            self._paused = True
            self._changed.notify_all()

    def resume(self, *, workers: int) -> None:
        """Goes on where `pause` left it, for a download stage of so many workers."""
        with self._lock:
            self._paused = False
            self._workers = workers

    def _wait(self, seconds: float) -> None:
        """Waits for a change, and notes the time for which something had to wait for its own."""
        started, stragglers_from = self._clock(), self._stragglers_from()
        idle = max(0, self._workers - self._downloading)
        waiting = find_not_due(self._hosts, self._later, started, idle)
        self._is_waited_for = True
        self._changed.wait(seconds)
        self._is_waited_for = False
        ended = self._clock()
        alone_from = min(max(started, stragglers_from), ended)
        self.waits.add(alone_from - started, waiting, idle=idle, alone=False)
        self.waits.add(ended - alone_from, waiting, idle=idle, alone=True)

    def _stragglers_from(self) -> float:
        """From when on there is nothing at work but a few downloads that take long; at once where there is nothing."""
        few = len(self._in_flight) <= self._workers // STRAGGLERS_SHARE
        if not few or len(self._in_flight) != self._downloading:
            return NEVER
        return max((entry.started + STRAGGLER_SECONDS for entry in self._in_flight.values()), default=0.0)

    @property
    def _looks_ahead(self) -> bool:
        """Whether more of the list may be read than fits into the window, in search of other hosts."""
        return self._reread is not None and not self._exhausted and not self._hosts.is_full

    def _reads_on(self, now: float) -> bool:
        """Whether to read on now that nothing in memory may start."""
        if self._exhausted:
            return False
        if self._hosts.waiting + self._hosts.aside < WINDOW:
            return True
        if not self._looks_ahead or now < self._look_ahead_at:
            return False
        self._look_ahead_at = now + LOOK_AHEAD_SECONDS
        return True

    def _refill(self) -> None:
        wanted = REFILL if self._hosts.waiting + self._hosts.aside < WINDOW else LOOK_AHEAD
        batch = list(itertools.islice(self._sources, wanted))
        with self._lock:
            self._exhausted = len(batch) < wanted
            for source in batch:
                self._hosts.enqueue(Entry(source, host_of(source.url)))

    def _recall(self, recall: Recall) -> None:
        assert self._reread is not None  # else nothing is put aside
        sources = self._reread(recall.indexes)
        with self._lock:
            for source in sources:
                self._hosts.append(Entry(source, host_of(source.url)))

    def _may_start(self, now: float) -> bool:
        """Whether there is room for one download more, whichever it is."""
        memory, machine, concurrency = self._memory, self._machine, self._concurrency
        if memory.held_bytes + memory.estimate_bytes > memory.budget_bytes and self._in_flight:
            return False
        if machine.is_limited and not machine.may_start(now, self._downloading):
            return False
        return concurrency is None or not self._hosts.waiting or concurrency.allows(self._downloading)

    def _start(self, entry: Entry, now: float) -> Item[Fetch] | Failure:
        source = entry.source
        self._downloading += 1
        self.admitted += 1
        self._in_flight[source.key] = entry
        entry.is_downloading, entry.started = True, now
        if (away := self._hosts.away(entry.host)) is not None:
            return not_tried(entry, away)
        if self._machine.is_limited and self._machine.has_given_up(now):
            return self._machine.not_tried(entry)
        entry.size_bytes = self._memory.estimate_bytes
        self._memory.held_bytes += entry.size_bytes
        self._hosts.start(entry.host, now)
        fetch = FIRST_FETCH
        if entry.attempt > 1 or entry.moved is not None or source.refresh is not None:
            known = source.refresh or NOTHING_KNOWN
            fetch = Fetch(
                attempt=entry.attempt,
                etag=known.etag,
                last_modified=known.last_modified,
                refresh=source.refresh is not None,
                moved=entry.moved,
            )
        return Item(source=source, value=fetch, spans=entry.spans)

    def _free(self, entry: Entry) -> None:
        entry.is_downloading = False
        self._downloading -= 1

    def _land(self, entry: Entry, outcome: Outcome) -> Outcome:
        """Frees the place of an item and learns from its outcome; returns it with the code that it deserves."""
        self._free(entry)
        if not entry.size_bytes:
            self._hosts.not_sent(entry.host)
            return outcome
        now = self._clock()
        outcome = self._machine.judge(entry.host, outcome, entry.started, now, self._downloading)
        entry.is_hosts = self._hosts.on_outcome(entry, outcome, now)
        if self._concurrency is not None:
            self._notify_concurrency(self._concurrency, entry.host, outcome)
        return outcome

    def _move(self, entry: Entry, moved: Moved, spans: tuple[Span, ...]) -> None:
        """Lets a redirected item wait for its turn at the host that it was led to."""
        del self._in_flight[entry.source.key]
        self._memory.held_bytes -= entry.size_bytes
        self.admitted -= 1
        if not self._closed:
            self._hosts.append(entry.moved_to(moved, spans))
        self._changed.notify()

    def _notify_concurrency(self, concurrency: Concurrency, host: str, outcome: Outcome) -> None:
        if not outcome.spans:
            return
        span = outcome.spans[-1]
        code = outcome.code if isinstance(outcome, Failure) else ""
        concurrency.on_outcome(
            host,
            in_flight=self._downloading,
            service_seconds=span.ended - span.started,
            first_byte_seconds=None if code else span.parts.get("first_byte", NO_TIME)[0],
            struggled=effect_of(outcome) in (Effect.REFUSED, Effect.SILENT),
        )

    def _comes_back(self, failure: Failure, entry: Entry) -> bool:
        """Whether a failed item is tried again in this run; keeps it for that, unless nothing starts any more."""
        now, for_host = self._clock(), False
        if kind_of(failure.code).is_local:
            if self._machine.has_given_up(now) or entry.mishaps >= MISHAPS_PER_ITEM or not entry.size_bytes:
                return False
            again, due = entry.again(mishaps=1), max(now, self._machine.until)
        elif entry.is_hosts:
            if self._hosts.is_away(entry.host) or entry.refusals >= REFUSALS_PER_ITEM:
                return False
            again, due, for_host = entry.again(refusals=1), self._hosts.comes_back_at(entry.host, now), True
        else:
            delay = self._later.delay(failure, entry)
            if delay is None:
                return False
            again, due = entry.again(attempts=1), now + delay
        if not self._closed:
            self.retried += 1
            self._later.put(again, due, for_host=for_host)
        return True

    def _seconds_to_change(self, now: float) -> float:
        times = [self._hosts.next_time(), self._later.first[0], self._look_ahead_at if self._looks_ahead else None]
        due = [max(time, self._machine.until) for time in times if time is not None]
        return max(0.0, min(due) - now) if due else LONGEST_WAIT_SECONDS
