"""What keeps items waiting: the times of their retries, memory, this machine's own trouble; and how long it took.

Images that have come are known by their size; those still to come are estimated.
"""

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import fields, replace

from batchproc.frontier.host import NEVER, Entry
from batchproc.frontier.hosts import Hosts
from batchproc.kinds import Code, Retry, kind_of
from batchproc.model import Disposition, Failure, Outcome
from batchproc.record.run_parts import LocalTrouble

LONGEST_BACKOFF_SECONDS = 300.0


def full_jitter(attempt: int) -> float:
    """Seconds to wait after the failed attempt 1, 2, …: uniform(0, min(300, 2^n)), so that retries spread out."""
    return random.uniform(0.0, min(LONGEST_BACKOFF_SECONDS, 2.0 ** (attempt - 1)))


_TRIES: dict[Retry, int | None] = {Retry.BACKOFF: None, Retry.HOST: None, Retry.ONCE: 1}  # None: as many as allowed


class Retries:
    """Entries that come back, by their time. Not thread-safe: used under the frontier's condition."""

    def __init__(self, allowed: int, backoff: Callable[[int], float]) -> None:
        self.next_due = NEVER  # when the first of them comes back
        self.for_hosts = 0  # of the entries: their hosts wanted to be left alone
        self._allowed = allowed
        self._backoff = backoff
        self._heap: list[tuple[float, int, Entry, bool]] = []
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def delay(self, failure: Failure, entry: Entry) -> float | None:
        """Seconds until the item is tried again in this run; None when its failure is final for now."""
        tries = _TRIES.get(failure.retry, 0)
        allowed = self._allowed if tries is None else min(tries, self._allowed)
        return self._backoff(entry.attempt) if entry.attempt <= allowed else None

    @property
    def first(self) -> tuple[float | None, bool]:
        """When the next one comes back, None when there is none; and whether its host decided that."""
        return (self._heap[0][0], self._heap[0][3]) if self._heap else (None, False)

    def put(self, entry: Entry, due: float, *, for_host: bool = False) -> None:
        """Keeps an entry for its next attempt at `due`."""
        self.for_hosts += for_host
        heapq.heappush(self._heap, (due, next(self._sequence), entry, for_host))
        self.next_due = self._heap[0][0]

    def pop_due(self, now: float) -> Iterator[Entry]:
        """Those whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            _, _, entry, for_host = heapq.heappop(self._heap)
            self.for_hosts -= for_host
            self.next_due = self._heap[0][0] if self._heap else NEVER
            yield entry


class NotDue(Struct, frozen=True, kw_only=True):
    """What cannot start yet, but will with time alone: how many items, and which sort comes first."""

    retries: int
    held: int  # by their hosts; counted up to the number of idle workers
    host_is_next: bool


def find_not_due(hosts: Hosts, later: Retries, now: float, idle: int) -> NotDue:
    """What waits for its time at `now`, beside so many idle workers."""
    retries = len(later) - later.for_hosts
    held = later.for_hosts + hosts.count_held(now, idle - len(later))
    times = [(due, is_host) for due, is_host in ((hosts.next_time(), True), later.first) if due is not None]
    return NotDue(retries=retries, held=held, host_is_next=bool(times) and min(times)[1])


class Waits(Struct, kw_only=True):
    """Sums of such waits. Not thread-safe: changed under the frontier's condition.

    `retry_seconds` and `pause_seconds` are of the clock: nothing was in flight but a few downloads from servers that
    had fallen silent, there was nothing to do but wait. The other two are of download workers that stood idle for that
    reason, beside others at work too.
    """

    retry_seconds: float = 0.0
    pause_seconds: float = 0.0
    retry_worker_seconds: float = 0.0
    pause_worker_seconds: float = 0.0

    def add(self, seconds: float, waiting: NotDue, *, idle: int, alone: bool) -> None:
        """Some time has passed. `alone`: with nothing at work; then every idle worker waited for what came first.

        Beside others at work, an idle worker waited where there was an item for it.
        """
        if not (waiting.retries or waiting.held):
            return
        for_retries = min(idle, waiting.retries)
        for_hosts = min(idle - for_retries, waiting.held)
        if alone:
            for_retries, for_hosts = (0, idle) if waiting.host_is_next else (idle, 0)
            self.retry_seconds += 0.0 if waiting.host_is_next else seconds
            self.pause_seconds += seconds if waiting.host_is_next else 0.0
        self.retry_worker_seconds += for_retries * seconds
        self.pause_worker_seconds += for_hosts * seconds

    def since(self, before: "Waits") -> "Waits":
        """What came to it since it stood at `before`."""
        names = [field.name for field in fields(self)]
        return Waits(**{name: getattr(self, name) - getattr(before, name) for name in names})


class Wait(Struct, frozen=True):
    """Nothing may start now; look again after so many seconds, or when something has changed."""

    seconds: float


class Refill:
    """Nothing in the window may start now: read on."""


class End:
    """Nothing will start any more."""


FIRST_ESTIMATE_BYTES = 1_000_000  # of an original, before any has come
SIZES_REMEMBERED = 64


class Memory:
    """A byte budget; the largest of the last sizes stands for what is to come. Used under the frontier's condition."""

    def __init__(self, budget_bytes: int) -> None:
        self.held_bytes = 0
        self.estimate_bytes = FIRST_ESTIMATE_BYTES
        self.budget_bytes = budget_bytes
        self._sizes: deque[int] = deque(maxlen=SIZES_REMEMBERED)

    def learn(self, size_bytes: int) -> None:
        """An original has come."""
        self._sizes.append(size_bytes)
        self.estimate_bytes = max(self._sizes)


FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
QUIET_SECONDS = 10.0  # since anything was reached: then a missing route is everybody's
MANY_NAMES = 3  # of which the name server knew nothing for now, since anything was reached
MISHAPS_PER_ITEM = 10  # then it is left for the next run


class Machine:
    """This machine's own trouble: no file descriptor, port, buffer or route left for one connection more.

    It is no host's fault and no item's attempt. Nothing starts for a while, twice as long each time; with descriptors,
    ports or buffers short, half as many downloads go on afterwards, and one more for each round that goes well. What
    fails for want of a route, or of a name server, is this machine's trouble only while nothing at all can be reached.
    Not thread-safe: used under the frontier's condition. Times are clock seconds.
    """

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._codes: Counter[str] = Counter()
        self._pauses = 0
        self._paused_seconds = 0.0
        self._limit = math.inf  # downloads at once
        self._pause = 0.0  # the last one's length; 0 when all is well
        self._paused_at = self.until = -math.inf  # nothing starts before the second one
        self._since = math.inf  # the present trouble's first pause
        self._reached_at = -math.inf
        self._unknown_names: set[str] = set()
        self._code = ""

    def __str__(self) -> str:
        if not self._pauses:
            return ""
        kinds = "; ".join(f"{kind_of(code).meaning} ({number} times)" for code, number in self._codes.most_common())
        advice = kind_of(self._codes.most_common(1)[0][0]).advice
        return f"{kinds}: nothing was started for {self._paused_seconds:g} s in all; {advice}"

    @property
    def is_limited(self) -> bool:
        """Whether it has had trouble that is not forgotten, so that `may_start` is to be asked."""
        return self._limit != math.inf or self._since != math.inf

    def may_start(self, now: float, downloading: int) -> bool:
        """Whether one download more may start beside so many; or be deferred, when all hope is given up."""
        return self.has_given_up(now) or (now >= self.until and downloading < self._limit)

    def has_given_up(self, now: float) -> bool:
        """Whether it has lasted so long that what is left is for the next run."""
        return now - self._since > self._longest_seconds

    def judge(self, host: str, outcome: Outcome, started: float, now: float, downloading: int) -> Outcome:
        """The outcome of a download of `started`, with the code that it deserves; learns from it."""
        if not isinstance(outcome, Failure) or _has_connected(outcome):
            self._recover(started, now)
            return outcome
        is_quiet = now - self._reached_at > QUIET_SECONDS
        if outcome.code == Code.DNS and outcome.retry is Retry.BACKOFF:
            self._unknown_names.add(host)
            if is_quiet and len(self._unknown_names) >= MANY_NAMES:
                outcome = replace(
                    outcome, code=Code.LOCAL_NETWORK, message="no name server answers", retry=Retry.NEXT_RUN
                )
        elif outcome.code == Code.LOCAL_NETWORK and not is_quiet:
            return replace(outcome, code=Code.CONNECT, message=f"{host} cannot be reached", retry=Retry.BACKOFF)
        if kind_of(outcome.code).is_local:
            self._suffer(outcome.code, started, now, downloading)
        return outcome

    def not_tried(self, entry: Entry) -> Failure:
        """The outcome of an item after all hope was given up."""
        return Failure(
            source=entry.source,
            stage="download",
            code=self._code,
            message=f"not tried: for {self._longest_seconds:g} s {kind_of(self._code).meaning}",
            hint=kind_of(self._code).advice,
            retry=Retry.NEXT_RUN,
            disposition=Disposition.DEFERRED,
            spans=entry.spans,
        )

    def describe(self) -> LocalTrouble:
        """How often nothing could start, for how long, and why."""
        return LocalTrouble(pauses=self._pauses, paused_seconds=self._paused_seconds, codes=dict(self._codes))

    def _suffer(self, code: str, started: float, now: float, downloading: int) -> None:
        self._codes[code] += 1
        if started <= self._paused_at:
            return  # it began before the pause: that was for all of them
        self._code = code
        self._pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause))
        self._paused_at, self.until = now, now + self._pause
        self._since = min(self._since, now)
        self._pauses += 1
        self._paused_seconds += self._pause
        self._limit = 1 if code == Code.LOCAL_NETWORK else max(1, min(self._limit, downloading) // 2)

    def _recover(self, started: float, now: float) -> None:
        self._reached_at = now
        self._unknown_names.clear()
        if started <= self._paused_at:
            return
        self._pause, self._since = 0.0, math.inf
        if self._code == Code.LOCAL_NETWORK:
            self._limit = math.inf
        self._limit += 1 / self._limit


def _has_connected(failure: Failure) -> bool:
    return bool(failure.spans) and any(what.startswith("opened ") for what in failure.spans[-1].counts)
