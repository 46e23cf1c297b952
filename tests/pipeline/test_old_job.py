"""A job that an earlier version of batchproc made goes on: nothing is fetched again, nothing is counted otherwise."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from tests.ledger.old_ledger import write_old_ledger

from .test_job import rows
from .test_journal import events
from .test_modes import run

CONFIG = """
[job]
name = "old"
input = "list.csv"
output = "out"
base_url = "{base_url}"
max_failed_ratio = 1.0

[download]
retries = 0
allow_addresses = ["127.0.0.0/8"]

[transform]
mode = "serial"

[[transform.steps]]
op = "min_size"
width = 32
height = 32

[[transform.steps]]
op = "resize"
size = [48, 48]

[[transform.steps]]
op = "old_steps:invert"

[report]
html = false
"""
STEP = """
from PIL import ImageOps

def invert(image):
    return ImageOps.invert(image)
"""
LIST = """\
url,label
a.png,cat
b.png,dog
tiny.png,fly
missing.png,owl
ill.png,bat
text.png,ape
http://,eel
"""


class Site(ThreadingHTTPServer):
    """A server on which everything is ill tonight. It notes what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        if self.path != "/robots.txt":
            self.server.asked.append(self.path)
        self.send_response(404 if self.path == "/robots.txt" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, site: Site) -> Path:
    base_url = f"http://127.0.0.1:{site.server_port}/"
    (tmp_path / "out").mkdir()
    write_old_ledger(tmp_path / "out", base_url)
    (tmp_path / "old_steps.py").write_text(STEP)
    (tmp_path / "list.csv").write_text(LIST)
    path = tmp_path / "job.toml"
    path.write_text(CONFIG.format(base_url=base_url))
    return path


def test_only_what_was_due_is_asked_for_and_the_counts_are_the_same(config: Path, site: Site, tmp_path: Path) -> None:
    result = run(config)

    assert ExitCode.DONE == result.exit_code
    assert ["/ill.png"] == site.asked
    counts = result.facts["counts"]
    assert (7, 2, 1, 4, 1, 1) == (
        counts["items"], counts["done"], counts["rejected"], counts["failed"], counts["absent"], counts["bad_rows"],
    )  # fmt: skip
    assert ["cat", "dog"] == [row["label"] for row in rows(tmp_path / "out/metadata.jsonl")]
    assert 1 == events(tmp_path / "out")["ledger.migrated"]["from_version"]
    assert not (tmp_path / "out/batchproc.db.v1").exists()
