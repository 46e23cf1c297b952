"""The transport is an adapter of `requests`: a session may mount it, and gets its guard and its limits with it."""

from collections.abc import Iterator

import pytest
import requests

from batchproc.download.pool import Pool
from batchproc.download.settings import Settings
from batchproc.download.transport import Transport
from batchproc.errors import StageError
from tests.download.conftest import Open, fetch
from tests.download.scripted import JPEG, Peer, Server, always


@pytest.fixture
def session() -> Iterator[requests.Session]:
    pool = Pool(per_host=lambda origin: 2, most=4)
    with requests.Session() as session:
        session.mount("http://", Transport(Settings(allow_addresses=("127.0.0.1/32",)), pool))
        yield session
    pool.close()


@pytest.mark.parametrize("size", [0, 1, 262_144, 1_000_000], ids=str)
def test_a_session_reads_bodies_of_every_size(session: requests.Session, size: int) -> None:
    body = bytes(size)
    with Server(always(body, "200 OK", "Content-Type: image/jpeg")) as server:
        replies = [session.get(server.url("/a?b=1"), headers={"X-Own": "1"}) for _ in range(2)]
        connections = server.connections

    assert [(200, body, "image/jpeg")] * 2 == [(r.status_code, r.content, r.headers["content-type"]) for r in replies]
    assert server.requests[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    assert b"X-Own: 1\r\n" in server.requests[0]
    assert 1 == connections


def test_a_session_follows_redirects(session: requests.Session) -> None:
    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            peer.reply(JPEG) if b"/b" in head else peer.reply(b"", "302 Found", "Location: /b")

    with Server(handle) as server:
        assert JPEG == session.get(server.url("/a")).content


def test_a_session_is_kept_from_private_addresses(session: requests.Session) -> None:
    with pytest.raises(StageError, match="no public address"):
        session.get("http://127.0.0.2:9999/a")


def test_cookies_are_not_kept(opened: Open) -> None:
    with Server(always(JPEG, "200 OK", "Set-Cookie: a=1")) as server:
        work = opened()
        fetch(work, server.url())
        fetch(work, server.url())

    assert b"cookie" not in server.requests[1].lower()
