"""WebP: what its container says of a still picture or of the first frame of an animation, by a writer of our own."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow
from tests.transform.drawing import photo
from tests.transform.webps import ALPHA, EXIF, ICC, animation, chunk, extended, frame, parts, webp


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
