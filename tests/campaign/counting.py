"""An image server that remembers every request: it tells how often a killed job asks again, not the job itself."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from batchproc.origin.pictures import make_pictures

PICTURES = 24  # that many different ones, over and over


class CountingServer(ThreadingHTTPServer):
    """Serves `paths`, 404 for all else. `asked` grows by each request's path; reading it is safe at any time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, images: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []  # list.append is atomic
        self.paths: Sequence[str] = [f"/img/{number:04d}.jpg" for number in range(images)]
        self._pictures = make_pictures(PICTURES, 7, workers=1)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def content(self, path: str) -> bytes | None:
        number = path.removeprefix("/img/").removesuffix(".jpg")
        return self._pictures[int(number) % PICTURES] if number.isdecimal() else None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of a reply is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: CountingServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.content(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def counting_server(images: int) -> Iterator[CountingServer]:
    """A server for the length of a `with` block."""
    with CountingServer(images) as server:
        thread = threading.Thread(target=server.serve_forever, name="counting-server")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
