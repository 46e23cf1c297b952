"""Pages are told from images by their first bytes; the low-speed limit looks at windows of ten seconds."""

import io

import pytest
from PIL import Image

from batchproc.download.verdict import SpeedLimit, is_text
from batchproc.errors import StageError
from batchproc.sniff import has_image_signature


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_pictures_are_images_and_not_text(format_: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), "teal").save(file, format_)

    assert has_image_signature(file.getvalue())
    assert not is_text(file.getvalue())


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"<!DOCTYPE html><html>", id="html"),
        pytest.param(b"\xef\xbb\xbf \r\n<html>", id="html-after-mark-and-space"),
        pytest.param(b"<svg xmlns='x'/>", id="svg"),
        pytest.param("<p>größe".encode("latin-1"), id="latin-1-markup"),
        pytest.param(b'{"error": "login"}', id="json"),
        pytest.param("nicht gefunden: Größe".encode(), id="utf-8"),
        pytest.param("ab".encode("utf-16"), id="utf-16"),
        pytest.param("€".encode() * 300, id="cut-inside-a-character"),
    ],
)
def test_pages_are_text(head: bytes) -> None:
    assert is_text(head)


@pytest.mark.parametrize("head", [b"", b"\xff", b"\xff\xd8", b"\x00\x01\x02", b"a\x00b"])
def test_scraps_are_left_to_the_decoder(head: bytes) -> None:
    assert not is_text(head)


def test_a_window_with_too_little_in_it_is_too_slow() -> None:
    pace = SpeedLimit(100, now=0.0)
    pace.check(1, 9.9)

    with pytest.raises(StageError) as caught:
        pace.check(999, 10.1)
    assert "timeout.slow" == caught.value.code


def test_every_window_counts_by_itself() -> None:
    pace = SpeedLimit(100, now=0.0)
    pace.check(1_000_000, 10.0)
    pace.check(1_001_000, 20.0)

    with pytest.raises(StageError):
        pace.check(1_001_999, 30.0)
