"""The table of modes, row by row, through real files where a format can hold the mode."""

import pytest
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture
from batchproc.transform.modes import flatten, to_working_mode
from tests.transform.drawing import difference, encoded, photo, pixel


def decoded(content: bytes, background: str | None = None) -> Image.Image:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    return decode(opened, needed=None, background=background, colours=Colours()).image


@pytest.mark.parametrize(
    ("mode", "format", "expected"),
    [
        ("L", "PNG", "L"),
        ("LA", "PNG", "LA"),
        ("RGB", "PNG", "RGB"),
        ("RGBA", "PNG", "RGBA"),
        ("1", "PNG", "L"),
        ("1", "TIFF", "L"),
        ("P", "PNG", "RGB"),
        ("P", "GIF", "RGB"),
        ("P", "BMP", "RGB"),
        ("CMYK", "JPEG", "RGB"),
        ("CMYK", "TIFF", "RGB"),
        ("YCbCr", "TIFF", "RGB"),
        ("LAB", "TIFF", "RGB"),
        ("I;16", "PNG", "L"),
        ("I;16", "TIFF", "L"),
        ("I", "TIFF", "L"),
        ("F", "TIFF", "L"),
    ],
)
def test_each_mode_becomes_what_the_table_says(mode: str, format: str, expected: str) -> None:
    if mode == "F":
        picture = photo(40, 30, "L").convert("F").point(lambda value: value * (1 / 255) + 0)
    elif mode.startswith("I"):
        picture = photo(40, 30, "L").convert("I").point(lambda value: value * 257 + 0).convert(mode)
    elif mode == "LAB":
        picture = Image.new("LAB", (40, 30), (128, 128, 128))
    else:
        picture = photo(40, 30, mode)

    result = decoded(encoded(picture, format))

    assert expected == result.mode
    if mode not in ("1", "LAB", "P"):
        assert difference(result, photo(40, 30, "L" if mode in ("L", "LA", "I", "I;16", "F") else "RGB")) < 4


def test_adobes_inverted_cmyk_is_not_shown_as_a_negative() -> None:
    white = decoded(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG"))
    cyan = decoded(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG"))

    assert (255, 255, 255) == white.getpixel((8, 8))
    assert pixel(cyan, 8, 8)[0] < 5
    assert pixel(cyan, 8, 8)[2] > 250


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_keep_their_high_byte_in_every_byte_order(mode: str) -> None:
    samples = Image.new("I", (4, 1))
    samples.putdata([0, 255, 32768, 65535])

    assert [0, 0, 128, 255] == list(to_working_mode(samples.convert(mode)).tobytes())


@pytest.mark.parametrize("values", [(0, 65536), (-1, 5)], ids=["too-large", "negative"])
def test_wide_integers_without_a_defined_brightness_are_unsupported(values: tuple[int, int]) -> None:
    samples = Image.new("I", (2, 1))
    samples.putdata(values)

    with pytest.raises(StageError) as caught:
        to_working_mode(samples)

    assert Code.IMAGE_UNSUPPORTED == caught.value.code


def test_floats_beyond_one_are_unsupported() -> None:
    samples = Image.new("F", (2, 1))
    samples.putdata([0.0, 3.0])

    with pytest.raises(StageError, match="float samples from 0 to 3") as caught:
        to_working_mode(samples)

    assert Code.IMAGE_UNSUPPORTED == caught.value.code


@pytest.mark.parametrize(
    ("mode", "colour", "expected"), [("L", 7, "LA"), ("RGB", (1, 2, 3), "RGBA"), ("P", 0, "RGBA")]
)
def test_a_transparent_colour_becomes_alpha(mode: str, colour: int | tuple[int, ...], expected: str) -> None:
    picture = Image.new(mode, (4, 4), colour)

    result = decoded(encoded(picture, "PNG", transparency=colour))

    assert (expected, 0) == (result.mode, result.getchannel("A").getpixel((0, 0)))


def test_alpha_is_laid_on_the_background() -> None:
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))

    flat = flatten(picture, "#c0ffc0")

    assert ("RGB", (192, 255, 192)) == (flat.mode, flat.getpixel((0, 0)))
    assert all(abs(a - b) <= 1 for a, b in zip((96, 127, 96), pixel(flat, 1, 0), strict=True))


@pytest.mark.parametrize(("background", "mode"), [("#808080", "L"), ("#ff0000", "RGB")])
def test_grey_stays_grey_on_a_neutral_background(background: str, mode: str) -> None:
    assert mode == flatten(Image.new("LA", (2, 2), (10, 100)), background).mode
