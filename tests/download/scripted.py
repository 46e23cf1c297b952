"""A server that does exactly what a test tells it to: one handler per connection, on a real loopback socket."""

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 8
Handler = Callable[["Peer"], None]


class Peer:
    """The server's side of one connection."""

    def __init__(self, raw: socket.socket, number: int, requests: list[bytes], quitting: threading.Event) -> None:
        self.raw = raw
        self.number = number  # of the connection, from 0
        self.quitting = quitting
        self._requests = requests

    def read_request(self) -> bytes:
        """The next head, or b"" when the client has closed."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octets = self.raw.recv(65536)
            if not octets:
                return b""
            head += octets
        self._requests.append(head)
        return head

    def send(self, *pieces: bytes) -> None:
        """Sends in one go."""
        self.raw.sendall(b"".join(pieces))

    def reply(self, body: bytes = JPEG, status: str = "200 OK", *fields: str) -> None:
        """A whole reply with its length."""
        lines = "".join(f"{field}\r\n" for field in fields)
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1"), body)

    def wait_for_close(self) -> None:
        """Blocks until the client closes, or shuts down, its side."""
        while self.raw.recv(65536):
            pass

    def trickle(self, octets: bytes, seconds: float = 0.02) -> None:
        """Sends `octets` again and again, some every few milliseconds, until the client has had enough."""
        while not self.quitting.wait(seconds):
            self.send(octets)


class Server:
    """Runs `handler` for every connection in a thread of its own, and ends them all with its `with` block."""

    def __init__(self, handler: Handler) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._handler = handler
        self._quitting = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self.errors: queue.Queue[BaseException] = queue.Queue()
        self._acceptor = threading.Thread(target=self._accept)

    def url(self, path: str = "/a.jpg") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quitting.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for peer in self._peers:
            with suppress(OSError):  # it has closed by itself
                socket.socket.shutdown(peer.raw, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        if error is None and not self.errors.empty():
            raise self.errors.get()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(raw, self.connections, self.requests, self._quitting)
            self._peers.append(peer)
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(peer,)))
            self._threads[-1].start()

    def _serve(self, peer: Peer) -> None:
        with peer.raw:
            try:
                self._handler(peer)
            except OSError:
                return  # the client has left, which many a test wants to see
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                self.errors.put(error)


def always(body: bytes = JPEG, status: str = "200 OK", *fields: str) -> Handler:
    """Answers every request of a connection alike."""

    def handle(peer: Peer) -> None:
        while peer.read_request():
            peer.reply(body, status, *fields)

    return handle


def once(octets: bytes) -> Handler:
    """Answers the first request with these bytes and closes."""

    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.send(octets)

    return handle


def silent_after(octets: bytes) -> Handler:
    """Sends these bytes after the first request, then nothing."""

    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.send(octets)
        peer.wait_for_close()

    return handle
