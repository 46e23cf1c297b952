"""robots.txt: what an origin asks robots not to fetch, read once per origin and run, and obeyed for every hop.

Source: RFC 9309. A client error (4xx) means that there are no rules; a server error, 429 or a reply that does not
arrive whole means that nothing may be fetched for now, and is the host's trouble like any other: the frontier pauses
the host and lets it be asked again. What is no robots.txt at all has no rules in it either. Crawl-delay is
not obeyed: it is no part of the RFC, and `[download] per_host` decides how politely a host is asked.

The threads of a process share what they have read in its memory, worker processes on a `Shelf`.
"""

import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc.download import urls
from batchproc.download.connection import Deadline
from batchproc.download.reply import WireReply
from batchproc.download.rules import (
    KEEP_OBSTACLE_SECONDS,
    KEEP_SECONDS,
    Reading,
    Rules,
    make_rules,
    product_token,
    relevant_lines,
)
from batchproc.download.settings import Settings
from batchproc.download.shelf import Shelf
from batchproc.download.urls import Location, Origin
from batchproc.download.verdict import REDIRECTS, retry_after
from batchproc.errors import Code, Retry, StageError
from batchproc.kinds import kind_of
from batchproc.protocols import Lap

MOST_BYTES = 500 * 1024  # RFC 9309, section 2.5
MOST_REDIRECTS = 5  # section 2.3.1.2
_MOST_ORIGINS = 10_000
_MOST_CHARACTERS = 2_000_000  # of rules that are kept; parsed they take up to 25 bytes per character
_SLICE_SECONDS = 0.2  # how often a waiting worker looks whether it was told to stop

_PATH = "/robots.txt"

# The origin itself was not reached: nothing on it can be, and the item's failure is told and retried as that.
_NOT_REACHED = frozenset(
    (Code.DNS, Code.CONNECT, Code.PROXY, Code.TLS, Code.TIMEOUT_CONNECT, Code.POLICY_ADDRESS)
)
# Of these the origin knows nothing: the item's failure is told as that, wherever a redirect of robots.txt had led.
_NOT_ITS_OWN = frozenset(code for code in Code if code in (Code.CANCELLED, Code.BUSY) or kind_of(code).is_local)
_LEADS_NOWHERE = frozenset((Code.REDIRECT, Code.POLICY_SCHEME, Code.POLICY_PORT))


class _Page(Struct, kw_only=True, eq=False):
    """The rules of one origin, good until `expires`; or a reading under way, or what became of one that failed."""

    done: threading.Event = field(default_factory=threading.Event)
    rules: Rules | None = None
    error: StageError | None = None
    expires: float = float("inf")  # clock seconds


Key = tuple[str, str, str]  # scheme, authority, product token


class Rulebook:
    """The rules of the origins met last, one reading at a time per origin. Safe from any thread."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        most_origins: int = _MOST_ORIGINS,
        most_characters: int = _MOST_CHARACTERS,
    ) -> None:
        self._clock = clock
        self._most_origins = most_origins
        self._most_characters = most_characters
        self._lock = threading.Lock()  # guards the two below
        self._pages: OrderedDict[Key, _Page] = OrderedDict()  # least recently used first
        self._characters = 0  # the weight of all pages

    def __repr__(self) -> str:
        return f"<Rulebook {len(self._pages)} origins, {self._characters} characters>"

    def known(self, key: Key) -> Rules | None:
        """The rules, when they have been read and are still good."""
        with self._lock:
            page = self._pages.get(key)
            if page is None or page.expires <= self._clock():
                return None
            self._pages.move_to_end(key)
            return page.rules

    def find(self, key: Key, read: Callable[[], Rules], check: Callable[[], None]) -> Rules:
        """The rules, by `read` when nobody has them; a worker whose origin is being read by another waits for it.

        `check` is called now and then while waiting and may raise. Raises what `read` raises, to all who waited; but
        when the reader was stopped, the next one reads.
        """
        while True:
            page, is_mine = self._open(key)
            if is_mine:
                return self._read(key, page, read)
            while not page.done.wait(_SLICE_SECONDS):
                check()
            if page.rules is not None:
                return page.rules
            if page.error is not None:
                raise _copy(page.error)
            check()

    def _open(self, key: Key) -> tuple[_Page, bool]:
        with self._lock:
            page = self._pages.get(key)
            if page is not None and page.expires > self._clock():
                return page, False
            self._drop(key)
            page = self._pages[key] = _Page()
            return page, True

    def _read(self, key: Key, page: _Page, read: Callable[[], Rules]) -> Rules:
        try:
            rules = read()
            self._keep(key, page, rules)
        except StageError as error:
            page.error = None if error.code == Code.CANCELLED else error
            raise
        finally:
            if page.rules is None:
                self._withdraw(key, page)
            page.done.set()
        return rules

    def _keep(self, key: Key, page: _Page, rules: Rules) -> None:
        with self._lock:
            keep_seconds = KEEP_OBSTACLE_SECONDS if rules.obstacle else KEEP_SECONDS
            page.expires = self._clock() + keep_seconds - rules.age_seconds
            page.rules = rules
            if self._pages.get(key) is page:
                self._characters += rules.weight
                self._pages.move_to_end(key)
            while len(self._pages) > self._most_origins or self._characters > self._most_characters:
                self._drop(next(iter(self._pages)))

    def _withdraw(self, key: Key, page: _Page) -> None:
        with self._lock:
            if self._pages.get(key) is page:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        page = self._pages.pop(key, None)
        if page is not None and page.rules is not None:
            self._characters -= page.rules.weight


def _copy(error: StageError) -> StageError:
    """Each thread raises its own: an exception collects the traceback of whoever raises it."""
    return StageError(error.code, error.message, hint=error.hint, retry=error.retry)


rulebook = Rulebook()  # of this process


Send = Callable[[Location, Deadline, Lap], WireReply]


class RobotsGate:
    """One worker's respect for robots.txt. `send` makes one guarded request that carries no one's credentials.

    `check` raises when the worker was told to stop.
    """

    def __init__(self, settings: Settings, send: Send, check: Callable[[], None]) -> None:
        self._send = send
        self._check = check
        self._token = product_token(settings.user_agent)
        self._shelf = Shelf(settings.robots_folder) if settings.robots_folder else None
        # An image may take this long to begin; so may its robots.txt, to the last byte and over all redirects.
        self._most_seconds = min(
            settings.total_timeout_seconds, settings.connect_timeout_seconds + settings.first_byte_timeout_seconds
        )

    def admit(self, location: Location, total: Deadline, lap: Lap) -> Deadline:
        """Returns when `location` may be fetched: the item's deadline, moved by the time that this took.

        Raises `StageError`: `policy.robots`; when the origin cannot be reached at all, why.
        """
        if location.target == _PATH:
            return total
        origin = location.origin
        key = (origin.scheme, origin.authority, self._token)
        rules = rulebook.known(key)
        if rules is None:
            started = time.monotonic()
            try:
                rules = rulebook.find(key, lambda: self._find(key, origin, lap), self._check)
            finally:
                lap("first_byte")
            total = replace(total, moment=total.moment + time.monotonic() - started)
        rules.check(location)
        return total

    def _find(self, key: Key, origin: Origin, lap: Lap) -> Rules:
        """The rules as this process learns them: from another one, or from the origin."""
        read = partial(self._read, origin, lap)
        if self._shelf is None:
            return make_rules(read(), self._token)
        reading = self._shelf.find(key, read, self._check, patience_seconds=self._most_seconds)
        return make_rules(reading, self._token)

    def _read(self, origin: Origin, lap: Lap) -> Reading:
        deadline = Deadline.after(self._most_seconds, Code.TIMEOUT_TOTAL)
        location = Location(origin=origin, target=_PATH)
        try:
            for _ in range(1 + MOST_REDIRECTS):
                reply = self._send(location, deadline, lap)
                try:
                    if reply.status_code not in REDIRECTS:
                        return self._take(reply)
                    location = urls.follow(location, reply.headers.get("location", ""))
                finally:
                    reply.close()
        except StageError as error:
            if error.code == Code.CANCELLED:
                raise
            if error.code in _NOT_ITS_OWN or (location.origin == origin and error.code in _NOT_REACHED):
                return Reading(code=error.code, obstacle=error.message, hint=error.hint, retry=error.retry)
            if error.code not in _LEADS_NOWHERE:
                retry = Retry.HOST if error.retry.is_transient or error.retry is Retry.ONCE else Retry.NEXT_RUN
                obstacle = "it took too long" if error.code == Code.TIMEOUT_TOTAL else error.message
                return Reading(obstacle=obstacle, retry=retry)
        return Reading()

    def _take(self, reply: WireReply) -> Reading:
        if reply.status_code >= 500 or reply.status_code == 429:
            obstacle = f"the answer was {reply.status_code}"
            return Reading(obstacle=obstacle, retry_after_seconds=retry_after(reply.headers))
        if reply.status_code >= 300:
            return Reading()
        octets = bytearray()
        while len(octets) < MOST_BYTES and (more := reply.read(MOST_BYTES)):
            octets += more
        if reply.headers.get("content-encoding", "identity") != "identity":
            octets = bytearray(_decode(octets))
        if len(octets) >= MOST_BYTES:
            del octets[octets.rfind(b"\n", 0, MOST_BYTES) + 1 :]  # half a rule would forbid more than the whole
        return Reading(lines=relevant_lines(bytes(octets), self._token))


def _decode(octets: bytes | bytearray) -> bytes | bytearray:
    """Undoes gzip and zlib, also of a body that was cut; anything else stays as it is."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(octets, MOST_BYTES)
    except zlib.error:
        return octets
