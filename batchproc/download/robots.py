"""robots.txt: what an origin asks robots not to fetch, read once per origin and run, and obeyed for every hop.

Source: RFC 9309. A client error (4xx) means that there are no rules; a server error, 429 or a reply that does not
arrive whole means that nothing may be fetched for now, and is the host's trouble like any other: the frontier pauses
the host and lets it be asked again. What is no robots.txt at all has no rules in it either. Crawl-delay is
not obeyed: it is no part of the RFC, and `[download] per_host` decides how politely a host is asked.

The threads of a process share what they have read in its memory, worker processes on a `Shelf`.
"""

import fcntl
import json
import os
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from batchproc.download import urls
from batchproc.download.connection import Deadline
from batchproc.download.reply import WireReply
from batchproc.download.settings import Settings
from batchproc.download.urls import Location, Origin
from batchproc.download.verdict import REDIRECTS, retry_after
from batchproc.errors import Code, Retry, StageError
from batchproc.kinds import kind_of
from batchproc.protocols import Lap

if TYPE_CHECKING:
    from protego import Protego



KEEP_SECONDS = 86_400.0  # RFC 9309, section 2.4
KEEP_OBSTACLE_SECONDS = 0.5  # for those that wait for the same reading; how soon to ask again the frontier decides
_COMPATIBLE = re.compile(r"compatible;\s*([^\s/;()]+)")
_FIRST_WORD = re.compile(r"[^\s/;()]*")
_AGENT_LINE = re.compile(r"user(?:-|\s*)agent(?:\s*:|\s|$)\s*(.*)", re.IGNORECASE)
_RULE_LINE = re.compile(r"(?:allow|di|crawl|request|visit)", re.IGNORECASE)  # `di`: all that passes for Disallow
_DISALLOW_LINE = re.compile(r"di[a-z]*+\s*:?\s*\S", re.IGNORECASE)


class Reading(Struct, frozen=True, kw_only=True):
    """What came of asking an origin for its robots.txt: lines, an obstacle, or the failure `code` of the origin."""

    lines: str = ""  # those that concern us
    code: str = ""
    obstacle: str = ""  # why there is nothing to go by; with a code, the failure's message
    hint: str = ""
    retry: Retry = Retry.HOST  # when to ask again, with an obstacle
    retry_after_seconds: float | None = None  # for which the server then asks to be left alone
    age_seconds: float = 0.0  # since another process has read it

    @property
    def keep_seconds(self) -> float:
        """How long it holds for those that ask later, from when it was read."""
        if self.code:
            return 0.0
        return KEEP_OBSTACLE_SECONDS if self.obstacle else KEEP_SECONDS


def product_token(user_agent: str) -> str:
    """The name that robots.txt knows us by, in lower case: `batchproc` of `batchproc/1.0 (+https://...)`.

    Of a user agent that poses as a browser it is the name behind "compatible;".
    """
    text = user_agent.strip().lower()
    named = _COMPATIBLE.search(text)
    if named is not None:
        return named[1]
    first = _FIRST_WORD.match(text)
    return first[0] if first is not None else ""


class Rules(Struct, frozen=True, kw_only=True):
    """What an origin asks of us: nothing, what `matcher` says, or, with an `obstacle`, to stay away for now.

    Immutable; the matcher may be asked from any thread.
    """

    matcher: "Protego | None" = None
    token: str = ""
    weight: int = 0  # characters of the rules that were kept
    obstacle: str = ""  # why the file cannot be read
    retry: Retry = Retry.HOST  # when to ask again, with an obstacle
    retry_after_seconds: float | None = None  # for which the server then asks to be left alone
    age_seconds: float = 0.0  # since another process has read them

    def check(self, location: Location) -> None:
        """Returns when `location` may be fetched. Raises `StageError` `policy.robots`."""
        if self.matcher is not None and not self.matcher.can_fetch(location.url, self.token):
            raise StageError(
                Code.POLICY_ROBOTS,
                f"robots.txt of {location.origin.host} disallows this URL",
                hint='if you may fetch it all the same, set [download] robots = "ignore"',
            )
        if self.obstacle:
            raise StageError(
                Code.POLICY_ROBOTS,
                f"robots.txt of {location.origin.host} cannot be read for now: {self.obstacle}",
                hint="it is asked for again, in this run and the next",
                retry=self.retry,
                retry_after_seconds=self.retry_after_seconds,
            )


def relevant_lines(octets: bytes, token: str) -> str:
    """The rules of a robots.txt for the robot `token`; nothing when all is allowed. Never fails on garbage.

    Only the groups for this robot and for everybody reach the parser: it multiplies every rule by the agents of its
    group, so that half a megabyte made for the purpose would fill the memory.
    """
    lines = _relevant_lines(octets.decode("utf-8", "replace").removeprefix("\ufeff"), token)
    return "\n".join(lines) if any(map(_DISALLOW_LINE.match, lines)) else ""


def make_rules(reading: Reading, token: str) -> Rules:
    """What a reading means for the robot `token`. Raises `StageError` when the origin could not be asked."""
    if reading.code:
        raise StageError(reading.code, reading.obstacle, hint=reading.hint, retry=reading.retry)
    rules = Rules(
        obstacle=reading.obstacle,
        retry=reading.retry,
        retry_after_seconds=reading.retry_after_seconds,
        age_seconds=reading.age_seconds,
    )
    if not reading.lines:
        return rules
    from protego import Protego  # here, so that workers that never meet a rule start without it

    matcher = Protego.parse(reading.lines)
    matcher.can_fetch("/", token)  # builds its index now, in one thread
    return replace(rules, matcher=matcher, token=token, weight=len(reading.lines))


def _relevant_lines(text: str, token: str) -> list[str]:
    kept: list[str] = []
    ours = naming = False  # this group is for us; its agents are still being named
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        agent = _AGENT_LINE.match(line)
        if agent is not None:
            name = product_token(agent[1])
            named = name == "*" or (token and name.rstrip("*") == token)
            ours = bool(named) or (ours and naming)
            naming = True
            if named:
                kept.append(f"User-agent: {'*' if name == '*' else token}")
        elif _RULE_LINE.match(line):
            naming = False
            if ours:
                kept.append(line)
    return kept


_POLL_SECONDS = 0.01


class Shelf:
    """What the worker processes of a run have read, for each other: a file per origin, under its `flock`.

    Whoever reads an origin's robots.txt holds the lock of its file meanwhile; the others wait, and take what came of
    it. The kernel frees the lock of a process that is killed, and what that left half-written is no JSON: the next one
    reads. A folder that cannot be used (a full disk) is done without: each process then reads for itself. `clock` is
    one for all processes.
    """

    def __init__(self, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = Path(folder)
        self._clock = clock

    def find(
        self, key: tuple[str, ...], read: Callable[[], Reading], check: Callable[[], None], *, patience_seconds: float
    ) -> Reading:
        """What another process has read, or reads while this one waits; else what `read` returns, for all.

        `check` is called now and then while waiting and may raise. A reader that does not end in `patience_seconds`
        is not waited for any longer. Raises what `read` raises: the next process then reads.
        """
        asked = self._clock()
        name = blake2b("\0".join(key).encode(), digest_size=16).hexdigest()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._folder / name, flags, 0o600)
        except OSError:
            return read()
        try:
            if not self._acquire(descriptor, asked + patience_seconds, check):
                return read()
            reading = self._load(descriptor, asked)
            if reading is None:
                reading = read()
                self._store(descriptor, reading)
            return reading
        finally:
            os.close(descriptor)  # and with it the lock

    def _acquire(self, descriptor: int, end: float, check: Callable[[], None]) -> bool:
        """Tries again and again: a blocking `flock` could only be ended by a signal."""
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                check()
            except OSError:  # no locks here, or none left
                return False
            else:
                return True
            if self._clock() >= end:
                return False
            time.sleep(_POLL_SECONDS)

    def _load(self, descriptor: int, asked: float) -> Reading | None:
        """What is on the shelf, when it still holds, or was read after this process had `asked` for it."""
        try:
            found = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            read_at = float(found.pop("read_at"))
            reading = Reading(**{**found, "retry": Retry(found["retry"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        age = max(0.0, self._clock() - read_at)
        return replace(reading, age_seconds=age) if read_at >= asked or age < reading.keep_seconds else None

    def _store(self, descriptor: int, reading: Reading) -> None:
        content = json.dumps({**to_builtins(reading), "read_at": self._clock()}).encode()
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)


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
