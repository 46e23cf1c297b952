"""Every colour type, depth, transparent colour, interlacing and filter of PNG, against what was written and libvips."""

import random
from collections.abc import Iterator

import pytest
import pyvips

from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture
from tests.transform.pngs import CHANNELS, DEPTHS, Pixel, chunk, png

WIDTH, HEIGHT = 11, 7
FILTERS = [(0,), (1,), (2,), (3,), (4,), (0, 1, 2, 3, 4)]
MODES = {0: "L", 2: "RGB", 3: "RGB", 4: "LA", 6: "RGBA"}


def written(colour_type: int, depth: int) -> list[list[Pixel]]:
    """Random pixels in which a few colours come again, so that a transparent one is met more than once."""
    chance = random.Random(depth * 10 + colour_type)
    colours = [tuple(chance.randrange(1 << depth) for _ in range(CHANNELS[colour_type])) for _ in range(30)]
    near = tuple(sample ^ 1 for sample in colours[0])  # differs in the lowest bits alone
    return [[chance.choice((colours[0], near, *colours)) for _ in range(WIDTH)] for _ in range(HEIGHT)]


def transparent(colour_type: int, depth: int, rows: list[list[Pixel]]) -> bytes:
    """A tRNS chunk that makes the first pixel transparent, and entries of a palette more or less so."""
    if colour_type == 3:
        return chunk(b"tRNS", bytes(range(0, 1 << depth))[: (1 << depth) - 1])
    beyond = 0xFFFF & ~((1 << depth) - 1)  # bits that the depth does not have are no part of the sample
    return chunk(b"tRNS", b"".join((sample | beyond).to_bytes(2) for sample in rows[0][0]))


def palette(depth: int) -> bytes:
    return random.Random(depth).randbytes(3 << depth)


def meant(rows: list[list[Pixel]], colour_type: int, depth: int, *, has_key: bool) -> tuple[str, bytes]:
    """The mode and the pixels in 8 bits: of 16 the upper ones, fewer spread evenly. With alpha there is no key."""
    has_key = has_key and colour_type in (0, 2, 3)
    entries, top = palette(depth) if colour_type == 3 else b"", (1 << depth) - 1

    def shown(pixel: Pixel) -> Iterator[int]:
        if colour_type == 3:
            yield from entries[3 * pixel[0] : 3 * pixel[0] + 3]
        else:
            yield from (sample >> 8 if depth == 16 else sample * 255 // top for sample in pixel)
        if has_key:
            yield (pixel[0] if pixel[0] < top else 255) if colour_type == 3 else 255 * (pixel != rows[0][0])

    return MODES[colour_type] + ("A" if has_key else ""), bytes(v for row in rows for one in row for v in shown(one))


def seen_here(content: bytes) -> tuple[str, bytes]:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    image = decode(opened, needed=None, background=None, colours=Colours()).image
    return image.mode, image.tobytes()


def seen_by_libvips(content: bytes) -> tuple[str, bytes]:
    image = pyvips.Image.new_from_buffer(content, "", fail_on="warning")
    if image.format == "ushort":
        image = (image >> 8).cast("uchar")
    return {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.bands], bytes(image.write_to_memory())


@pytest.mark.parametrize("has_key", [False, True], ids=["opaque", "tRNS"])
@pytest.mark.parametrize(("colour_type", "depth"), DEPTHS)
def test_every_png_has_the_pixels_that_were_written(colour_type: int, depth: int, has_key: bool) -> None:
    rows = written(colour_type, depth)
    tags = [transparent(colour_type, depth, rows)] if has_key else []
    entries = palette(depth) if colour_type == 3 else b""
    expected = meant(rows, colour_type, depth, has_key=has_key)

    for interlaced in (False, True):
        for filters in FILTERS:
            content = png(
                rows,
                depth=depth,
                colour_type=colour_type,
                interlaced=interlaced,
                filters=filters,
                palette=entries,
                before=tags,
            )

            assert expected == seen_here(content), (interlaced, filters)
            if not has_key or colour_type in (0, 2, 3):
                assert expected == seen_by_libvips(content), (interlaced, filters)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (5, 4), (4, 5), (8, 8)], ids=str)
@pytest.mark.parametrize(("colour_type", "depth"), [(0, 1), (0, 16), (2, 8)])
def test_interlaced_pictures_of_few_pixels_have_passes_without_any(
    colour_type: int, depth: int, size: tuple[int, int]
) -> None:
    rows = [row[: size[0]] for row in written(colour_type, depth)[: size[1]]]

    content = png(rows, colour_type=colour_type, depth=depth, interlaced=True, filters=(4,))

    assert meant(rows, colour_type, depth, has_key=False) == seen_here(content)
