"""From a host's name to a connected socket, only to permitted addresses, within one deadline.

One look-up per name and minute for all threads, and never longer than the caller can wait: `getaddrinfo` has no
time-out and can sit for half a minute. So it runs in a daemon thread of its own, and the caller waits for it as long as
its budget lasts; a look-up that is given up on goes on alone, ends by itself, and leaves its answer here for whoever
asks next.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct, field

from batchproc.download.connection import Deadline, SocketInterrupt
from batchproc.errors import Code, Retry, StageError
from batchproc.kinds import kind_of
from batchproc.protocols import Lap

REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and a metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host services on a public address
        "169.254.0.0/16",  # link-local, and metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

GLOBAL_IPV6 = IPv6Network("2000::/3")  # the only part that is given out; what lies outside is refused

REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")

Address = IPv4Address | IPv6Address


class AddressGuard:
    """Says which addresses may be dialled. Immutable, safe to share between threads.

    `ipaddress` alone is not enough: on CPython 3.11 `is_global` is true for NAT64, 6to4, fec0::/10, every multicast
    address and for cloud metadata services that live on public addresses. So the refused networks are written out here,
    addresses that carry an IPv4 address inside are unwrapped, and both are judged. Sources: the IANA registries of
    special-purpose IPv4 and IPv6 addresses (RFC 6890 and its updates); RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380
    (Teredo), RFC 4291 section 2.5.5 (mapped and compatible).

    `allow` opens networks in CIDR notation that the table refuses; an address inside another (as ::ffff:127.0.0.1) is
    open when the inner one is.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._open = tuple(ip_network(text, strict=False) for text in allow)

    def permits(self, text: str) -> bool:
        """Whether the address may be dialled; a scope (`%eth0`) is ignored."""
        address = ip_address(text.partition("%")[0])
        inner = embedded_ipv4(address)
        if self._opened(address) or (inner is not None and self._opened(inner)):
            return True
        return not is_refused(address) and (inner is None or not is_refused(inner))

    def _opened(self, address: Address) -> bool:
        return any(address in network for network in self._open)


def is_refused(address: Address) -> bool:
    """Whether the table refuses this address itself, whatever it may carry inside."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in REFUSED_IPV4)
    if address.ipv4_mapped is not None or address in _NAT64:
        return False  # judged by the address inside
    return address not in GLOBAL_IPV6 or any(address in network for network in REFUSED_IPV6)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries (mapped, compatible, NAT64, 6to4, Teredo's client), or None."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


_KEEP_SECONDS = 60.0
_KEEP_FAILURE_SECONDS = 5.0
_MOST_NAMES = 4096
_SLICE_SECONDS = 0.2  # how often a waiting caller looks whether it was told to stop

_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

SocketAddress = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
Lookup = Callable[[str], list[SocketAddress]]


class _Answer(Struct, kw_only=True):
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


_MOST_ADDRESSES = 6
_LOCAL = {
    errno.EMFILE: Code.LOCAL_FILES,
    errno.ENFILE: Code.LOCAL_FILES,
    errno.ENOBUFS: Code.LOCAL_MEMORY,
    errno.ENOMEM: Code.LOCAL_MEMORY,
}
_LOCAL_IPV4 = {  # over IPv6 they say no more than that there is none here
    errno.EADDRNOTAVAIL: Code.LOCAL_PORTS,
    errno.ENETUNREACH: Code.LOCAL_NETWORK,
    errno.ENETDOWN: Code.LOCAL_NETWORK,
}


class Dialler:
    """Dials for one worker."""

    def __init__(self, guard: AddressGuard, interrupt: SocketInterrupt) -> None:
        self._guard = guard
        self._interrupt = interrupt

    def dial(self, host: str, port: int, deadline: Deadline, lap: Lap) -> socket.socket:
        """Connects to `host`: one look-up, only permitted addresses, each tried in turn. Books dns on `lap`.

        Raises `StageError`: `dns`, `policy.address`, `connect`, `timeout.connect`, what the deadline says.
        """
        found = resolver.resolve(host, deadline.moment, self._interrupt.check)
        lap("dns")
        permitted = [address for address in found if self._guard.permits(address[1][0])]
        if not permitted:
            raise refused_address(host)
        return self._dial_first(host, port, permitted[:_MOST_ADDRESSES], deadline)

    def _dial_first(
        self, host: str, port: int, addresses: list[SocketAddress], deadline: Deadline
    ) -> socket.socket:
        failure: StageError | None = None
        for index, address in enumerate(addresses):
            left = deadline.moment - time.monotonic()
            if left <= 0:
                break
            try:
                return self._connect(host, port, address, left / (len(addresses) - index))
            except TimeoutError:
                self._interrupt.check()
                if deadline.code is not Code.TIMEOUT_CONNECT and deadline.moment <= time.monotonic():
                    raise deadline.error() from None
                failure = StageError(
                    Code.TIMEOUT_CONNECT, f"{host} did not accept the connection in time"
                )
            except OSError as error:
                self._interrupt.check()
                failure = _connect_error(host, address[0], error)
        raise failure or deadline.error()

    def _connect(self, host: str, port: int, address: SocketAddress, timeout_seconds: float) -> socket.socket:
        family, (ip, _, *scope) = address
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(timeout_seconds)
            self._interrupt.guard(raw)
            raw.connect((ip, port, *scope))
            if not self._guard.permits(raw.getpeername()[0]):
                raise refused_address(host)
            raw.setblocking(False)
            return raw
        except BaseException:
            self._interrupt.guard(None)
            raw.close()
            raise


def refused_address(host: str) -> StageError:
    """The failure of a host without a permitted address."""
    return StageError(
        Code.POLICY_ADDRESS,
        f"{host} has no public address",
        hint="if the address is meant, name its network in [download] allow_addresses",
    )


def _connect_error(host: str, family: socket.AddressFamily, error: OSError) -> StageError:
    number = error.errno or 0
    code = _LOCAL.get(number) or (_LOCAL_IPV4.get(number) if family == socket.AF_INET else None)
    if code is not None:
        return StageError(code, f"{kind_of(code).meaning}: {os.strerror(number)}", hint=kind_of(code).advice)
    if isinstance(error, ConnectionRefusedError):
        return StageError(Code.CONNECT, f"{host} refused the connection")
    return StageError(Code.CONNECT, f"no address of {host} can be reached")
