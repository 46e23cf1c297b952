"""One host: how many downloads it gets at once and how fast, when it is left alone, and when it is given up for now.

Its trouble is its own and no item's attempt: refusals of any kind, and time-outs once they come in a row.
"""

import re
from array import array
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct

from batchproc.hostname import ascii_host, closest
from batchproc.kinds import Code, Effect, Retry, kind_of
from batchproc.model import Disposition, Failure, Fetch, Item, Moved, Outcome, Source, Span
from batchproc.record.run_parts import TroubledHost

CUT = 0.85  # of the rate, at a refusal
BELOW_MEASURED = 0.95  # of what was accepted, after a pause
GROWTH = 0.001  # of the rate at the last cut, for each answer since then
GROWTH_SQUARED = 0.00002
SEARCH_GROWTH = 1.05  # with each answer, until the first rate was tried out: as in TCP's slow start
GUESS_GROWTH = 1.3  # the same, where the first rate was no measured one
FOUND = 0.5  # of the rate at which a search ended, at least, as in TCP's slow start
FEWEST_ACCEPTED = 5  # that a rate after a pause is measured from; else
FIRST_RATE_PER_SECOND = 1.0
SLOWEST_PER_SECOND = 0.1  # what wants to be asked less often than that is paused again and again
SHORTEST_SECONDS = 0.05  # over which a rate can be measured
FIRST_PAUSE_SECONDS = 1.0
NEVER = float("inf")


class Pace(Struct, kw_only=True):
    """The rate and the pauses of a host that has refused at least once. Not thread-safe; times are clock seconds.

    A single refusal lowers the rate, refusals in a row pause the host: it is asked again with one request, after a
    second and then after twice as long each time, or when its Retry-After says. The rate is a token bucket of depth one
    whose filling follows AIMD, as TCP's window does (RFC 5681, section 3.1): a cut by a factor, then growth with every
    answer, slowly near the last cut and faster far from it (as in CUBIC, RFC 9438, section 4.2), so that a limit that
    was lifted is found out soon. After a pause the rate is what the host accepted over the whole time since the pause
    before.
    """

    since: float  # start of the stretch over which `accepted` was counted
    accepted: int
    rate_per_second: float = 0.0  # 0: not known yet
    not_before: float = 0.0
    asked_until: float = 0.0  # the same, where the host itself said so
    pauses: int = 0  # in a row, without an answer in between
    paused_seconds: float = 0.0  # of these together
    most_per_second: float = NEVER  # that the config allows
    _base: float = 0.0  # the rate at the last cut
    _answers: int = 0  # since the last cut
    _search_growth: float = SEARCH_GROWTH
    _found: float = 0.0  # by the search that the last refusal ended: what was accepted while it grew is less
    _is_searching: bool = True  # no refusal has shown yet that a rate was too high
    _next_start: float = 0.0
    _cut_at: float = float("-inf")  # what was started before says nothing about the present rate
    _refused_in_a_row: int = 0

    @classmethod
    def at_most(cls, requests_per_second: float) -> "Pace":
        """The pace of a host that has not refused yet, but for which the config gives a rate."""
        rate = requests_per_second
        return cls(since=0.0, accepted=0, rate_per_second=rate, most_per_second=rate, _base=rate, _is_searching=False)

    @property
    def is_probing(self) -> bool:
        """Whether one request at a time finds out if the host is back."""
        return self.pauses > 0

    def next_start(self, in_flight: int) -> float:
        """When the host may be asked next, beside `in_flight` requests; infinite while a probe is under way."""
        if self.is_probing and in_flight:
            return NEVER
        return max(self.not_before, self._next_start)

    def start(self, now: float) -> None:
        """A request goes out."""
        if self.rate_per_second:
            self._next_start = now + 1 / self.rate_per_second

    def accept(self, started: float, now: float) -> None:
        """The host has answered a request of `started`, whatever it said."""
        self.accepted += 1
        if started <= self._cut_at:
            return
        self._refused_in_a_row = 0
        if self.is_probing:
            self._resume(now)
        elif self.rate_per_second:
            self._answers += 1
            if self._is_searching:
                rate = self.rate_per_second * self._search_growth
            else:
                rate = self._base * (1 + GROWTH * self._answers + GROWTH_SQUARED * self._answers**2)
            self.rate_per_second = min(rate, self.most_per_second)

    def refuse(self, started: float, now: float, *, retry_after_seconds: float | None, is_silent: bool) -> None:
        """The host has refused a request of `started`. `is_silent`: it answers nothing, so that no rate is the reason.

        What was under way at the last cut tells nothing new, but a Retry-After counts whenever it comes.
        """
        is_late = started <= self._cut_at
        if is_late and retry_after_seconds is None:
            return
        if not is_late:
            self._cut_at = now
            self._refused_in_a_row += 1
            if self._refused_in_a_row == 1:
                self._found = FOUND * self.rate_per_second if self._is_searching else 0.0
                self._is_searching = not self._base
                self._set(CUT * (self.rate_per_second or self._measured(now)), now)
        if retry_after_seconds is not None or is_silent or self._refused_in_a_row > 1:
            self._pause(now, retry_after_seconds, is_new=not is_late)

    def _resume(self, now: float) -> None:
        """A probe was answered: goes on with what the host took since the last time this happened."""
        measured = max(BELOW_MEASURED * self._measured(now), self._found)
        self._search_growth = SEARCH_GROWTH
        if self.accepted < FEWEST_ACCEPTED:
            measured, self._search_growth = max(measured, FIRST_RATE_PER_SECOND), GUESS_GROWTH
        self._set(min(measured, self.rate_per_second or measured), now)
        self.pauses, self.paused_seconds = 0, 0.0
        self.since, self.accepted = now, 0

    def _pause(self, now: float, retry_after_seconds: float | None, *, is_new: bool) -> None:
        if is_new or not self.pauses:
            self.pauses += 1
        seconds = FIRST_PAUSE_SECONDS * 2 ** (self.pauses - 1) if retry_after_seconds is None else retry_after_seconds
        until = now + seconds
        self.paused_seconds += max(0.0, until - max(now, self.not_before))
        self.not_before = max(self.not_before, until)
        if retry_after_seconds is not None:
            self.asked_until = self.not_before

    def _measured(self, now: float) -> float:
        return max(1, self.accepted) / max(now - self.since, SHORTEST_SECONDS)

    def _set(self, rate_per_second: float, now: float) -> None:
        rate_per_second = min(max(rate_per_second, SLOWEST_PER_SECOND), self.most_per_second)
        self.rate_per_second = self._base = rate_per_second
        self._answers = 0
        self._next_start = now + 1 / rate_per_second


COMPACT_AFTER = 4096


class Aside:
    """Items of a host that has enough of them in memory: only their positions in the ledger are kept, eight bytes each.

    First in, first out. Not thread-safe.
    """

    def __init__(self) -> None:
        self._indexes = array("Q")
        self._start = 0

    def __len__(self) -> int:
        return len(self._indexes) - self._start

    def append(self, index: int) -> None:
        """Keeps one position more."""
        self._indexes.append(index)

    def take(self, count: int) -> list[int]:
        """The first `count` positions, which are kept no longer."""
        end = self._start + count
        taken = self._indexes[self._start : end].tolist()
        self._start += len(taken)
        if self._start > COMPACT_AFTER and self._start * 2 > len(self._indexes):
            del self._indexes[: self._start]
            self._start = 0
        return taken


_MOST_MISSES = {Effect.UNREACHED: 20, Effect.BARRED: 3}  # in a row: then the host counts as away
SILENT_IN_A_ROW = 3  # time-outs: then they are the host's
MOST_PAUSES = 5  # in a row: then the host is left for the next run
REFUSALS_PER_ITEM = 5  # of one item, that are the host's trouble; then it is left for the next run
STUBBORN_ITEMS = 5  # refused again while others were answered: then a single refusal says nothing of the host
STUBBORN_AFTER = 3  # answers in a row: only then does another refusal of the same item count as such
STUBBORN_SHARE = 4  # so many times as often as that an item was answered after all
MANY_IN_A_ROW = 10  # refusals, from where they do say something even then
_PLAIN = re.compile(r"https?://([a-z0-9.-]+)/").match
_PORTS = {"http:": ":80", "https:": ":443"}
CLEAN_REPLIES = 50  # after so many the limit of a host grows by one


class Limits(Struct, frozen=True, kw_only=True):
    """What the config allows at every host."""

    usual: "HostLimit"
    by_pattern: Mapping[str, "HostLimit"]  # see `hostname.closest`
    longest_pause_seconds: float  # a host that wants a longer one is left for the next run

    def of(self, name: str) -> "HostLimit":
        """What a host is allowed, by its name with its port."""
        host, colon, port = name.rpartition(":")
        has_port = bool(colon) and port.isdecimal()
        found = closest(self.by_pattern, host if has_port else name, int(port) if has_port else None)
        return found or self.usual


class HostLimit(Struct, frozen=True, kw_only=True):
    """What one host is allowed."""

    per_host: int  # downloads at once
    requests_per_second: float | None = None  # at most; None: as many as it takes


class Entry(Struct):
    """An item from its reading until its outcome is known; tried again, it is another entry."""

    source: Source
    host: str
    attempt: int = 1
    refusals: int = 0  # times its host refused it; they burn no attempt
    mishaps: int = 0  # times that this machine could not connect; they burn none either
    moved: Moved | None = None  # a redirect of the listed URL led to `host`
    spans: tuple[Span, ...] = ()  # of the downloads that led there
    started: float = 0.0  # from here on: since its start
    size_bytes: int = 0  # of its image, estimated until it has come; 0: it was never sent out
    is_downloading: bool = False
    is_hosts: bool = False  # it failed by its host's trouble

    def moved_to(self, moved: Moved, spans: tuple[Span, ...]) -> "Entry":
        """The same item where a redirect led it: what counts from now on is the limit of that host."""
        host = host_of(moved.trail[-1])
        return Entry(self.source, host, self.attempt, self.refusals, self.mishaps, moved, spans)

    def again(self, *, attempts: int = 0, refusals: int = 0, mishaps: int = 0) -> "Entry":
        """The same item at its listed URL, with so many more: what a redirect says may be good for a moment only."""
        host = self.host if self.moved is None else host_of(self.source.url)
        return Entry(
            self.source, host, self.attempt + attempts, self.refusals + refusals, self.mishaps + mishaps
        )

    @property
    def is_fresh(self) -> bool:
        """Whether it was not tried yet, so that a refusal is no peculiarity of this item that is known already."""
        return self.attempt == 1 and not self.refusals


class Away(Struct, frozen=True, kw_only=True):
    """Why a host is left for the next run."""

    code: str
    message: str
    retry: Retry = Retry.NEXT_RUN


class Host:
    """What is known of one host. Not thread-safe; times are clock seconds.

    Most lists have more hosts than trouble, so a host's beginnings are the class's own: only what changes is stored.
    """

    in_flight = 0
    clean = 0  # good replies since the limit changed
    unreached = 0  # in a row
    silent = 0  # in a row, of items that it had not been asked for before
    since = 0.0  # its first start
    accepted = 0
    refused = 0
    stubborn = 0  # items refused again, while others were answered
    relented = 0  # items answered after they had been refused
    fresh_in_a_row = 0  # taken
    answered_in_a_row = 0
    refused_in_a_row = 0  # items that it had not refused before
    aside: Aside | None = None  # those that wait outside of memory, behind the others
    pace: Pace | None = None  # None: it has never refused
    away: Away | None = None
    is_queued = False  # by `Hosts`, for its turn or for its time

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most  # downloads at once, at best
        self.limit = most  # and now
        self.fresh: deque[Entry] = deque()
        self.again: list[Entry] = []  # those that were tried before: few
        self.moved: list[Entry] = []  # those that another host redirected to here

    @property
    def is_forgettable(self) -> bool:
        """Nothing is known of it that a new one would not say as well."""
        return not (self.pace or self.away or self.unreached or self.silent)

    @property
    def is_busy(self) -> bool:
        """Whether anything of it is under way or waits, in memory or outside."""
        return bool(self.in_flight or self.waiting or self.moved or self.aside or self.is_queued)

    def next_start(self) -> float:
        """When its next item may leave the queue; infinite until something in flight has ended."""
        if self.away is not None:  # to be deferred
            return 0.0
        if self.in_flight >= self.limit:
            return NEVER
        return self.pace.next_start(self.in_flight) if self.pace is not None else 0.0

    @property
    def waiting(self) -> int:
        """Entries in memory that wait for their start."""
        return len(self.fresh) + len(self.again)

    def append(self, entry: Entry) -> None:
        """One entry more waits; one that was redirected to here goes first, since it is under way."""
        if entry.moved is not None:
            self.moved.append(entry)
        elif entry.is_fresh:
            self.fresh.append(entry)
        else:
            self.again.append(entry)

    def take(self) -> Entry:
        """The next entry: of those that failed before one now and then, so that others in between show who is to blame.

        A probe is made with a fresh one, if there is one.
        """
        if self.moved:
            return self.moved.pop(0)
        if self.again:
            is_probe = self.pace is not None and self.pace.is_probing
            if not self.fresh or (self.fresh_in_a_row > STUBBORN_AFTER and not is_probe):
                self.fresh_in_a_row = 0
                return self.again.pop(0)
        self.fresh_in_a_row += 1
        return self.fresh.popleft()

    def start(self, now: float) -> None:
        """One of its items is sent out."""
        if not self.since:
            self.since = now
        if self.pace is not None:
            self.pace.start(now)

    @property
    def is_picky(self) -> bool:
        """Whether it refuses some items for good, so that a single refusal is no matter of how fast it is asked."""
        return self.stubborn >= STUBBORN_ITEMS and self.stubborn > STUBBORN_SHARE * self.relented

    def on_outcome(self, outcome: Outcome, entry: Entry, now: float, limits: Limits) -> bool:
        """Learns from the outcome of a request.

        Returns whether a failure is the host's trouble, and no attempt of the item.
        """
        if not isinstance(outcome, Failure):
            self._accept(entry, now, is_clean=True)
            return False
        effect = effect_of(outcome)
        if effect is Effect.NOTHING:
            return False
        if effect is Effect.ANSWERED:
            self._accept(entry, now, is_clean=False)
            return False
        if effect in _MOST_MISSES:
            self._miss(outcome, _MOST_MISSES[effect])
            return False
        return self._refuse(outcome, entry, now, limits, is_silent=effect is Effect.SILENT)

    def leave(self, code: str, message: str) -> None:
        """Gives the host up for this run."""
        self.away = Away(code=code, message=message)

    def describe(self) -> TroubledHost:
        """What came of its refusals."""
        assert self.pace is not None  # it has refused
        return TroubledHost(
            host=self.name,
            refused=self.refused,
            accepted=self.accepted,
            per_second=round(self.pace.rate_per_second, 2),
            away=self.away.message if self.away is not None else "",
        )

    def _accept(self, entry: Entry, now: float, *, is_clean: bool) -> None:
        self.unreached = self.silent = self.refused_in_a_row = 0
        if entry.refusals:
            self.relented += 1
        self.answered_in_a_row += 1
        self.accepted += 1
        if self.pace is not None:
            self.pace.accept(entry.started, now)
        self.clean += is_clean
        if self.clean >= CLEAN_REPLIES and self.limit < self.most:
            self.limit, self.clean = self.limit + 1, 0

    def _refuse(self, failure: Failure, entry: Entry, now: float, limits: Limits, *, is_silent: bool) -> bool:
        """Whether it is the host's trouble."""
        self.silent = self.silent + entry.is_fresh if is_silent else 0
        self.refused_in_a_row += entry.is_fresh
        answered, self.answered_in_a_row = self.answered_in_a_row, 0
        if not self._is_trouble(entry, answered, is_silent=is_silent):
            return False
        self.refused += 1
        pace = self.pace
        if pace is None:
            pace = self.pace = Pace(since=self.since or now, accepted=self.accepted)
        pauses = pace.pauses
        pace.refuse(entry.started, now, retry_after_seconds=failure.retry_after_seconds, is_silent=is_silent)
        if pace.pauses > pauses:
            self.limit, self.clean = max(1, self.limit // 2), 0
        if pace.paused_seconds > limits.longest_pause_seconds:
            self.leave(failure.code, "it wants a longer pause than [download] max_retry_after")
        elif pace.pauses > MOST_PAUSES:
            self.leave(failure.code, f"it was asked again {MOST_PAUSES} times in a row, after pauses")
        return True

    def _is_trouble(self, entry: Entry, answered: int, *, is_silent: bool) -> bool:
        """Whether a refusal says something of the host, and not of the item alone."""
        if self.pace is not None and self.pace.is_probing:
            return True
        if is_silent:
            return entry.is_fresh and self.silent >= SILENT_IN_A_ROW
        if not entry.is_fresh and answered >= STUBBORN_AFTER:
            self.stubborn += 1
            if self.is_picky:
                self.pace = None
            return False
        return not self.is_picky or self.refused_in_a_row > MANY_IN_A_ROW

    def _miss(self, failure: Failure, most: int) -> None:
        self.unreached += 1
        if self.unreached >= most:
            message = f"{most} in a row failed: {failure.message}"
            self.away = Away(code=failure.code, message=message, retry=failure.retry)


def effect_of(outcome: Outcome) -> Effect:
    """What an outcome of the download says of the host. A failure may say by itself that the host wants to be left."""
    if not isinstance(outcome, Failure):
        return Effect.ANSWERED
    if outcome.code == Code.TLS and outcome.retry is Retry.NEVER:
        return Effect.BARRED
    return Effect.REFUSED if outcome.retry is Retry.HOST else kind_of(outcome.code).effect


def not_tried(entry: Entry, away: Away) -> Failure:
    """The outcome of an item that was not tried because its host is away."""
    return Failure(
        source=entry.source,
        stage="download",
        code=away.code,
        message=f"not tried: {entry.host} is left alone: {away.message}",
        hint="" if away.retry is Retry.NEVER else "the next run tries again",
        retry=away.retry,
        disposition=Disposition.FAILED if away.retry is Retry.NEVER else Disposition.DEFERRED,
        spans=entry.spans,
    )


def host_of(url: str) -> str:
    """The host and port of an absolute URL, as the unit of politeness: in ASCII, without its scheme's own port."""
    if (plain := _PLAIN(url)) is not None:  # as nearly all are
        return plain[1]
    scheme, _, authority = url.split("/", 3)[:3]
    host = authority.rpartition("@")[2].lower().removesuffix(_PORTS.get(scheme.lower(), ":"))
    if not host.isascii():
        name, colon, port = host.partition(":")
        with suppress(ValueError):  # it will fail as `input.url`, by whatever name
            host = f"{ascii_host(name)}{colon}{port}"
    return host


def host_asked(item: Item[Fetch]) -> str:
    """The host that a download asks first: of the listed URL, or where a redirect of it led."""
    return host_of(item.value.moved.trail[-1] if item.value.moved else item.source.url)
