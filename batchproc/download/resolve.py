"""Names to addresses: one look-up per name and minute for all threads, and never longer than the caller can wait.

`getaddrinfo` has no time-out and can sit for half a minute. So it runs in a daemon thread of its own, and the caller
waits for it as long as its budget lasts; a look-up that is given up on goes on alone, ends by itself, and leaves its
answer here for whoever asks next.
"""

import errno
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from batchproc.errors import Code, Retry, StageError

_KEEP_SECONDS = 60.0
_KEEP_FAILURE_SECONDS = 5.0
_MOST_NAMES = 4096
_SLICE_SECONDS = 0.2  # how often a waiting caller looks whether it was told to stop

_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

SocketAddress = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Lookup = Callable[[str], list[SocketAddress]]


@dataclass(slots=True, kw_only=True)
class _Answer:
    """A look-up under way, or its outcome: addresses or the resolver's error number, good until `expires`."""

    done: threading.Event = field(default_factory=threading.Event)
    addresses: tuple[SocketAddress, ...] = ()
    error_number: int | None = None
    expires: float = float("inf")


def system_lookup(host: str, flags: int = 0) -> list[SocketAddress]:
    """Asks the system's resolver for stream addresses, with port 0. Raises `socket.gaierror`."""
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


class Resolver:
    """Resolves names with a cache and one look-up at a time per name. Safe from any thread."""

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._lock = threading.Lock()  # guards the answers
        self._answers: dict[str, _Answer] = {}  # oldest first

    def resolve(self, host: str, deadline: float, check: Callable[[], None]) -> tuple[SocketAddress, ...]:
        """The addresses of `host`, before `deadline` (monotonic seconds).

        `check` is called now and then while waiting and may raise. Raises `StageError`: `dns` when there is no answer,
        `timeout.connect` when there is none in time.
        """
        answer = self._answer(host)
        while not answer.done.is_set():
            left = deadline - self._clock()
            if left <= 0:
                raise StageError(Code.TIMEOUT_CONNECT, f"the name {host} was not resolved in time")
            answer.done.wait(min(left, _SLICE_SECONDS))
            check()
        if answer.error_number is not None:
            raise _dns_error(host, answer.error_number)
        return answer.addresses

    def _answer(self, host: str) -> _Answer:
        now = self._clock()
        with self._lock:
            known = self._answers.get(host)
            if known is not None and now < known.expires:
                return known
            answer = _Answer()
            self._answers.pop(host, None)
            self._answers[host] = answer
            if len(self._answers) > _MOST_NAMES:
                del self._answers[next(iter(self._answers))]
        self._start(host, answer)
        return answer

    def _start(self, host: str, answer: _Answer) -> None:
        with suppress(OSError):  # an address, in any of its spellings, needs no name server
            self._settle(answer, system_lookup(host, socket.AI_NUMERICHOST))
            return
        try:
            threading.Thread(target=self._ask, args=(host, answer), name="batchproc-dns", daemon=True).start()
        except RuntimeError:  # the system has no room for another thread
            self._fail(answer, socket.EAI_AGAIN)

    def _ask(self, host: str, answer: _Answer) -> None:
        try:
            self._settle(answer, self._lookup(host))
        except ValueError:  # the IDNA codec of the standard library does not like the name
            self._fail(answer, socket.EAI_NONAME)
        except OSError as error:
            self._fail(answer, error.errno or socket.EAI_AGAIN)

    def _fail(self, answer: _Answer, error_number: int) -> None:
        answer.error_number = error_number
        answer.expires = self._clock() + _KEEP_FAILURE_SECONDS
        answer.done.set()

    def _settle(self, answer: _Answer, addresses: list[SocketAddress]) -> None:
        answer.addresses = tuple(dict.fromkeys(addresses))
        answer.expires = self._clock() + _KEEP_SECONDS
        answer.done.set()


def _dns_error(host: str, number: int) -> StageError:
    if number in _UNKNOWN_NAME:
        return StageError(Code.DNS, f"the name {host} does not exist", retry=Retry.ONCE)
    if number in (errno.EMFILE, errno.ENFILE):
        return StageError(Code.LOCAL_FILES, "this machine has no file descriptor left to ask a name server")
    return StageError(Code.DNS, f"the name server had no answer for {host}")


resolver = Resolver()  # of this process
