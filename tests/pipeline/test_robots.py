"""robots.txt in whole runs: asked for once per origin, whatever the mode and whoever reads it."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from batchproc.errors import ExitCode
from tests.download.scripted import Peer, Server

from .test_connections import job, picture
from .test_modes import MODES, run

RULES = b"User-agent: *\nDisallow: /private"


class Site:
    """A server of pictures whose robots.txt is refused so many times first."""

    def __init__(self, refusals: int = 0) -> None:
        self._picture = picture()
        self._refusals = refusals
        self._lock = threading.Lock()
        self.readings = 0

    def __call__(self, peer: Peer) -> None:
        while head := peer.read_request():
            if not head.startswith(b"GET /robots.txt "):
                peer.reply(self._picture)
                continue
            with self._lock:
                self.readings += 1
            self.give_rules(peer)

    def give_rules(self, peer: Peer) -> None:
        if self.readings > self._refusals:
            peer.reply(RULES)
        else:
            peer.reply(b"", "503 Busy")


class Killer(Site):
    """Kills the first one who asks for its robots.txt."""

    def give_rules(self, peer: Peer) -> None:
        if self.readings > 1:
            peer.reply(RULES)
            return
        port = peer.raw.getpeername()[1]
        for process in psutil.Process().children(recursive=True):
            if any(each.laddr.port == port for each in process.net_connections()):
                os.kill(process.pid, signal.SIGKILL)


def overrides(mode: str) -> tuple[str, ...]:
    return (f"download.mode={mode}", "download.workers=4", "download.per_host=4")


def urls(server: Server, allowed: int = 12) -> list[str]:
    return [server.url("/private/a.jpg"), *(server.url(f"/{number}.jpg") for number in range(allowed))]


@pytest.mark.parametrize("mode", MODES)
def test_a_robots_txt_is_read_once_per_origin_for_all_workers(tmp_path: Path, mode: str) -> None:
    sites = [Site(), Site()]
    with Server(sites[0]) as one, Server(sites[1]) as other:
        facts = run(job(tmp_path, urls(one) + urls(other)), *overrides(mode)).facts

    assert [1, 1] == [site.readings for site in sites]
    assert (24, {"policy.robots": 2}) == (facts["counts"]["done"], facts["failures"])
    assert ["ballast"] == [path.name for path in (tmp_path / "out/.tmp").iterdir()]


def test_a_refused_robots_txt_is_asked_for_again_once_for_all_workers(tmp_path: Path) -> None:
    site = Site(refusals=1)
    with Server(site) as server:
        facts = run(job(tmp_path, urls(server, allowed=4)), *overrides("process")).facts

    assert 2 == site.readings
    assert (4, {"policy.robots": 1}) == (facts["counts"]["done"], facts["failures"])


def test_a_worker_that_is_killed_while_it_reads_robots_txt_holds_nobody_up(tmp_path: Path) -> None:
    site = Killer()
    with Server(site) as server:
        result = run(job(tmp_path, urls(server)), *overrides("process"))

    assert ExitCode.DONE == result.exit_code
    assert 2 == site.readings
    assert 13 == sum(result.facts["counts"][state] for state in ("done", "failed", "quarantined"))
    assert 11 <= result.facts["counts"]["done"]
