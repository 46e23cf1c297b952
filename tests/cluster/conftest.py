"""Servers at several addresses of this machine, and jobs that are shared out over them."""

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from batchproc.cluster.part_process import end_idle_processes
from batchproc.job_file import Job, load

HOSTS = 5

CONFIG = """
[job]
name = "shared"
input = "list.csv"
output = "out"
max_failed_ratio = 1.0

[download]
workers = 4
per_host = 2
retries = 0
robots = "ignore"
allow_addresses = ["127.0.0.0/8"]

[transform]
mode = "thread"
workers = 1

[[transform.steps]]
op = "resize"
size = [16, 16]

[report]
html = false
sampling = false
"""
CLUSTER = """
[cluster]
scheduler = "tcp://127.0.0.1:1"
shard_urls = 10
"""


class Site(ThreadingHTTPServer):
    """Serves a picture of its own for every path; those below /missing are not there, those below /slow wait."""

    daemon_threads = True

    def __init__(self, host: str, slow_asked: threading.Event, let_go: threading.Event) -> None:
        super().__init__((host, 0), _Handler)
        self.slow_asked = slow_asked
        self.let_go = let_go
        self.asked: Counter[str] = Counter()
        self.found_again = False  # what is below /missing

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""

    @property
    def base(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"  # type: ignore[str-bytes-safe]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        if self.path.startswith("/slow"):
            self.server.slow_asked.set()
            self.server.let_go.wait(30)
        found = self.server.found_again or not self.path.startswith("/missing")
        body = drawn(self.path) if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


def drawn(path: str) -> bytes:
    """A PNG whose colour depends on the path."""
    colour = tuple(hashlib.sha256(path.encode()).digest()[:3])
    file = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def no_process_waits_for_a_part() -> Iterator[None]:
    """A worker keeps its processes; these tests are several workers."""
    yield
    end_idle_processes()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Until this is set, slow replies wait."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def slow_asked() -> threading.Event:
    """Set when the first slow picture is asked for, at any site."""
    return threading.Event()


@pytest.fixture
def sites(slow_asked: threading.Event, let_go: threading.Event) -> Iterator[list[Site]]:
    """A server at each of five addresses of this machine."""
    with ExitStack() as stack:
        found = []
        for number in range(HOSTS):
            site = Site(f"127.0.0.{number + 1}", slow_asked, let_go)
            stack.callback(site.server_close)
            stack.callback(site.shutdown)
            threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            found.append(site)
        yield found


MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path, sites: list[Site]) -> MakeJob:
    """A job over all sites: `images` at each, the first of them slow or missing where that is asked for."""

    def make(
        *, images: int = 8, slow: int = 0, missing: int = 0, cluster: str = CLUSTER, more: str = "", output: str = "",
        settings: Sequence[str] = (),
    ) -> Job:  # fmt: skip
        lines = ["url,caption"]
        for number in range(images):
            kind = "slow" if number < slow else "missing" if number < slow + missing else "image"
            lines += [f"{site.base}/{kind}/{number},{kind} {number}" for site in sites]
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
        config = tmp_path / "job.toml"
        config.write_text(CONFIG + cluster + more)
        return load(config, settings=settings, output=output or None)

    return make
