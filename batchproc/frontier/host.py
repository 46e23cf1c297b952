"""One host: how many downloads it gets at once, when it asked to be left alone, and whether it is down.

Its limit follows AIMD, additive increase and multiplicative decrease, as TCP's window does (RFC 5681, section 3.1).
"""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace

import idna

from batchproc.kinds import Code, Effect, Retry, kind_of
from batchproc.model import Disposition, Failure, Moved, Outcome, Source, Span

UNREACHED_IN_A_ROW = 20  # then the host counts as down
_PORTS = {"http:": ":80", "https:": ":443"}
CLEAN_REPLIES = 50  # after so many the limit of a host grows by one


@dataclass(frozen=True, slots=True)
class Entry:
    """An item that waits for its start."""

    source: Source
    host: str
    attempt: int = 1
    pauses: int = 0  # times its host asked to wait; they burn no attempt
    moved: Moved | None = None  # a redirect of the listed URL led to `host`
    spans: tuple[Span, ...] = ()  # of the downloads that led there

    def moved_to(self, moved: Moved, spans: tuple[Span, ...]) -> "Entry":
        """The same item where a redirect led it: what counts from now on is the limit of that host."""
        return replace(self, host=host_of(moved.trail[-1]), moved=moved, spans=spans)

    def from_the_start(self) -> "Entry":
        """The same item at its listed URL: what a redirect says may be good for a moment only."""
        return self if self.moved is None else replace(self, host=host_of(self.source.url), moved=None, spans=())


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

    @property
    def is_forgettable(self) -> bool:
        """Nothing is known of it that a fresh entry would not say as well."""
        return not (self.in_flight or self.waiting or self.not_before or self.unreached)

    def may_start(self, now: float) -> bool:
        """Whether its next item may leave the queue: to be downloaded or, of a host that is down, to be deferred."""
        return self.is_down or (self.in_flight < self.limit and self.not_before <= now)

    def hear(self, outcome: Outcome, most: int) -> None:
        """Learns from one download's outcome; `most` is the limit of a healthy host."""
        code = outcome.code if isinstance(outcome, Failure) else ""
        effect = kind_of(code).effect
        if Effect.UNREACHED in effect:
            self.unreached += 1
        elif not isinstance(outcome, Failure) or outcome.stage == "download":
            self.unreached = 0
        self.grace = max(0, self.grace - 1)
        if Effect.STRUGGLING in effect and not self.grace:
            self.grace = self.in_flight
            self.limit, self.clean = max(1, self.limit // 2), 0
        elif not code:
            self.clean += 1
            if self.clean >= CLEAN_REPLIES and self.limit < most:
                self.limit, self.clean = self.limit + 1, 0


def host_is_down(entry: Entry) -> Failure:
    """The outcome of an item that was not tried because the breaker of its host is open."""
    return Failure(
        source=entry.source,
        stage="download",
        code=Code.CONNECT,
        message=f"not tried: {entry.host} was not reached {UNREACHED_IN_A_ROW} times in a row",
        hint="the next run tries again",
        retry=Retry.NEXT_RUN,
        disposition=Disposition.DEFERRED,
        spans=entry.spans,
    )


def host_of(url: str) -> str:
    """The host and port of an absolute URL, as the unit of politeness: in ASCII, without its scheme's own port."""
    scheme, _, authority = url.split("/", 3)[:3]
    host = authority.rpartition("@")[2].lower().removesuffix(_PORTS.get(scheme.lower(), ":"))
    if not host.isascii():
        with suppress(idna.IDNAError):  # it will fail as `input.url`, by whatever name
            host = idna.encode(host, uts46=True).decode("ascii")
    return host
