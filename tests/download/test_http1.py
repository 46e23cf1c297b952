"""Heads and chunks of replies are read as strictly as two readers must agree, and as kindly as servers need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.download.reply import ChunkDecoder, parse_head
from batchproc.errors import Retry, StageError


def test_a_head_is_parsed() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg \r\nContent-LENGTH:5\r\nX: a\r\nx: b")

    assert (200, 5, False, True) == (head.status_code, head.length, head.chunked, head.keep_alive)
    assert {"content-type": "image/jpeg", "content-length": "5", "x": "a, b"} == head.fields


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Content-Length: 7, 7", (7, False, True)),
        (b"Transfer-Encoding: Chunked", (None, True, True)),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 9", (None, True, False)),
        (b"Connection: Close", (None, False, False)),
        (b"A: b", (None, False, True)),
    ],
)
def test_the_body_is_framed(fields: bytes, expected: tuple[int | None, bool, bool]) -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\n" + fields)

    assert expected == (head.length, head.chunked, head.keep_alive)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"103 Early Hints"])
def test_some_replies_have_no_body_whatever_they_say(status: bytes) -> None:
    assert 0 == parse_head(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9").length


def test_http_1_0_closes_unless_it_says_otherwise() -> None:
    assert not parse_head(b"HTTP/1.0 200 OK").keep_alive
    assert parse_head(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive").keep_alive


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"<html>", id="http-0.9"),
        pytest.param(b"HTTP/1.1 99999 X", id="status-of-five-digits"),
        pytest.param(b"HTTP/1.1 099 X", id="status-below-100"),
        pytest.param(b"HTTP/2 200", id="other-version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon here", id="no-colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n 6", id="folded-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked", id="space-before-the-colon-of-a-coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\n folded", id="folded-from-nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\0c", id="nul"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\rc", id="bare-cr"),
        pytest.param(b"HTTP/1.1 200 OK" + b"\r\nA: b" * 101, id="101-fields"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6", id="two-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5", id="negative-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000, id="absurd-length"),
    ],
)
def test_an_ambiguous_head_is_refused(octets: bytes) -> None:
    with pytest.raises(StageError) as caught:
        parse_head(octets)

    assert ("proto", Retry.ONCE) == (caught.value.code, caught.value.retry)


def test_folded_lines_are_joined_and_space_before_a_colon_is_no_part_of_a_name() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\t folded\r\nC : d")

    assert {"a": "b folded", "c": "d"} == head.fields


def test_an_unknown_transfer_coding_is_refused() -> None:
    with pytest.raises(StageError) as caught:
        parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked")

    assert "encoding" == caught.value.code


@given(chunks=st.lists(st.binary(min_size=1, max_size=50)), cuts=st.lists(st.integers(1, 20), min_size=1))
def test_content_does_not_depend_on_how_it_arrives(chunks: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%x;name=v\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    decoder, content, position = ChunkDecoder(), b"", 0
    for turn in range(len(wire)):
        cut = cuts[turn % len(cuts)]
        content += decoder.feed(wire[position : position + cut])
        position += cut

    assert b"".join(chunks) == content
    assert (True, False) == (decoder.done, decoder.surplus)


def test_bytes_after_the_end_are_noticed() -> None:
    decoder = ChunkDecoder()

    assert b"a" == decoder.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1")
    assert decoder.surplus


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"xyz\r\n", id="no-size"),
        pytest.param(b"-5\r\n", id="negative-size"),
        pytest.param(b"\r\n", id="empty-size"),
        pytest.param(b"f" * 16 + b"\r\n", id="huge-size"),
        pytest.param(b"1\r\nab\r\n", id="longer-than-its-size"),
        pytest.param(b"1" + b" " * 5000, id="endless-size-line"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * 9999, id="endless-trailer"),
    ],
)
def test_broken_chunks_are_refused(octets: bytes) -> None:
    with pytest.raises(StageError) as caught:
        ChunkDecoder().feed(octets)

    assert "proto" == caught.value.code
