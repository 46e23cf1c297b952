"""WebP: what its container says of a still picture or of the first frame of an animation, by a writer of our own."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow
from tests.transform.drawing import encoded, photo

ALPHA, ANIMATED, EXIF, ICC = 0x10, 0x02, 0x08, 0x20
WHITE = (255, 255, 255, 255)


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


def seen(content: bytes) -> Decoded:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    return decode(opened, needed=None, background=None, colours=Colours())


def failure(content: bytes) -> StageError:
    with pytest.raises(StageError) as caught:
        seen(content)
    return caught.value


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)


def webp(*chunks: bytes) -> bytes:
    whole = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(whole)) + whole


def u24(value: int) -> bytes:
    return struct.pack("<L", value)[:3]


def extended(width: int, height: int, flags: int = 0) -> bytes:
    return chunk(b"VP8X", bytes((flags, 0, 0, 0)) + u24(width - 1) + u24(height - 1))


def parts(picture: Image.Image, **options: Any) -> list[bytes]:
    """The chunks of an encoded picture: ALPH and VP8, or VP8L."""
    return [part for part in chunks_of(encoded(picture, "WEBP", **options)) if part[:4] in (b"ALPH", b"VP8 ", b"VP8L")]


def chunks_of(content: bytes) -> Iterator[bytes]:
    at = 12
    while at < len(content):
        end = at + 8 + struct.unpack_from("<L", content, at + 4)[0]
        end += end % 2
        yield content[at:end]
        at = end


def animation(width: int, height: int, *frames: bytes, flags: int = 0) -> bytes:
    return webp(extended(width, height, ANIMATED | flags), chunk(b"ANIM", bytes(WHITE) + b"\x00\x00"), *frames)


def frame(left: int, top: int, picture: Image.Image, **options: Any) -> bytes:
    place = u24(left // 2) + u24(top // 2) + u24(picture.width - 1) + u24(picture.height - 1) + u24(100) + b"\x00"
    return chunk(b"ANMF", place + b"".join(parts(picture, **options)))


RED, BLUE = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
GLASS = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
LOSSLESS = {"lossless": True, "exact": True}


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("is_extended", [False, True], ids=["simple", "extended"])
def test_lossless_pictures_have_the_pixels_that_were_written(mode: str, is_extended: bool) -> None:
    picture = photo(41, 30, mode)
    if mode == "RGBA":
        picture.putalpha(photo(41, 30, "L"))
    flags = ALPHA if mode == "RGBA" else 0
    content = webp(*([extended(41, 30, flags)] if is_extended else []), *parts(picture, **LOSSLESS))

    image = seen(content).image

    assert (mode, picture.tobytes()) == (image.mode, image.tobytes())


def test_lossy_pictures_keep_their_alpha_as_it_was() -> None:
    picture = photo(40, 30, "RGBA")
    picture.putalpha(photo(40, 30, "L"))

    image = seen(webp(extended(40, 30, ALPHA), *parts(picture))).image

    assert picture.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("flags", [0, ALPHA], ids=["flagged-opaque", "flagged-alpha"])
@pytest.mark.parametrize("options", [LOSSLESS, {}], ids=["lossless", "lossy"])
def test_what_the_first_frame_does_not_cover_is_transparent(options: dict[str, Any], flags: int) -> None:
    content = animation(8, 6, frame(2, 2, RED, **options), frame(0, 0, BLUE, **options), flags=flags)

    image = seen(content).image

    expected = Image.new("L", (8, 6))
    expected.paste(255, (2, 2, 6, 6))
    assert ("RGBA", expected.tobytes()) == (image.mode, image.getchannel("A").tobytes())
    assert image.getpixel((3, 3))[0] > 250


@pytest.mark.parametrize("options", [LOSSLESS, {}], ids=["lossless", "lossy"])
def test_alpha_of_a_frame_counts_even_where_the_header_forgets_it(options: dict[str, Any]) -> None:
    content = animation(4, 4, frame(0, 0, GLASS, **options))

    assert 128 == seen(content).image.getpixel((1, 1))[3]


def test_an_opaque_first_frame_on_all_of_the_canvas_has_no_alpha() -> None:
    content = animation(8, 6, frame(0, 0, BLUE, **LOSSLESS), frame(2, 2, RED, **LOSSLESS))

    assert ("RGB", BLUE.tobytes()) == (seen(content).image.mode, seen(content).image.tobytes())


@pytest.mark.parametrize(
    "chunks",
    [
        [extended(4, 4), chunk(b"ABCD", b"odd"), *parts(RED, **LOSSLESS), chunk(b"EFGH", b"odd")],
        [extended(4, 4, EXIF), *parts(RED, **LOSSLESS), chunk(b"EXIF", b"garbage")],
        [extended(4, 4, ICC), chunk(b"ICCP", b"garbage"), *parts(RED, **LOSSLESS)],
        [extended(4, 4, EXIF | ICC), *parts(RED, **LOSSLESS)],
    ],
    ids=["unknown", "exif", "icc", "promised-but-missing"],
)
def test_chunks_beside_the_pixels_never_fail_a_picture(chunks: list[bytes]) -> None:
    assert RED.tobytes() == seen(webp(*chunks)).image.tobytes()


def test_bytes_behind_the_picture_do_not_matter() -> None:
    assert RED.tobytes() == seen(webp(*parts(RED, **LOSSLESS)) + b"junk").image.tobytes()


def test_pixels_that_cannot_be_decoded_in_a_whole_file_are_corrupt() -> None:
    file = BytesIO()
    photo(64, 48).save(file, "WEBP", lossless=True)
    content = bytearray(file.getvalue())
    content[40:] = b"\xff" * (len(content) - 40)

    assert Code.IMAGE_CORRUPT == failure(bytes(content)).code
