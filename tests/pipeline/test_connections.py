"""How many connections a whole run has to a host, counted on the server: at most `per_host`, redirects included."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from batchproc.errors import ExitCode
from tests.download.scripted import Peer, Server
from tests.jobs import CONFIG
from tests.pipeline.test_modes import MODES, run

PER_HOST = 3


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 80), (200, 60, 30)).save(file, "JPEG")
    return file.getvalue()


class Host:
    """A server of pictures that counts its connections, from acceptance until their end was seen."""

    def __init__(self, redirect_to: str = "") -> None:
        self._picture = picture()
        self._redirect_to = redirect_to
        self._lock = threading.Lock()
        self.open = self.most = 0

    def __call__(self, peer: Peer) -> None:
        with self._lock:
            self.open += 1
            self.most = max(self.most, self.open)
        while head := peer.read_request():
            if b"/robots.txt" in head:
                peer.reply(b"", "404 Not Found")
            elif self._redirect_to:
                path = head.split(b" ")[1].decode()
                peer.reply(b"", "302 Found", f"Location: {self._redirect_to}{path}")
            else:
                peer.reply(self._picture)
        with self._lock:
            self.open -= 1


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def job(tmp_path: Path, urls: list[str]) -> Path:
    (tmp_path / "list.txt").write_text("\n".join(urls) + "\n")
    config = tmp_path / "job.toml"
    config.write_text(CONFIG.format(base_url="", transform='mode = "serial"'))
    return config


def overrides(mode: str) -> tuple[str, ...]:
    return (f"download.mode={mode}", "download.workers=8", f"download.per_host={PER_HOST}")


@pytest.mark.parametrize("mode", MODES)
def test_a_host_never_has_more_connections_than_allowed(tmp_path: Path, stack: ExitStack, mode: str) -> None:
    hosts = [Host(), Host()]
    servers = [stack.enter_context(Server(host)) for host in hosts]
    urls = [server.url(f"/{number}.jpg") for number in range(30) for server in servers]

    result = run(job(tmp_path, urls), *overrides(mode))

    assert (ExitCode.DONE, 60) == (result.exit_code, result.facts["counts"]["done"])
    assert all(host.most <= PER_HOST for host in hosts)
    told = result.facts["stages"]["download"]["connections"]
    assert sum(server.connections for server in servers) == told["opened"]
    assert 62 - told["opened"] <= told["reused"]  # a robots.txt for each host, once per process
    assert {server.url("").removeprefix("http://").strip("/") for server in servers} == {
        row["host"] for row in told["hosts"]
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_target_of_redirects_never_has_more_either(tmp_path: Path, stack: ExitStack, mode: str) -> None:
    target = Host()
    server = stack.enter_context(Server(target))
    leading = [stack.enter_context(Server(Host(server.url("").removesuffix("/")))) for _ in range(4)]
    urls = [one.url(f"/{n}-{number}.jpg") for number in range(12) for n, one in enumerate([*leading, server])]

    result = run(job(tmp_path, urls), *overrides(mode))

    assert (ExitCode.DONE, 60) == (result.exit_code, result.facts["counts"]["done"])
    assert target.most <= PER_HOST


def test_a_low_limit_of_open_files_means_fewer_connections_and_no_failure(tmp_path: Path, stack: ExitStack) -> None:
    servers = [stack.enter_context(Server(Host())) for _ in range(12)]
    config = job(tmp_path, [server.url(f"/{number}.jpg") for number in range(10) for server in servers])
    command = [sys.executable, "-m", "batchproc", "run", config, "--set", "download.workers=64", "--json"]

    ended = subprocess.run(
        ["bash", "-c", 'ulimit -n 70; exec "$@"', "bash", *command], capture_output=True, text=True, check=False
    )

    assert 0 == ended.returncode, ended.stderr
    assert "the limit of open files, 70, allows" in ended.stderr
    facts = json.loads(ended.stdout)
    assert (120, 0) == (facts["counts"]["done"], facts["hosts"]["local_trouble"]["pauses"])


@pytest.mark.parametrize("mode", MODES)
def test_hosts_that_redirect_to_each_other_do_not_block_each_other(
    tmp_path: Path, stack: ExitStack, mode: str
) -> None:
    class Mirror(Host):
        """Sends every other picture's reader across the road."""

        other = ""

        def __call__(self, peer: Peer) -> None:
            while head := peer.read_request():
                path = head.split(b" ")[1].decode()
                if path.startswith("/there"):
                    peer.reply(b"", "302 Found", f"Location: {self.other}/here{path}")
                else:
                    peer.reply(picture())

    mirrors = [Mirror(), Mirror()]
    servers = [stack.enter_context(Server(mirror)) for mirror in mirrors]
    mirrors[0].other, mirrors[1].other = servers[1].url(""), servers[0].url("")
    urls = [server.url(f"/there{number}.jpg") for number in range(15) for server in servers]

    result = run(job(tmp_path, urls), *overrides(mode), "download.per_host=1", 'download.robots="ignore"')

    assert (ExitCode.DONE, 30) == (result.exit_code, result.facts["counts"]["done"])
