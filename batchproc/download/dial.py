"""Dialling: from a host's name to a connected socket, only to permitted addresses, within one deadline."""

import errno
import os
import socket
import time

from batchproc.download.deadline import Deadline, Interrupt
from batchproc.download.guard import AddressGuard
from batchproc.download.resolve import SocketAddress, resolver
from batchproc.errors import Code, StageError
from batchproc.kinds import kind_of
from batchproc.protocols import Lap

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

    def __init__(self, guard: AddressGuard, interrupt: Interrupt) -> None:
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
