"""Colours, depths, planes, byte orders and ways of storing TIFFs, against what was written and tifffile.

Each file has exactly the pixels that the tables of `modes`, `tiff_samples` and `tiff_layout` promise, or is refused.
"""

import random
from functools import cache
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture
from batchproc.transform.modes import to_working_mode
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
WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
BITS = [1, 2, 4, 8, 10, 12, 16, 24, 32]
STORED = [
    {"compression": kind, "predictor": predictor, "tile": tile, "order": order, "fill_order": fill, "is_big": big}
    for kind, predictor, tile, order, fill, big in product(
        (NONE, PACKBITS, LZW, DEFLATE, OLD_DEFLATE, LZMA), (1, 2), (None, (16, 16)), "<>", (1, 2), (False, True)
    )
    if predictor == 1 or kind not in (NONE, PACKBITS)
]


def is_decodable(colours: int, extra: tuple[int, ...], bits: int, *, is_planar: bool) -> bool:
    """The table of `tiff_samples`; what is not in it is refused."""
    has_alpha = any(kind in extra for kind in (ASSOCIATED, UNASSOCIATED))
    if has_alpha and (colours in (CMYK, YCBCR, LAB) or (colours in (WHITE_IS_ZERO, PALETTE) and ASSOCIATED in extra)):
        return False
    if colours == YCBCR:
        return bits == 8 and not extra
    count = 1 if is_planar else COLOUR_SAMPLES[colours] + len(extra)
    if not is_planar and any(kind for kind in extra[max(0, 4 - COLOUR_SAMPLES[colours]) :]):
        return False
    if colours in (LAB, PALETTE) and bits == 16:
        return False
    if bits == 32:
        return colours == GREY and count == 1 and not has_alpha
    if colours == LAB or (colours == PALETTE and has_alpha):
        return bits == 8
    return count <= {1: 1, 2: 1, 4: 1, 8: 6, 16: 4}.get(bits, 0)


def written(colours: int, extra: tuple[int, ...], bits: int) -> Samples:
    """Random samples; of 32 bits those that have a meaning."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    chance = np.random.default_rng(bits * 10 + colours)
    shape = (HEIGHT, WIDTH, COLOUR_SAMPLES[colours] + len(extra))
    return chance.integers(0, 1 << min(bits, 16), shape).astype(kind)


@cache
def palette(bits: int) -> list[int]:
    return [int(entry) for entry in np.random.default_rng(bits).integers(0, 1 << 16, 3 << min(bits, 16))]


def meant(samples: Samples, colours: int, extra: tuple[int, ...], bits: int) -> Samples:
    """What is to be seen, in 8 bits: (height, width, bands)."""
    levels = samples >> 8 if bits >= 16 else samples.astype(np.uint16) * 255 // ((1 << bits) - 1)
    count = COLOUR_SAMPLES[colours]
    shown = shown_colours(levels[..., :count].astype(np.uint8), samples, colours, bits)
    kinds = [kind for kind in extra if kind != UNSPECIFIED]
    if not kinds:
        return shown
    alpha = levels[..., count + extra.index(kinds[0]), np.newaxis].astype(np.int64)
    if kinds[0] == ASSOCIATED:
        divided = np.minimum(255 * shown.astype(np.int64) // np.maximum(alpha, 1), 255)
        shown = np.where(alpha == 0, shown, divided)
    return np.concatenate([shown, alpha], axis=2)


def shown_colours(levels: Samples, samples: Samples, colours: int, bits: int) -> Samples:
    if colours == WHITE_IS_ZERO:
        return 255 - levels
    if colours == PALETTE:
        entries = np.array(palette(bits)).reshape(3, -1) >> 8
        return entries[:, samples[..., 0]].transpose(1, 2, 0)
    if colours == LAB:
        return converted("LAB", levels)
    return converted({CMYK: "CMYK", YCBCR: "YCbCr"}[colours], levels) if colours in (CMYK, YCBCR) else levels


def converted(mode: str, levels: Samples) -> Samples:
    return np.asarray(to_working_mode(Image.frombytes(mode, (WIDTH, HEIGHT), np.ascontiguousarray(levels).tobytes())))


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
    expected = meant(samples, colours, extra, bits)
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
