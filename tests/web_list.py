"""A web server with one list."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

CONTENT = b"http://a.com/0\n"


class WebServer(ThreadingHTTPServer):
    daemon_threads = True
    content: bytes = CONTENT
    etag = '"1"'
    status = 200
    cut = 0
    trickles = ""  # what never ends: the head or the body

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[int] = []
        self.is_left = Event()  # whoever asked has hung up
        self.is_ending = Event()


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        server = self.server
        status = 304 if self.headers.get("If-None-Match") == server.etag else server.status
        server.replies.append(status)
        self.send_response(status)
        self.send_header("ETag", server.etag)
        size = 1 << 40 if server.trickles else len(server.content)
        self.send_header("Content-Length", str(size if status == 200 else 0))
        if server.trickles != "head":
            self.end_headers()
        self.wfile.flush()
        if server.trickles:
            self._trickle()
        elif status == 200:
            self.wfile.write(server.content[: len(server.content) - server.cut])

    def _trickle(self) -> None:
        try:
            while not self.server.is_ending.wait(0.01):
                self.wfile.write(b"x")
        except OSError:
            self.server.is_left.set()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.is_ending.set()
    server.shutdown()
    thread.join()
    server.server_close()


def address(web: WebServer) -> str:
    return f"http://127.0.0.1:{web.server_address[1]}/lists/new.txt?sig=SECRET"
