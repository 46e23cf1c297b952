"""An object store on loopback with what S3 promises of single objects, as conditional writes, and with its faults."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread

import pytest

BUCKET = "bkt"


class StoreServer(ThreadingHTTPServer):
    """The store. `faults` are taken one by one by the requests that come; a request without one is served."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.queries: list[str] = []
        self.uploads: dict[str, dict[int, bytes]] = {}  # objects that are sent in parts, by upload
        self.lock = Lock()
        self.is_silent = False  # takes requests and does not answer
        self.ended = Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StoreServer

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        store, (path, _, query) = self.server, self.path.partition("?")
        if store.is_silent:
            store.ended.wait()
            return None
        name, self.shown = path.removeprefix(f"/{BUCKET}/"), b""
        with store.lock:
            store.requests.append(f"{self.command} {name}")
            store.queries.append(query)
            fault = store.faults.pop(0) if store.faults else ""
            if fault.isdigit():
                return self._answer(int(fault))
            if fault == "changed":
                store.objects[name] = b"of another writer"
            in_parts = "uploads" in query or "uploadId" in query
            status = self._take_part(name, query, body) if in_parts else self._work(name, body)
        if fault == "lost":  # after the work is done
            self.close_connection = True
            return None
        return self._answer(status, store.objects.get(name, b""))

    def _take_part(self, name: str, query: str, body: bytes) -> int:
        """A request of an upload in parts, which is an object once it is complete."""
        uploads = self.server.uploads
        upload = dict(part.partition("=")[::2] for part in query.split("&"))
        number = upload.get("uploadId", str(len(uploads)))
        if self.command == "PUT":
            uploads[number][int(upload["partNumber"])] = body
        elif self.command == "DELETE":
            uploads.pop(number, None)
        elif "uploads" in upload:
            uploads[number] = {}
            self.shown = b"<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>" % (
                number.encode()
            )
        else:
            parts = uploads[number]
            self.server.objects[name] = b"".join(parts[part] for part in sorted(parts))
            self.shown = b"<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>" % (
                _etag(self.server.objects[name]).encode()
            )
        return 200

    def _work(self, name: str, body: bytes) -> int:
        objects, standing = self.server.objects, self.server.objects.get(name)
        if self.command == "PUT":
            wanted = self.headers.get("If-Match")
            if self.headers.get("If-None-Match") and standing is not None:
                return 412
            if wanted is not None and (standing is None or wanted != _etag(standing)):
                return 412
            objects[name] = body
            return 200
        if self.command == "POST":  # the removal of several
            for key in re.findall(b"<Key>(.*?)</Key>", body):
                objects.pop(key.decode(), None)
            self.removed = re.findall(b"<Key>.*?</Key>", body)
            return 200
        if standing is not None and self.headers.get("If-Match", _etag(standing)) != _etag(standing):
            return 412
        return 404 if standing is None else 200

    def _answer(self, status: int, content: bytes = b"") -> None:
        shown = content if status == 200 and self.command == "GET" else b""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if shown and wanted:
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            status, shown = 206, content[first : last + 1]
        if self.shown:
            shown = self.shown
        elif self.command == "POST":
            shown = b"<DeleteResult>%s</DeleteResult>" % b"".join(
                b"<Deleted>%s</Deleted>" % key for key in self.removed
            )
        size = len(content) if status == 200 and self.command == "HEAD" else len(shown)
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", _etag(content))
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        self.wfile.write(shown)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@contextmanager
def serve_store() -> Iterator[StoreServer]:
    """A store while the block lasts."""
    server = StoreServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    """A store, and the environment that leads to it."""
    with serve_store() as server:
        for name, value in credentials(server.endpoint).items():
            monkeypatch.setenv(name, value)
        yield server


def credentials(endpoint: str) -> dict[str, str]:
    """The environment of a program that is to use this store."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
    }
