"""Every depth, header, bit field and run length of BMP, against what was written and imagecodecs."""

import random
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import imagecodecs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageCms

from batchproc.errors import Code, Retry, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow
from tests.transform.bmps import (
    ALPHA_FIELDS,
    CORE,
    FIELDS,
    HEADERS,
    INFO,
    OS2,
    RAW,
    RLE4,
    RLE8,
    V2,
    V3,
    V4,
    V5,
    Colour,
    bmp,
)

WIDTH, HEIGHT = 13, 7
BGRX, BGRA = (0xFF0000, 0xFF00, 0xFF), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
RGBA, ARGB = (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF00, 0xFF0000, 0xFF000000, 0xFF)
RGB565, RGB555, ARGB1555 = (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0x7C00, 0x3E0, 0x1F, 0x8000)
ARGB4444, DEEP = (0xF00, 0xF0, 0xF, 0xF000), (0x3FF00000, 0xFFC00, 0x3FF)
Rows = list[list[int]]


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


def written(bits: int) -> Rows:
    chance = random.Random(bits)
    return [[chance.randrange(1 << bits) for _ in range(WIDTH)] for _ in range(HEIGHT)]


def palette(bits: int) -> list[Colour]:
    chance = random.Random(bits)
    return [(chance.randrange(256), chance.randrange(256), chance.randrange(256)) for _ in range(1 << bits)]


def meant(rows: Rows, masks: Sequence[int]) -> bytes:
    """Each field of each pixel, spread evenly to 8 bits."""

    def levels(pixel: int) -> Iterator[int]:
        for mask in masks:
            low = mask & -mask
            yield (pixel & mask) // low * 255 // (mask // low)

    return bytes(level for row in rows for pixel in row for level in levels(pixel))


def seen_by_imagecodecs(content: bytes) -> bytes:
    return bytes(imagecodecs.bmp_decode(content).tobytes())


@pytest.mark.parametrize("is_top_down", [False, True], ids=["bottom-up", "top-down"])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("header", HEADERS)
def test_every_pixel_of_a_palette_has_its_colour(header: int, bits: int, is_top_down: bool) -> None:
    rows, colours = written(bits), palette(bits)
    content = bmp(rows, bits=bits, header=header, palette=colours, is_top_down=is_top_down and header != CORE)

    image = seen(content).image

    assert ("RGB", bytes(v for row in rows for pixel in row for v in colours[pixel])) == (image.mode, image.tobytes())
    if header != CORE:
        assert image.tobytes() == seen_by_imagecodecs(content)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(
    "colours",
    [
        [(0, 0, 0), (255, 255, 255)],
        [(255, 255, 255), (0, 0, 0)],
        [(level, level, level) for level in range(16)],
        [(level * 17, level * 17, level * 17) for level in range(16)],
    ],
    ids=["black-white", "white-black", "nearly-black", "greys"],
)
def test_greys_are_the_ones_of_the_palette_whatever_its_length(bits: int, colours: list[Colour]) -> None:
    colours = colours[: 1 << bits]
    rows = [[at % len(colours) for at in range(WIDTH)]] * HEIGHT
    content = bmp(rows, bits=bits, palette=colours)

    image = seen(content).image

    assert ("L", bytes(colours[pixel][0] for row in rows for pixel in row)) == (image.mode, image.tobytes())


def test_entries_that_the_palette_lacks_are_black() -> None:
    content = bmp([[0, 1, 2, 200]], bits=8, palette=[(1, 2, 3), (4, 5, 6)])

    assert bytes((1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0)) == seen(content).image.tobytes()


DEEP_ONES = [
    (16, RAW, (), RGB555),
    (24, RAW, (), BGRX),
    (32, RAW, (), BGRX),
    (16, FIELDS, RGB565, RGB565),
    (16, FIELDS, RGB555, RGB555),
    (32, FIELDS, BGRX, BGRX),
    (32, FIELDS, RGBA[:3], RGBA[:3]),
    (24, FIELDS, BGRX, BGRX),
]
WITH_ALPHA = [(16, ARGB1555), (32, BGRA), (32, RGBA), (32, ARGB)]


@pytest.mark.parametrize("is_top_down", [False, True], ids=["bottom-up", "top-down"])
@pytest.mark.parametrize("header", [INFO, V2, V3, V4, V5])
@pytest.mark.parametrize(("bits", "compression", "masks", "shown"), DEEP_ONES)
def test_every_deep_pixel_has_its_colours(
    bits: int, compression: int, masks: Sequence[int], shown: Sequence[int], header: int, is_top_down: bool
) -> None:
    rows = written(bits)
    content = bmp(rows, bits=bits, header=header, compression=compression, masks=masks, is_top_down=is_top_down)

    image = seen(content).image

    assert ("RGB", meant(rows, shown)) == (image.mode, image.tobytes())
    if (bits, compression) != (24, FIELDS) and header != INFO:  # where it sees a fourth mask
        assert image.tobytes() == seen_by_imagecodecs(content)


@pytest.mark.parametrize("header", [INFO, V3, V4, V5])
@pytest.mark.parametrize(("bits", "masks"), WITH_ALPHA)
def test_alpha_is_where_there_is_a_mask_for_it(bits: int, masks: Sequence[int], header: int) -> None:
    rows = written(bits)
    content = bmp(rows, bits=bits, header=header, compression=ALPHA_FIELDS if header == INFO else FIELDS, masks=masks)

    image = seen(content).image

    assert ("RGBA", meant(rows, masks)) == (image.mode, image.tobytes())
    if header != INFO and bits == 32 and masks != ARGB:
        assert image.tobytes() == seen_by_imagecodecs(content)


REFUSED = [
    ("64 bits", bmp(written(64), bits=64), "bmp with 64 bits per pixel"),
    ("4444", bmp(written(16), bits=16, header=V4, compression=FIELDS, masks=ARGB4444), "fields of 4, 4, 4, 4 bits"),
    ("10 bits", bmp(written(32), bits=32, compression=FIELDS, masks=DEEP), "fields of 10, 10, 10, 0 bits"),
    ("no masks", bmp(written(32), bits=32, header=V4, compression=FIELDS), "fields of 0, 0, 0, 0 bits"),
    ("jpeg", bmp(written(24), bits=24, compression=4), "bmp with a JPEG inside"),
    ("png", bmp(written(24), bits=24, compression=5), "bmp with a PNG inside"),
    ("cmyk", bmp(written(32), bits=32, compression=11), "bmp with CMYK colours"),
    ("huffman", bmp(written(1), bits=1, header=OS2, compression=3, palette=palette(1)), "bmp with Huffman coding"),
    ("rle24", bmp(written(24), bits=24, header=OS2, compression=4), "bmp with run lengths of 24 bits"),
    ("rle8 of 4 bits", bmp(written(4), bits=4, compression=RLE8), "bmp with run lengths of 4 bits"),
    ("rle from the top", bmp(written(8), bits=8, compression=RLE8, is_top_down=True), "from the top"),
    ("unheard-of", bmp(written(8), bits=8, compression=99), "unknown compression (number 99)"),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_has_no_meaning_here_is_refused_by_name_and_for_good(content: bytes, words: str) -> None:
    error = failure(content)

    assert (Code.IMAGE_UNSUPPORTED, Retry.NEVER) == (error.code, error.retry_in("transform"))
    assert words in error.message


def run_lengths(rows: Rows, bits: int, chance: random.Random) -> bytes:
    """Runs and literals as they come, a row after the other from the bottom, each with its end."""
    done = bytearray()
    for row in reversed(rows):
        at = 0
        while at < len(row):
            length = min(chance.randint(1, 9), len(row) - at)
            part = row[at : at + length]
            if length >= 3 and len(set(part)) > 1:
                done += bytes((0, length)) + padded(part, bits)
            else:
                length = next((n for n in range(length) if part[n] != part[0]), length)
                done += bytes((length,)) + halves([part[0], part[0]], bits)[:1]
            at += length
        done += b"\x00\x00"
    return bytes(done[:-2]) + b"\x00\x01"


def halves(part: list[int], bits: int) -> bytes:
    if bits == 8:
        return bytes(part)
    pairs = [*part, 0] if len(part) % 2 else part
    return bytes(pairs[at] << 4 | pairs[at + 1] for at in range(0, len(pairs), 2))


def padded(part: list[int], bits: int) -> bytes:
    stored = halves(part, bits)
    return stored + bytes(len(stored) % 2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("compression", "bits"), [(RLE8, 8), (RLE4, 4)], ids=["rle8", "rle4"])
def test_run_lengths_and_literals_are_unpacked(compression: int, bits: int, seed: int) -> None:
    chance, colours = random.Random(seed), palette(bits)
    rows = [[chance.choice((3, 3, 5, 9)) for _ in range(WIDTH)] for _ in range(HEIGHT)]
    content = bmp(rows, bits=bits, compression=compression, palette=colours, data=run_lengths(rows, bits, chance))

    image = seen(content).image

    assert bytes(v for row in rows for pixel in row for v in colours[pixel]) == image.tobytes()


def test_alternating_runs_of_4_bits_keep_their_order() -> None:
    content = bmp([[1, 2, 1, 2, 1]], bits=4, compression=RLE4, palette=palette(4), data=b"\x05\x12\x00\x01")

    assert bytes(v for pixel in (1, 2, 1, 2, 1) for v in palette(4)[pixel]) == seen(content).image.tobytes()


@pytest.mark.parametrize(
    ("data", "opaque"),
    [
        (b"\x04\x01\x00\x00\x00\x00\x04\x01\x00\x01", ["####", "....", "####"]),
        (b"\x04\x01\x00\x01", ["....", "....", "####"]),
        (b"\x00\x02\x02\x01\x02\x01\x00\x01", ["....", "..##", "...."]),
        (b"\x02\x01\x00\x00\x04\x01\x00\x00\x04\x01", ["####", "####", "##.."]),
        (b"\x09\x01\x00\x00\x00\x01", ["....", "....", "####"]),
    ],
    ids=["empty-row", "early-end", "move", "short-row", "run-beyond-the-row"],
)
def test_pixels_that_run_lengths_skip_are_transparent(data: bytes, opaque: list[str]) -> None:
    content = bmp([[0] * 4] * 3, bits=8, compression=RLE8, palette=palette(8), data=data)

    alpha = seen(content).image.getchannel("A").tobytes()

    assert opaque == ["".join(".#"[level == 255] for level in alpha[at : at + 4]) for at in range(0, 12, 4)]


@pytest.mark.parametrize("options", [{"bits": 8}, {"bits": 1}, {"bits": 24}, {"bits": 32}], ids=str)
@pytest.mark.parametrize("missing", [1, 5, 40, 75])
def test_a_bmp_cut_anywhere_is_truncated(options: dict[str, Any], missing: int) -> None:
    bits = options["bits"]
    content = bmp([[0] * 32] * 16, palette=palette(bits) if bits <= 8 else (), **options)

    assert (Code.TRUNCATED, Retry.ONCE) == (
        failure(content[: len(content) - missing]).code,
        failure(content[:20]).retry_in("transform"),
    )


@pytest.mark.parametrize("data", [b"", b"\x04", b"\x04\x01\x00", b"\x00\x08\x01\x01", b"\x00\x02\x01"])
def test_run_lengths_that_break_off_are_truncated(data: bytes) -> None:
    content = bmp([[0] * 4] * 3, bits=8, compression=RLE8, palette=palette(8), data=data)

    assert Code.TRUNCATED == failure(content).code


def test_the_padding_of_the_last_row_may_be_missing() -> None:
    content = bmp(written(24), bits=24)

    assert seen(content).image.tobytes() == seen(content[:-1]).image.tobytes()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-5, 5)])
def test_a_bmp_without_a_size_is_corrupt(size: tuple[int, int]) -> None:
    content = bytearray(bmp(written(24), bits=24))
    struct.pack_into("<ll", content, 18, *size)

    assert Code.IMAGE_CORRUPT == failure(bytes(content)).code


def display_p3_like() -> bytes:
    """An ICC profile that is not sRGB: made by exchanging its red and green primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ"))


def endpoints(*chromaticities: float, gammas: tuple[float, ...]) -> bytes:
    """LCS_CALIBRATED_RGB: the end points as x, y, z, the gammas of red, green and blue."""
    pairs = zip(chromaticities[::2], chromaticities[1::2], strict=True)
    ends = [round(value * (1 << 30)) for x, y in pairs for value in (x, y, 1 - x - y)]
    return struct.pack("<L9l3L", 0, *ends, *(round(gamma * 65536) for gamma in gammas))


@pytest.mark.parametrize(("header", "expected"), [(V5, (40, 200, 30)), (V4, (200, 40, 30))], ids=["v5", "v4"])
def test_the_embedded_profile_of_a_v5_header_is_believed(header: int, expected: Colour) -> None:
    profile = display_p3_like()
    data = 4 * 3  # one row of four pixels
    colours = struct.pack("<L48xLLL", 0x4D424544, 4, 124 + data, len(profile))

    content = bmp([[0xC8281E] * 4], bits=24, header=header, colours=colours[: header - 56], behind=profile)

    assert expected == tuple(round(level / 10) * 10 for level in seen(content).image.getpixel((0, 0)))


P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        (endpoints(*SRGB, gammas=(1.0, 1.0, 1.0)), (229, 133, 96)),
        (endpoints(*P3, gammas=(2.2, 2.2, 2.2)), (217, 42, 0)),
        (struct.pack("<L", 0x73524742) + endpoints(*P3, gammas=(1.0, 1.0, 1.0))[4:], (200, 60, 30)),
        (bytes(52), (200, 60, 30)),
    ],
    ids=["linear", "p3", "srgb-says-the-type", "nothing-said"],
)
@pytest.mark.parametrize("header", [V4, V5])
def test_end_points_and_gamma_are_believed(header: int, colours: bytes, expected: Colour) -> None:
    content = bmp([[0xC83C1E] * 4], bits=24, header=header, colours=colours)

    assert max(abs(a - b) for a, b in zip(expected, seen(content).image.getpixel((0, 0)), strict=True)) <= 2


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mutated_bmp_is_a_picture_or_a_failure_of_the_stage(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SMALL)))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[at] = data.draw(st.integers(0, 255))

    with suppress(StageError):
        seen(bytes(content))


SMALL = [
    bmp(written(4), bits=4, palette=palette(4)),
    bmp(written(8), bits=8, compression=RLE8, palette=palette(8), data=run_lengths(written(8), 8, random.Random(1))),
    bmp(written(32), bits=32, header=V5, compression=FIELDS, masks=BGRA),
]
