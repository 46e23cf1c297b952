"""An image server that is another one every night: pictures change, some are broken, some nights it is ill or away."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from batchproc.origin.pictures import make_pictures

PICTURES = 24  # that many different ones, over and over
ROUND = 80  # of so many pictures in a row each fault below has one
NOT_FOUND, ERROR, CUT_OFF, PAGE, TINY = 3, 17, 31, 59, 71
TINY_GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90400000000002c00000000010001000002024401003b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the server saw it."""

    path: str
    moment: float  # Unix time
    status_code: int


class ChangingServer:
    """Serves `/img/<number>.jpg` with an ETag per version. Its port stays the same when it goes away and comes back.

    The attributes are changed between the runs alone; `asked` grows during them, and may be read at any time.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []  # list.append is atomic
        self.versions: dict[int, int] = {}  # of those that have changed
        self.ill: frozenset[int] = frozenset()  # tonight these answer 500
        self.latency_seconds = 0.0
        self._pictures = make_pictures(PICTURES, 7, workers=1)
        self._server: _Server | None = None
        self.port = 0

    def rise(self) -> None:
        """Begins to serve."""
        self._server = _Server(self)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="changing-server")
        self._thread.start()

    def fall(self) -> None:
        """Refuses connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port}{path_of(number)}"

    def etag(self, number: int) -> str:
        return f'"{number}-{self.versions.get(number, 0)}"'

    def content(self, number: int) -> bytes:
        """What a picture is now."""
        return self._pictures[(number + 5 * self.versions.get(number, 0)) % PICTURES]

    def answer(self, number: int, known_etag: str) -> tuple[int, bytes]:
        """Status code and body, 304 for who has it already."""
        fault = number % ROUND
        if number in self.ill or fault == ERROR:
            return 500, b"tonight I am not well"
        if fault == NOT_FOUND:
            return 404, b"no such picture"
        if fault == PAGE:
            return 200, b"<!doctype html><title>please log in</title>"
        if fault == TINY:
            return 200, TINY_GIF
        return (304, b"") if known_etag == self.etag(number) else (200, self.content(number))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, shelf: ChangingServer) -> None:
        self.shelf = shelf
        super().__init__(("127.0.0.1", shelf.port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of a reply is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        shelf, number = self.server.shelf, number_of(self.path)
        time.sleep(shelf.latency_seconds)
        status_code, body = (404, b"") if number < 0 else shelf.answer(number, self.headers.get("If-None-Match", ""))
        shelf.asked.append(Asked(path=self.path, moment=time.time(), status_code=status_code))
        self.send_response(status_code)
        if status_code in (200, 304) and number >= 0:
            self.send_header("ETag", shelf.etag(number))
        if status_code != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if number % ROUND == CUT_OFF and status_code == 200:
            body, self.close_connection = body[: len(body) // 2], True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def path_of(number: int) -> str:
    return f"/img/{number:05d}.jpg"


def number_of(url: str) -> int:
    """The number of a picture's URL or path; -1 for any other."""
    with suppress(ValueError):
        return int(url.rpartition("/img/")[2].removesuffix(".jpg"))
    return -1


@contextmanager
def changing_server() -> Iterator[ChangingServer]:
    """A server for the length of a `with` block."""
    server = ChangingServer()
    server.rise()
    try:
        yield server
    finally:
        server.fall()
