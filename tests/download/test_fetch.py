"""The download stage against a real server on loopback: what arrives, what is sent, what is kept alive."""

import gzip
import pickle
import threading
import zlib

import pytest

from batchproc.download.fetch import Download
from batchproc.model import Moved, Reply
from tests.download.conftest import Counts, Open, failure, fetch, item
from tests.download.scripted import JPEG, Peer, Server, always, once

OK = b"HTTP/1.1 200 OK\r\n"


def test_an_image_arrives_with_the_facts_of_its_reply(opened: Open) -> None:
    handler = always(JPEG, "200 OK", "Content-Type: image/jpeg", 'ETag: "1"', "Last-Modified: today")
    with Server(handler) as server:
        original = fetch(opened(), server.url("/a.jpg?q=1"), attempt=2)

    assert JPEG == original.content
    assert original.reply == Reply(
        status_code=200,
        content_type="image/jpeg",
        etag='"1"',
        last_modified="today",
        final_url=server.url("/a.jpg?q=1"),
        attempts=2,
    )


def test_the_request_says_who_asks_and_for_what(opened: Open) -> None:
    with Server(always()) as server:
        work = opened(user_agent="batchproc/9", headers=(("X-Key", "1"),))
        fetch(work, server.url("/a%20b.jpg?q=1#part"))

    lines = server.requests[0].decode().split("\r\n")
    assert "GET /a%20b.jpg?q=1 HTTP/1.1" == lines[0]
    assert {
        f"Host: 127.0.0.1:{server.port}", "User-Agent: batchproc/9", "Accept-Encoding: identity", "X-Key: 1",
    } <= set(lines)  # fmt: skip


@pytest.mark.parametrize("size", [1, 511, 262_144, 262_500, 1_000_000], ids=str)
def test_bodies_of_every_size_arrive_whole(opened: Open, size: int) -> None:
    body = (JPEG * (size // len(JPEG) + 1))[:size]
    with Server(always(body)) as server:
        assert body == fetch(opened(), server.url()).content


@pytest.mark.parametrize("cut", [1, 7, 300])
def test_a_chunked_body_arrives_whole(opened: Open, cut: int) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (JPEG[i : i + cut] for i in range(0, len(JPEG), cut)))

    def handle(peer: Peer) -> None:
        while peer.read_request():
            peer.send(OK, b"Transfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")

    with Server(handle) as server:
        work = opened()
        assert [JPEG, JPEG] == [fetch(work, server.url()).content for _ in range(2)]
        assert 1 == server.connections


def test_a_body_may_end_with_its_connection(opened: Open) -> None:
    with Server(once(b"HTTP/1.0 200 OK\r\n\r\n" + JPEG)) as server:
        assert JPEG == fetch(opened(), server.url()).content


def test_interim_replies_and_bare_line_feeds_are_read_over(opened: Open) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    with Server(once(hints + b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(JPEG) + JPEG)) as server:
        assert JPEG == fetch(opened(), server.url()).content


def test_one_connection_serves_many_items(opened: Open) -> None:
    with Server(always()) as server:
        work = opened()
        for number in range(5):
            fetch(work, server.url(f"/{number}"))

        assert (1, 5) == (server.connections, len(server.requests))


def test_a_refusal_that_is_here_already_keeps_the_connection(opened: Open) -> None:
    with Server(always(b"<html>no</html>", "404 Not Found")) as server:
        work = opened()
        assert ["http.404"] * 3 == [failure(work, server.url()).code for _ in range(3)]
        assert 1 == server.connections


def test_a_chunked_refusal_that_is_here_already_keeps_the_connection_too(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while peer.read_request():
            peer.send(b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")

    with Server(handle) as server:
        work = opened()
        assert ["http.404"] * 3 == [failure(work, server.url()).code for _ in range(3)]
        assert 1 == server.connections


def test_a_kept_connection_that_was_closed_is_replaced_unnoticed(opened: Open) -> None:
    closing = threading.Event()

    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.reply()
        if peer.number == 0:  # wait for the next request, then hang up on it
            peer.read_request()
            closing.set()
        else:
            peer.wait_for_close()

    with Server(handle) as server:
        work = opened()
        assert [JPEG, JPEG] == [fetch(work, server.url()).content for _ in range(2)]
        assert closing.is_set()
        assert 2 == server.connections


def test_bytes_after_the_body_end_the_connection(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while peer.read_request():
            peer.send(OK, b"Content-Length: %d\r\n\r\n" % len(JPEG), JPEG, b"surplus")

    with Server(handle) as server:
        work = opened()
        assert [JPEG, JPEG] == [fetch(work, server.url()).content for _ in range(2)]
        assert 2 == server.connections


@pytest.mark.parametrize(
    ("label", "body"),
    [
        pytest.param("gzip", gzip.compress(JPEG), id="gzip"),
        pytest.param("X-GZIP", gzip.compress(JPEG), id="x-gzip"),
        pytest.param("deflate", zlib.compress(JPEG), id="deflate"),
        pytest.param("deflate", zlib.compress(JPEG)[2:-4], id="deflate-without-wrapper"),
        pytest.param("gzip", JPEG, id="not-coded-at-all"),
    ],
)
def test_a_coding_that_was_not_asked_for_is_undone(opened: Open, label: str, body: bytes) -> None:
    with Server(always(body, "200 OK", f"Content-Encoding: {label}")) as server:
        assert JPEG == fetch(opened(), server.url()).content


def test_noai_is_ignored_when_robots_are_not_honoured(opened: Open) -> None:
    with Server(always(JPEG, "200 OK", "X-Robots-Tag: noai")) as server:
        assert JPEG == fetch(opened(honour_robots=False), server.url()).content


def test_an_unchanged_image_comes_back_empty(opened: Open) -> None:
    with Server(always(b"", "304 Not Modified")) as server:
        original = fetch(opened(), server.url(), etag='"1"', last_modified="today")

    assert (b"", 304) == (original.content, original.reply.status_code)
    assert b'If-None-Match: "1"\r\nIf-Modified-Since: today\r\n' in server.requests[0]


def test_redirects_are_followed_and_counted(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            number = int(head.split(b" ")[1][1:])
            if number < 10:
                peer.reply(b"ignored", "301 Moved", f"Location: /{number + 1}")
            else:
                peer.reply()

    with Server(handle) as server:
        work = opened()
        assert server.url("/10") == fetch(work, server.url("/0")).reply.final_url
        assert "redirect" == failure(work, server.url("/-1")).code
        assert 1 == server.connections


def test_the_body_of_a_redirect_is_not_waited_for(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        if b"/a" in peer.read_request():
            peer.send(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 1000000000\r\n\r\n")
            peer.wait_for_close()
        else:
            peer.reply()

    with Server(handle) as server:
        assert JPEG == fetch(opened(), server.url("/a")).content


def test_own_headers_and_credentials_stay_with_their_origin(opened: Open) -> None:
    with Server(always()) as other, Server(always(b"", "307 Temporary", f"Location: {other.url('/b')}")) as first:
        work = opened(headers=(("Cookie", "a=1"),))
        reply = fetch(work, f"http://user:p%40ss@127.0.0.1:{first.port}/a").reply

    assert b"Cookie: a=1\r\nAuthorization: Basic dXNlcjpwQHNz\r\n" in first.requests[0]
    assert b"Cookie" not in other.requests[0]
    assert b"Authorization" not in other.requests[0]
    assert other.url("/b") == reply.final_url


def test_a_redirect_to_another_host_is_handed_over_and_gone_on_with(opened: Open) -> None:
    with Server(always()) as other, Server(always(b"", "302 Found", f"Location: {other.url('/b')}")) as first:
        work = opened(headers=(("Cookie", "a=1"),))
        moved = fetch(work, first.url(), hands_over=True)
        assert 0 == other.connections
        original = fetch(work, first.url(), hands_over=True, moved=moved)

    assert (other.url("/b"),) == moved.trail
    assert 0 < moved.spent_seconds < 60
    assert (JPEG, other.url("/b")) == (original.content, original.reply.final_url)
    assert b"Cookie" not in other.requests[0]
    assert 1 == len(first.requests)


def test_a_redirect_on_the_same_host_is_followed_at_once(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            peer.reply() if b"/b" in head else peer.reply(b"", "302 Found", "Location: /b")

    with Server(handle) as server:
        assert JPEG == fetch(opened(), server.url(), hands_over=True).content


@pytest.mark.parametrize(
    ("trail", "message"),
    [
        (("http://127.0.0.1:{port}/b",), "round in a circle"),
        (tuple(f"http://127.0.0.1:{{port}}/{number}" for number in range(10)), "more than 10"),
    ],
    ids=["circle", "too-many"],
)
def test_redirects_are_counted_over_all_hosts(opened: Open, trail: tuple[str, ...], message: str) -> None:
    with Server(always(b"", "302 Found", "Location: /a.jpg")) as server:
        moved = Moved(trail=tuple(url.format(port=server.port) for url in trail), spent_seconds=0.0)
        listed = server.url("/a.jpg" if len(trail) == 1 else "/first")
        error = failure(opened(), listed, hands_over=True, moved=moved)

    assert "redirect" == error.code
    assert message in error.message


def test_the_total_timeout_goes_on_at_the_next_host(opened: Open) -> None:
    with Server(always()) as server:
        moved = Moved(trail=(server.url(),), spent_seconds=60.0)
        error = failure(opened(), "http://127.0.0.9/", hands_over=True, moved=moved)

    assert "timeout.total" == error.code


def test_laps_are_booked_in_order(opened: Open) -> None:
    lap = Counts()

    with Server(always()) as server:
        work = opened()
        work(item(server.url("/a")), lap)
        work(item(server.url("/b")), lap)

    assert ["dns", "connect", "first_byte", "body", "first_byte", "body"] == lap.parts


def test_environment_proxies_are_ignored(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Server(always()) as server:
        assert JPEG == fetch(opened(), server.url()).content


def test_a_proxy_is_asked_for_the_whole_url(opened: Open) -> None:
    with Server(always()) as proxy:
        work = opened(proxy=f"http://user:pw@127.0.0.1:{proxy.port}")
        original = fetch(work, "http://images.example/a.jpg?q=1")

    assert JPEG == original.content
    assert proxy.requests[0].startswith(b"GET http://images.example/a.jpg?q=1 HTTP/1.1\r\nHost: images.example\r\n")
    assert b"proxy-authorization: basic dxnlcjpwdw==\r\n" in proxy.requests[0].lower()


def test_no_thread_is_left_when_the_last_worker_closes() -> None:
    before = set(threading.enumerate())
    with Server(always()) as server:
        work = Download(allow_addresses=("127.0.0.0/8",)).open()
        work(item(server.url()), Counts())
        work.close()

    assert before == set(threading.enumerate())


def test_the_stage_is_a_small_picklable_value() -> None:
    stage = Download(allow_addresses=("10.0.0.0/8",), headers=(("A", "b"),))

    assert stage == pickle.loads(pickle.dumps(stage))
    assert ("download", ("batchproc.download.fetch",)) == (stage.name, stage.preload)
