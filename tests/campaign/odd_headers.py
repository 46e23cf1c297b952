"""Files for `pixels`: written at random, then fields of their headers changed to other values that the format has."""

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

from tests.transform import bmps, tiffs, webps
from tests.transform.drawing import photo
from tests.transform.tiff_meaning import COLOUR_SAMPLES, PALETTE, YCBCR

ORIENTATION, SUBSAMPLING, SUBFILE, INK_SET, DOT_RANGE = 274, 530, 254, 332, 336
COMPRESSIONS = (tiffs.NONE, tiffs.PACKBITS, tiffs.LZW, tiffs.DEFLATE, tiffs.OLD_DEFLATE, tiffs.LZMA)
PREDICTING = (tiffs.LZW, tiffs.DEFLATE, tiffs.OLD_DEFLATE, tiffs.LZMA)

Made = tuple[str, bytes]  # what was changed, and the file

# Tags of TIFF and the values that they get, whatever they were.
TIFF_VALUES: dict[str, tuple[int, list[tuple[int, ...]]]] = {
    "Photometric": (tiffs.PHOTOMETRIC, [(n,) for n in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 32803, 32845)]),
    "SampleFormat": (tiffs.SAMPLE_FORMAT, [(kind,) * n for kind in (1, 2, 3, 4, 5, 6) for n in (1, 3)]),
    "ExtraSamples": (tiffs.EXTRA_SAMPLES, [(0,), (1,), (2,), (0, 0), (0, 2), (2, 0), (1, 2), (0, 0, 0), (999,)]),
    "Orientation": (ORIENTATION, [(value,) for value in range(1, 9)]),
    "NewSubfileType": (SUBFILE, [(0,), (1,), (2,), (4,)]),
    "InkSet": (INK_SET, [(1,), (2,)]),
    "DotRange": (DOT_RANGE, [(0, 255), (255, 0), (0, 65535)]),
    "YCbCrSubSampling": (SUBSAMPLING, [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 4), (2, 4)]),
}
# These say how long the pixels are, too: only of pixels that are not compressed.
TIFF_LENGTHS: dict[str, tuple[int, list[tuple[int, ...]]]] = {
    "FillOrder": (tiffs.FILL_ORDER, [(1,), (2,)]),
    "BitsPerSample": (tiffs.BITS, [(n,) * m for n in (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64) for m in (1, 3, 4)]),
    "SamplesPerPixel": (tiffs.SAMPLES, [(1,), (2,), (3,), (4,), (5,), (6,)]),
    "PlanarConfiguration": (tiffs.PLANAR, [(1,), (2,)]),
    "Compression": (tiffs.COMPRESSION, [(n,) for n in (*COMPRESSIONS, 2, 3, 4, 6, 7, 34676, 34712, 50000, 50001)]),
    "Predictor": (tiffs.PREDICTOR, [(1,), (2,), (3,)]),
    "ImageWidth": (tiffs.WIDTH, [(1,), (5,), (8,), (17,), (32,), (200,)]),
    "ImageLength": (tiffs.HEIGHT, [(1,), (3,), (8,), (40,), (200,)]),
    "RowsPerStrip": (tiffs.ROWS_PER_STRIP, [(1,), (3,), (8,), (500,), (0xFFFFFFFF,)]),
    "TileWidth": (tiffs.TILE_WIDTH, [(16,), (32,), (48,)]),
    "TileLength": (tiffs.TILE_HEIGHT, [(16,), (32,), (48,)]),
}


def tiff_cases(chance: Random) -> Iterator[Made]:
    """Endlessly."""
    while True:
        colours = chance.choice(list(COLOUR_SAMPLES))
        extra = chance.choice(((), (), (), (0,), (1,), (2,), (0, 2), (2, 0, 0)))
        bits = chance.choice((1, 2, 4, 8, 8, 8, 16, 16, 32))
        compression = chance.choice(COMPRESSIONS)
        size = (chance.randint(1, 24), chance.randint(1, 40), COLOUR_SAMPLES[colours] + len(extra))
        kind = np.uint8 if bits <= 8 else np.uint16 if bits == 16 else np.uint32
        random = np.random.default_rng(chance.randrange(1 << 32))
        fields = TIFF_VALUES | TIFF_LENGTHS if compression == tiffs.NONE else TIFF_VALUES
        names = chance.sample(sorted(fields), chance.choice((0, 1, 1, 1, 2, 2, 3)))
        yield "TIFF, " + (", ".join(names) or "as written"), tiffs.tiff(
            random.integers(0, 1 << min(bits, 16), size).astype(kind),
            colours=colours,
            bits=bits,
            extra=extra,
            is_planar=chance.random() < 0.4,
            order=chance.choice("<>"),
            compression=compression,
            predictor=chance.choice((1, 2)) if compression in PREDICTING and bits >= 8 else 1,
            fill_order=chance.choice((1, 1, 1, 2)),
            tile=chance.choice((None, None, (16, 16), (32, 16))),
            rows=chance.choice((1, 3, 8, 100)),
            is_big=chance.random() < 0.3,
            tags=_tiff_tags(chance, random, names, colours, bits),
        )


def _tiff_tags(chance: Random, random: Any, names: list[str], colours: int, bits: int) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    if colours == PALETTE or "Photometric" in names:
        tags[tiffs.COLOUR_MAP] = (tiffs.SHORT, random.integers(0, 1 << 16, 3 << min(bits, 8)).tolist())
    if colours == YCBCR:
        tags[SUBSAMPLING] = (tiffs.SHORT, (1, 1))
    for name in names:
        tag, values = (TIFF_VALUES | TIFF_LENGTHS)[name]
        tags[tag] = (tiffs.LONG if tag in (tiffs.ROWS_PER_STRIP,) else tiffs.SHORT, chance.choice(values))
    return tags


def bmp_cases(chance: Random) -> Iterator[Made]:
    """Endlessly."""
    while True:
        bits = chance.choice((1, 4, 8, 16, 24, 32))
        width, height = chance.randint(1, 40), chance.randint(1, 20)
        header = chance.choice([length for length in bmps.HEADERS if length != bmps.CORE])
        masks = chance.choice(BMP_MASKS.get(bits, [()]))
        palette = [_colour(chance) for _ in range(1 << min(bits, 8))]
        content = bytearray(
            bmps.bmp(
                [[chance.randrange(1 << bits) for _ in range(width)] for _ in range(height)],
                bits=bits,
                header=header,
                compression=bmps.FIELDS if masks and header not in (bmps.OS2, bmps.SHORT_OS2) else bmps.RAW,
                masks=masks if header not in (bmps.OS2, bmps.SHORT_OS2) else (),
                palette=palette if bits <= 8 else (),
                is_top_down=chance.random() < 0.3,
            )
        )
        names = chance.sample(sorted(BMP_FIELDS), chance.choice((0, 1, 1, 2)))
        for name in names:
            at, letter, values = BMP_FIELDS[name]
            if at < 14 + header:
                struct.pack_into(f"<{letter}", content, at, chance.choice(values))
        yield "BMP, " + (", ".join(names) or "as written"), bytes(content)


BMP_MASKS = {
    16: [(), (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF)],
    32: [(), (0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000), (0x3FF00000, 0xFFC00, 0x3FF)],
}
BMP_FIELDS: dict[str, tuple[int, str, list[int]]] = {
    "Width": (18, "l", [1, 2, 7, 8, 9, 33]),
    "Height": (22, "l", [1, 2, 7, -1, -2, -7]),
    "BitCount": (28, "H", [1, 2, 4, 8, 16, 24, 32]),
    "Compression": (30, "L", [0, 1, 2, 3, 4, 5]),
    "SizeImage": (34, "L", [0, 1, 100, 0xFFFFFFFF]),
    "ClrUsed": (46, "L", [0, 1, 2, 3, 16, 200, 256]),
    "ClrImportant": (50, "L", [0, 1, 256]),
    "PixelsOffset": (10, "L", [54, 62, 200]),
}


def _colour(chance: Random) -> tuple[int, int, int]:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)


def webp_cases(chance: Random) -> Iterator[Made]:
    """Endlessly."""
    while True:
        width, height = chance.randint(2, 40), chance.randint(2, 40)
        options = chance.choice(({"lossless": True, "exact": True}, {"quality": 80}))
        picture = photo(width, height, chance.choice(("RGB", "RGBA")))
        if picture.mode == "RGBA" and chance.random() < 0.7:
            picture.putalpha(photo(width, height, "L"))
        flags = chance.choice((0, webps.ALPHA, webps.EXIF, webps.ICC, webps.ALPHA | webps.EXIF | webps.ICC))
        parts = webps.parts(picture, **options)
        shape = chance.choice(("simple", "extended", "animated"))
        if shape == "simple" and len(parts) == 1:
            yield "WebP, simple", webps.webp(*parts)
        elif shape == "animated":
            left, top = 2 * chance.randint(0, 4), 2 * chance.randint(0, 4)
            frames = [webps.frame(left, top, picture, **options), webps.frame(0, 0, picture, **options)]
            content = webps.animation(left + width, top + height + chance.randint(0, 3), *frames, flags=flags)
            yield "WebP, animated", content
        else:
            yield "WebP, extended", webps.webp(webps.extended(width, height, flags | webps.ALPHA), *parts)


MAKERS: dict[str, Callable[[Random], Iterator[Made]]] = {"tiff": tiff_cases, "bmp": bmp_cases, "webp": webp_cases}
