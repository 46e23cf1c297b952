"""Colours, depths, planes, byte orders and ways of storing TIFFs, against what was written and tifffile.

Each file has exactly the pixels that the tables of `modes` and `tiff_directory` promise, or is refused.
"""

import random
from functools import cache
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture
from tests.transform.tiff_meaning import (
    CMYK,
    COLOUR_SAMPLES,
    GREY,
    LAB,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    is_decodable,
    meant,
)
from tests.transform.tiffs import (
    COLOUR_MAP,
    DEFLATE,
    LZMA,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    SHORT,
    Samples,
    tiff,
)

WIDTH, HEIGHT = 19, 11
BITS = [1, 2, 4, 8, 10, 12, 16, 24, 32]
STORED = [
    {"compression": kind, "predictor": predictor, "tile": tile, "order": order, "fill_order": fill, "is_big": big}
    for kind, predictor, tile, order, fill, big in product(
        (NONE, PACKBITS, LZW, DEFLATE, OLD_DEFLATE, LZMA), (1, 2), (None, (16, 16)), "<>", (1, 2), (False, True)
    )
    if predictor == 1 or kind not in (NONE, PACKBITS)
]


def written(colours: int, extra: tuple[int, ...], bits: int) -> Samples:
    """Random samples; of 32 bits those that have a meaning."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    chance = np.random.default_rng(bits * 10 + colours)
    shape = (HEIGHT, WIDTH, COLOUR_SAMPLES[colours] + len(extra))
    return chance.integers(0, 1 << min(bits, 16), shape).astype(kind)


@cache
def palette(bits: int) -> list[int]:
    return [int(entry) for entry in np.random.default_rng(bits).integers(0, 1 << 16, 3 << min(bits, 16))]


def seen_here(content: bytes) -> Samples | str:
    """The pixels, or the code of the failure."""
    try:
        opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
        image = decode(opened, needed=None, background=None, colours=Colours()).image
    except StageError as error:
        return error.code
    return np.asarray(image).reshape(image.height, image.width, -1)


def seen_by_tifffile(content: bytes) -> Samples:
    with tifffile.TiffFile(BytesIO(content)) as file:
        page = file.pages.first
        samples = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    return samples.reshape(HEIGHT, WIDTH, -1)


def check(colours: int, extra: tuple[int, ...], bits: int, *, is_planar: bool, stored: dict[str, Any]) -> None:
    samples = written(colours, extra, bits)
    predictor = stored["predictor"] if bits >= 8 else 1
    tags: dict[int, Any] = {COLOUR_MAP: (SHORT, palette(bits))} if colours == PALETTE and bits <= 16 else {}
    tags |= {530: (SHORT, [1, 1])} if colours == YCBCR else {}
    content = tiff(
        samples,
        colours=colours,
        bits=bits,
        extra=extra,
        is_planar=is_planar,
        rows=4,
        tags=tags,
        **(stored | {"predictor": predictor}),
    )

    seen = seen_here(content)

    if not is_decodable(colours, extra, bits, is_planar=is_planar):
        assert Code.IMAGE_UNSUPPORTED == seen, stored
        return
    assert not isinstance(seen, str), (seen, stored)
    expected = meant(samples, colours, extra, bits, palette(bits))
    assert expected.shape == seen.shape, stored
    assert np.abs(expected.astype(int) - seen).max() <= (colours == YCBCR), stored  # libtiff rounds in its own way
    assert np.array_equal(samples, seen_by_tifffile(content)), stored


EXTRAS = [(), (0,), (1,), (2,), (0, 2), (2, 0, 0), (0, 0, 0, 1)]
NAMES = {WHITE_IS_ZERO: "white-is-zero", GREY: "grey", RGB: "rgb", PALETTE: "palette", CMYK: "cmyk", YCBCR: "ycbcr",
         LAB: "lab"}  # fmt: skip


@pytest.mark.parametrize("is_planar", [False, True], ids=["together", "planes"])
@pytest.mark.parametrize("colours", NAMES, ids=NAMES.get)
def test_every_tiff_has_the_pixels_that_were_written_or_is_refused(colours: int, is_planar: bool) -> None:
    chance = random.Random(colours * 2 + is_planar)

    for extra, bits in product(EXTRAS, BITS):
        is_refused = not is_decodable(colours, extra, bits, is_planar=is_planar)
        for stored in STORED[:1] if is_refused else chance.sample(STORED, 3):
            check(colours, extra, bits, is_planar=is_planar, stored=stored)


@pytest.mark.slow
@pytest.mark.parametrize("is_planar", [False, True], ids=["together", "planes"])
@pytest.mark.parametrize("colours", NAMES, ids=NAMES.get)
def test_every_tiff_in_every_way_of_storing_it(colours: int, is_planar: bool) -> None:
    for extra, bits in product(EXTRAS, BITS):
        is_refused = not is_decodable(colours, extra, bits, is_planar=is_planar)
        for stored in STORED[:1] if is_refused else STORED:
            check(colours, extra, bits, is_planar=is_planar, stored=stored)
