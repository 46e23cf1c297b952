"""A server that leaves requests unanswered: others go on, and the record still adds up."""

import math
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .site import picture, serving
from .test_modes import run

CONFIG = """
[job]
name = "silent"
input = "list.txt"
output = "out"
max_failed_ratio = 1.0

[download]
workers = 4
per_host = 64
retries = 0
first_byte_timeout = "1s"
robots = "ignore"
allow_addresses = ["127.0.0.0/8"]

[report]
html = false
"""


class SilentServer(ThreadingHTTPServer):
    """Answers, but for paths that begin with /silent: those when it is told to end. `/to?URL` sends on to a URL."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ended = threading.Event()
        self.picture = picture("red")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SilentServer

    def do_GET(self) -> None:
        if self.path.startswith("/silent"):
            self.server.ended.wait(20)
            self.close_connection = True
            return
        place, _, target = self.path.partition("?")
        self.send_response(302 if place == "/to" else 200)
        if place == "/to":
            self.send_header("Location", target)
        self.send_header("Content-Length", str(len(self.server.picture)))
        self.end_headers()
        self.wfile.write(self.server.picture)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hosts():
    """Four servers, as a host that is silent too often is paused."""
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(SilentServer())) for _ in range(4)]
        yield [f"http://127.0.0.1:{server.server_address[1]}" for server in servers]
        for server in servers:
            server.ended.set()


def test_the_time_of_spares_that_went_on_adds_up(hosts: list[str], tmp_path: Path) -> None:
    silent = [f"{hosts[0]}/to?{host}/silent" for host in hosts[1:]]  # behind the good ones of the same host
    good = [f"{hosts[0]}/{number}.png" for number in range(12)]
    (tmp_path / "list.txt").write_text("\n".join([*good, *silent]))  # what is usual is known by then
    (tmp_path / "job.toml").write_text(CONFIG)

    result = run(tmp_path / "job.toml", 'transform.mode="serial"')

    download = result.record.stages["download"]
    assert (12, 3) == (result.counts.done, result.counts.failed)
    assert 1 <= download.spare_workers <= 4
    assert math.isclose(download.whole_seconds, math.fsum(download.account.values()), rel_tol=1e-6)
    # A spare that rests is no worker: only what went on beside the others is added.
    assert download.spare_seconds <= download.spare_workers * download.wall_seconds
