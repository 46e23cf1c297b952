"""The download stage against servers that misbehave: each fault has its code, and no worker waits for ever."""

import errno
import gzip
import os
import socket
import threading
from typing import Any

import pytest

from batchproc.download.fetch import Download
from batchproc.errors import Code, Retry
from tests.download.conftest import Open, failure, fetch, quick
from tests.download.scripted import JPEG, Peer, Server, always, once, silent_after

OK = b"HTTP/1.1 200 OK\r\n"
QUICK = {"first_byte_timeout_seconds": 0.2}


def test_a_fresh_connection_that_is_closed_is_a_failure(opened: Open) -> None:
    with Server(once(b"")) as server:
        error = failure(opened(), server.url())

    assert ("connect", Retry.BACKOFF, 1) == (error.code, error.retry, server.connections)


@pytest.mark.parametrize(
    ("octets", "code", "retry"),
    [
        pytest.param(OK + b"Content-Length: 9999\r\n\r\n" + JPEG, "truncated", Retry.BACKOFF, id="short-body"),
        pytest.param(OK + b"Content-Le", "truncated", Retry.BACKOFF, id="short-head"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n\xff\xd8", "truncated", Retry.BACKOFF, id="short-chunk"
        ),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "proto", Retry.ONCE, id="bad-chunk"),
        pytest.param(OK + b"Content-Length: 0\r\n\r\n", "image.empty", Retry.ONCE, id="empty"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "image.empty", Retry.ONCE, id="no-content"),
        pytest.param(b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx", "proto", Retry.ONCE, id="partial"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\n\r\n", "proto", Retry.ONCE, id="not-modified"),
        pytest.param(b"HTTP/1.1 101 Switch\r\n\r\n", "proto", Retry.ONCE, id="switch"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", "proto", Retry.ONCE, id="not-http"),
        pytest.param(OK + b"A: " + b"b" * 300_000, "proto", Retry.ONCE, id="endless-line"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 200, "timeout.first_byte", Retry.ONCE, id="continue-flood"),
        pytest.param(OK + b"Content-Length: 33000000\r\n\r\n\xff", "too_large", Retry.NEVER, id="announced-too-large"),
        pytest.param(OK + b"Content-Encoding: br\r\n\r\nx", "encoding", Retry.NEVER, id="unknown-coding"),
        pytest.param(OK + b"Content-Encoding: gzip, gzip\r\n\r\nx", "encoding", Retry.NEVER, id="chain-of-codings"),
        pytest.param(OK + b"Content-Encoding: gzip\r\n\r\nxx\0", "encoding", Retry.NEVER, id="false-coding"),
        pytest.param(
            OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(JPEG)[:99],
            "truncated",
            Retry.BACKOFF,
            id="short-gzip",
        ),
        pytest.param(
            OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"<html>"), "not_image", Retry.NEVER, id="gzip-page"
        ),
        pytest.param(b"HTTP/1.1 302 Found\r\n\r\n", "redirect", Retry.NEVER, id="redirect-to-nowhere"),
    ],
)
def test_a_bad_reply_is_named(opened: Open, octets: bytes, code: str, retry: Retry) -> None:
    with Server(once(octets)) as server:
        error = failure(opened(), server.url("/secret?token=hidden"))

    assert (code, retry) == (error.code, error.retry)
    assert "hidden" not in error.message


def test_a_page_is_refused_without_reading_on(opened: Open) -> None:
    with Server(silent_after(OK + b"Content-Length: 9999999\r\n\r\n<!DOCTYPE html>" + b" " * 600)) as server:
        error = failure(opened(), server.url())

    assert ("not_image", Retry.NEVER) == (error.code, error.retry)


def test_an_endless_body_ends_at_the_limit(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK, b"\r\n")
        while True:
            peer.send(JPEG)

    with Server(handle) as server:
        assert "too_large" == failure(opened(max_bytes=300_000), server.url()).code


def test_a_compressed_bomb_is_too_large(opened: Open) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    with Server(always(bomb, "200 OK", "Content-Encoding: gzip")) as server:
        assert "too_large" == failure(opened(max_bytes=1_000_000), server.url()).code


def refused(peer: Peer) -> None:
    raise AssertionError("the server was asked")


def test_a_private_address_is_refused_before_a_byte_is_sent(opened: Open) -> None:
    with Server(refused) as server:
        error = failure(opened(allow_addresses=()), server.url())

    assert ("policy.address", Retry.NEVER, 0) == (error.code, error.retry, server.connections)


def test_a_redirect_to_a_private_address_is_refused(opened: Open) -> None:
    with Server(always(b"", "302 Found", "Location: http://127.0.0.2/secret")) as server:
        error = failure(opened(allow_addresses=("127.0.0.1/32",)), server.url())

    assert "policy.address" == error.code


def test_redirects_in_a_circle_are_noticed(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            peer.reply(b"", "302 Found", "Location: /b" if b"/a" in head else "Location: /a")

    with Server(handle) as server:
        assert "redirect" == failure(opened(), server.url("/a")).code
        assert 2 == len(server.requests)


def trickled_head(peer: Peer) -> None:
    peer.read_request()
    peer.send(OK)
    peer.trickle(b"A: b\r\n")


def trickled_continue(peer: Peer) -> None:
    peer.read_request()
    peer.trickle(b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)


def trickled_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(OK, b"Content-Length: 1000000\r\n\r\n\xff\xd8\xff")
    peer.trickle(b"\0")


def trickled_without_length(peer: Peer) -> None:
    peer.read_request()
    peer.send(OK, b"\r\n", JPEG)
    peer.trickle(b"\0")


@pytest.mark.parametrize(
    ("handler", "settings", "code"),
    [
        pytest.param(silent_after(b""), QUICK, "timeout.first_byte", id="silent"),
        pytest.param(trickled_head, QUICK, "timeout.first_byte", id="trickled-head"),
        pytest.param(trickled_continue, QUICK, "timeout.first_byte", id="trickled-100-continue"),
        pytest.param(trickled_body, {"total_timeout_seconds": 0.3}, "timeout.total", id="trickled-body"),
        pytest.param(
            trickled_without_length, {"total_timeout_seconds": 0.3}, "timeout.total", id="cut-body-is-not-whole"
        ),
    ],
)
def test_a_server_that_keeps_us_waiting_is_left(opened: Open, handler: Any, settings: Any, code: str) -> None:
    with Server(handler) as server:
        error = failure(opened(**settings), server.url())

    assert (code, Retry.BACKOFF) == (error.code, error.retry)


def test_a_server_that_stops_within_a_body_is_left(opened: Open) -> None:
    with Server(silent_after(OK + b"Content-Length: 9\r\n\r\n\xff")) as server, quick(Code.TIMEOUT_IDLE):
        error = failure(opened(), server.url())

    assert ("timeout.idle", Retry.BACKOFF) == (error.code, error.retry)


def test_a_worker_goes_on_after_a_timeout(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        if b"/slow" in peer.read_request():
            peer.wait_for_close()
        peer.reply()

    with Server(handle) as server:
        work = opened()
        with quick(Code.TIMEOUT_FIRST_BYTE):
            assert "timeout.first_byte" == failure(work, server.url("/slow")).code
        assert JPEG == fetch(work, server.url("/a")).content


def test_a_port_where_nobody_listens_refuses(opened: Open) -> None:
    with Server(always()) as server:
        url = server.url()
    error = failure(opened(), url)

    assert ("connect", Retry.BACKOFF) == (error.code, error.retry)


def test_a_connection_that_is_not_accepted_times_out(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with socket.create_connection(address):
            error = failure(opened(connect_timeout_seconds=0.2), f"http://127.0.0.1:{address[1]}/")

    assert ("timeout.connect", Retry.BACKOFF) == (error.code, error.retry)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EMFILE, "local.files"),
        (errno.ENFILE, "local.files"),
        (errno.ENOBUFS, "local.memory"),
        (errno.EADDRNOTAVAIL, "local.ports"),
        (errno.ENETUNREACH, "local.network"),
        (errno.EHOSTUNREACH, "connect"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else None,
)
def test_what_this_machine_lacks_is_told_from_what_the_host_lacks(
    opened: Open, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", refuse)
    error = failure(opened(), "http://127.0.0.1:9999/")

    assert code == error.code


def test_a_name_that_does_not_exist_fails_as_dns(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, *_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    assert "dns" == failure(opened(), "http://nowhere.example/").code


def test_abort_ends_a_download_from_another_thread(opened: Open) -> None:
    asked = threading.Event()

    def handle(peer: Peer) -> None:
        peer.read_request()
        asked.set()
        peer.wait_for_close()

    with Server(handle) as server:
        work = opened()

        def abort_when_asked() -> None:
            asked.wait(10)
            work.abort()

        thread = threading.Thread(target=abort_when_asked)
        thread.start()
        codes = [failure(work, server.url()).code for _ in range(2)]
        thread.join()

    assert ["cancelled", "cancelled"] == codes
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_addresses": ("300.0.0.0/8",)},
        {"headers": (("A b", "c"),)},
        {"headers": (("A", "b\r\nC: d"),)},
        {"user_agent": "a\nb"},
        {"proxy": "socks5://127.0.0.1"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Download(**settings)
