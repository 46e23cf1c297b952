"""One exchange after the other: bodies of every size, what is asked, and what is not kept."""

import pytest

from tests.download.conftest import Open, fetch
from tests.download.scripted import JPEG, Server, always


@pytest.mark.parametrize("size", [1, 262_144, 1_000_000], ids=str)
def test_bodies_of_every_size_come_over_one_connection(opened: Open, size: int) -> None:
    body = bytes(size)
    with Server(always(body, "200 OK", "Content-Type: image/jpeg")) as server:
        work = opened(headers=(("X-Own", "1"),))
        originals = [fetch(work, server.url("/a?b=1")) for _ in range(2)]
        connections = server.connections

    assert [(body, "image/jpeg")] * 2 == [(each.content, each.reply.content_type) for each in originals]
    assert server.requests[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    assert b"X-Own: 1\r\n" in server.requests[0]
    assert 1 == connections


def test_cookies_are_not_kept(opened: Open) -> None:
    with Server(always(JPEG, "200 OK", "Set-Cookie: a=1")) as server:
        work = opened()
        fetch(work, server.url())
        fetch(work, server.url())

    assert b"cookie" not in server.requests[1].lower()
