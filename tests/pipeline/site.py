"""A small site of pictures with validators, which notes what it answers."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from PIL import Image

S = TypeVar("S", bound=ThreadingHTTPServer)

PATHS = ["/a.png", "/b.png", "/c.png"]


@contextmanager
def serving(server: S) -> Iterator[S]:
    """The server at work, in a thread of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def picture(colour: str, size: int = 100) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "PNG")
    return file.getvalue()


class Site(ThreadingHTTPServer):
    """Pictures with validators. `status` overrules what a path answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pictures = dict.fromkeys(PATHS, picture("red"))
        self.status: dict[str, int] = {}
        self.has_validators = True
        self.knows_dates_alone = False  # no ETag, and whatever date it is asked with, nothing has changed since
        self.answered: list[tuple[str, int]] = []
        self.cache_control: list[str | None] = []  # as asked with
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        site = self.server
        content = site.pictures.get(self.path, b"")
        etag = f'"{hash(content)}"' if site.has_validators and not site.knows_dates_alone else ""
        known = etag and self.headers.get("If-None-Match") == etag
        known = known or (site.knows_dates_alone and self.headers.get("If-Modified-Since"))
        status = site.status.get(self.path, (304 if known else 200) if content else 404)
        site.answered.append((self.path, status))
        site.cache_control.append(self.headers.get("Cache-Control"))
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        elif site.knows_dates_alone:
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        body = content if status == 200 else b""
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
