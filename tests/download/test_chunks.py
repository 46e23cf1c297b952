"""A chunked body comes out whole, however it is cut on the way, and a broken one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.download.chunks import ChunkDecoder
from batchproc.errors import StageError


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
