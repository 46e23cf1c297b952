"""The flight: what one worker has under way. Its clocks, its socket, its receive buffer, and how it dials."""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchproc.download.guard import AddressGuard
from batchproc.download.resolve import SocketAddress, resolver
from batchproc.download.settings import Settings
from batchproc.download.watchdog import Watch, watchdog
from batchproc.errors import Code, StageError
from batchproc.protocols import Lap

# Most images fit, so most bodies are received in place and copied once. Kept for the worker's life: fresh memory of
# this size costs more in page faults than the copy.
_INBOX_BYTES = 262_144
_MOST_ADDRESSES = 6
_LOCAL_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Flight:
    """One worker's requests, one at a time. Used by its own thread; `watch.abort` is for everybody.

    `inbox[start:end]` holds the bytes of the body that came together with the head.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watch = Watch(
            min(
                settings.connect_timeout_seconds,
                settings.first_byte_timeout_seconds,
                settings.total_timeout_seconds,
            )
        )
        self.inbox = memoryview(bytearray(_INBOX_BYTES))
        self.start = self.end = 0
        self.host = ""
        self._guard = AddressGuard(settings.allow_addresses)
        self._lap: Lap | None = None
        self._total_deadline = 0.0
        watchdog.add(self.watch)

    def close(self) -> None:
        """Ends the watch. Nothing can be sent afterwards."""
        watchdog.remove(self.watch)

    def begin(self, lap: Lap) -> None:
        """Starts the clock of one item, redirects included."""
        self._lap = lap
        self._total_deadline = time.monotonic() + self.settings.total_timeout_seconds
        self.watch.check()

    @contextmanager
    def errand(self) -> Iterator[None]:
        """Something that must be known first: the item's clock stands still meanwhile."""
        deadline, started = self._total_deadline, time.monotonic()
        try:
            yield
        finally:
            self.watch.disarm()
            self._total_deadline = deadline + time.monotonic() - started
            self.lap("first_byte")

    def restart(self, total_seconds: float) -> None:
        """Gives an errand its own total time, from now."""
        self._total_deadline = time.monotonic() + total_seconds

    def finish(self) -> None:
        """Ends the item's watch."""
        self.watch.disarm()
        self._lap = None

    def lap(self, part: str) -> None:
        """Books the time since the last lap under `part`."""
        if self._lap is not None:
            self._lap(part)

    def await_connection(self, raw: socket.socket, deadline: float) -> None:
        """Watches a connection that is being made."""
        self._arm(raw, deadline, Code.TIMEOUT_CONNECT)

    def await_head(self, connected: socket.socket) -> None:
        """Watches for the head of the reply."""
        self._arm(connected, time.monotonic() + self.settings.first_byte_timeout_seconds, Code.TIMEOUT_FIRST_BYTE)

    def await_body(self, connected: socket.socket) -> None:
        """Watches for the end of the body."""
        self.watch.arm(connected, self._total_deadline, Code.TIMEOUT_TOTAL)

    def _arm(self, guarded: socket.socket, deadline: float, code: Code) -> None:
        if deadline < self._total_deadline:
            self.watch.arm(guarded, deadline, code)
        else:
            self.watch.arm(guarded, self._total_deadline, Code.TIMEOUT_TOTAL)

    def dial(self, host: str, port: int) -> tuple[socket.socket, float]:
        """Connects to `host` within the connect budget: one look-up, only permitted addresses, each tried in turn.

        Returns the connected socket and the deadline (monotonic seconds) that TLS still has to meet.
        Raises `StageError`: `dns`, `policy.address`, `connect`, `timeout.connect`.
        """
        deadline = min(time.monotonic() + self.settings.connect_timeout_seconds, self._total_deadline)
        found = resolver.resolve(host, deadline, self.watch.check)
        self.lap("dns")
        permitted = [address for address in found if self._guard.permits(address[1][0])]
        if not permitted:
            raise refused_address(host)
        return self._dial_first(host, port, permitted[:_MOST_ADDRESSES], deadline), deadline

    def _dial_first(self, host: str, port: int, addresses: list[SocketAddress], deadline: float) -> socket.socket:
        failure = StageError(Code.CONNECT, f"no address of {host} can be reached")
        for index, address in enumerate(addresses):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                return self._connect(host, port, address, left / (len(addresses) - index), deadline)
            except TimeoutError:
                self.watch.check()
                failure = StageError(Code.TIMEOUT_CONNECT, f"{host} did not accept the connection in time")
            except OSError as error:
                self.watch.check()
                failure = _connect_error(host, error)
        raise failure

    def _connect(
        self, host: str, port: int, address: SocketAddress, timeout_seconds: float, deadline: float
    ) -> socket.socket:
        family, (ip, _, *scope) = address
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(timeout_seconds)
            self.await_connection(raw, deadline)
            raw.connect((ip, port, *scope))
            if not self._guard.permits(raw.getpeername()[0]):
                raise refused_address(host)
            return raw
        except BaseException:
            raw.close()
            raise


def refused_address(host: str) -> StageError:
    """The failure of a host without a permitted address."""
    return StageError(
        Code.POLICY_ADDRESS,
        f"{host} has no public address",
        hint="if the address is meant, name its network in [download] allow_addresses",
    )


def _connect_error(host: str, error: OSError) -> StageError:
    if error.errno in _LOCAL_LIMITS:
        return StageError(
            Code.CONNECT,
            "this system has no room for another connection",
            hint="raise the limit of open files, or lower [download] workers",
        )
    if isinstance(error, ConnectionRefusedError):
        return StageError(Code.CONNECT, f"{host} refused the connection")
    return StageError(Code.CONNECT, f"no address of {host} can be reached")
