"""TIFF: which ways of storing samples are decoded, and where in the file they stand.

| compression | with |
|---|---|
| none, PackBits | all of the table in `tiff_directory` |
| LZW, Deflate (both numbers), LZMA, Zstandard | all of it; predictor 2 from 8 bits on, predictor 3 for floats |
| CCITT 1D, Group 3, Group 4 | grey of 1 bit |
| JPEG, neither lossless nor hierarchical | one, three or four samples of 8 bits in a plane; no palette, no CIELab |
| old-style JPEG | YCbCr |

Strips or tiles, either byte order, FillOrder 1 and 2. Anything else is `image.unsupported`.

Source: TIFF 6.0; its supplements 1 and 2; Technical Note 2 (JPEG); for what is compressed by other means libtiff.
"""

from operator import add

from msgspec import Struct
from msgspec.structs import replace

from batchproc.transform.modes import Size
from batchproc.transform.tiff_directory import (
    CIELAB,
    FLOAT,
    GREY,
    JPEG,
    OLD_JPEG,
    PALETTE,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
    Directory,
    PixelSamples,
    corrupt,
    samples_of,
    truncated,
    unsupported,
)

HEIGHT, COMPRESSION, FILL_ORDER, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_LENGTHS = 257, 259, 266, 273, 278, 279
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS = 317, 322, 323, 324, 325

NONE, PACKBITS = 1, 32773
_FAX = (2, 3, 4)
_JPEG = (1, 3, 4)  # samples in a plane
_PREDICTING = (5, 8, 32946, 34925, 50000)  # LZW, Deflate twice, LZMA, Zstandard
_OTHER_COMPRESSIONS = {
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "word-aligned CCITT",
    32809: "ThunderScan",
    32909: "PixarLog",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

_TILE_PIXELS = 4096 * 4096  # a tile may be larger than its picture, but not without a limit


class TiffLayout(Struct, frozen=True, kw_only=True):
    """A TIFF that can be decoded: its samples, and how and where they are stored."""

    size: Size
    samples: PixelSamples
    compression: int
    predictor: int
    fill_order: int
    tile: Size | None  # None: strips
    rows: int  # of a strip or tile
    offsets: tuple[int, ...]  # of the strips or tiles, plane by plane
    lengths: tuple[int, ...]

    def plane(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The offsets and lengths of one plane."""
        count = len(self.offsets) // (self.samples.count if self.samples.is_planar else 1)
        part = slice(number * count, (number + 1) * count)
        return self.offsets[part], self.lengths[part]


def layout_of(directory: Directory) -> TiffLayout:
    """Reads and judges a directory. Raises `StageError`: image.unsupported, truncated, image.corrupt."""
    compression = directory.whole_number(COMPRESSION, NONE)
    if compression not in (NONE, PACKBITS, JPEG, OLD_JPEG, *_FAX, *_PREDICTING):
        raise unsupported(f"{_OTHER_COMPRESSIONS.get(compression, f'unknown (number {compression})')} compression")
    samples = samples_of(directory, compression)
    _check_compression(samples, compression)
    return _stored(directory, samples, compression)


def _check_compression(samples: PixelSamples, compression: int) -> None:
    is_bilevel = samples.bits == samples.count == 1 and samples.colours in (WHITE_IS_ZERO, GREY)
    if compression in _FAX and not is_bilevel:
        raise unsupported(f"CCITT compression of {samples.name}, {samples.count} x {samples.bits} bits")
    is_photo = samples.bits == 8 and samples.colours not in (PALETTE, CIELAB) and samples.together in _JPEG
    if compression == JPEG and not is_photo:
        raise unsupported(f"JPEG compression of {samples.name}, {samples.together} x {samples.bits} bits")
    if compression == OLD_JPEG and (samples.colours != YCBCR or samples.is_planar):
        raise unsupported(f"old-style JPEG compression of {samples.name}")


def _stored(directory: Directory, samples: PixelSamples, compression: int) -> TiffLayout:
    size = directory.whole_number(WIDTH, 0), directory.whole_number(HEIGHT, 0)
    if not all(size):
        raise corrupt("it has no size")
    tile, rows = _tile_and_rows(directory, size)
    layout = TiffLayout(
        size=size,
        samples=samples,
        compression=compression,
        predictor=_predictor(directory, samples, compression),
        fill_order=directory.whole_number(FILL_ORDER, 1),
        tile=tile,
        rows=rows,
        offsets=(),
        lengths=(),
    )
    offsets, lengths = _segments(directory, layout)
    return replace(layout, offsets=offsets, lengths=lengths)


def _tile_and_rows(directory: Directory, size: Size) -> tuple[Size | None, int]:
    if TILE_WIDTH not in directory.fields:
        rows = min(directory.whole_number(ROWS_PER_STRIP, size[1]), size[1])
        if not rows:
            raise corrupt("strips of 0 rows")
        return None, rows
    tile = directory.whole_number(TILE_WIDTH, 0), directory.whole_number(TILE_HEIGHT, 0)
    if not all(tile):
        raise corrupt("tiles of 0 px")
    if tile[0] * tile[1] > max(_TILE_PIXELS, size[0] * size[1]):
        raise unsupported(f"tiles of {tile[0]} x {tile[1]} px")
    return tile, tile[1]


def _predictor(directory: Directory, samples: PixelSamples, compression: int) -> int:
    predictor = directory.whole_number(PREDICTOR, 1)
    is_known = predictor == 1 or (
        compression in _PREDICTING
        and ((predictor == 2 and samples.bits >= 8) or (predictor == 3 and samples.format == FLOAT))
        and samples.subsampling == (1, 1)
    )
    if not is_known:
        raise unsupported(f"predictor {predictor} for samples of {samples.bits} bits in compression {compression}")
    return predictor


def _segments(directory: Directory, layout: TiffLayout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the strips or tiles stand. Raises `StageError` (truncated) where one does not end within the file."""
    width, height = layout.size
    across = -(-width // layout.tile[0]) if layout.tile else 1
    down = -(-height // layout.rows)
    planes = layout.samples.count if layout.samples.is_planar else 1
    offsets = directory.whole_numbers(STRIP_OFFSETS) if layout.tile is None else ()
    offsets = offsets or directory.whole_numbers(TILE_OFFSETS) or directory.whole_numbers(STRIP_OFFSETS)
    count = across * down * planes
    if len(offsets) < count:
        raise corrupt(f"{len(offsets)} strips or tiles, {count} are needed")
    offsets = offsets[:count]
    lengths = _raw_lengths(layout, across, down) * planes if layout.compression == NONE else ()
    lengths = lengths or _stored_lengths(directory, offsets)
    if not all(offsets) or not all(lengths):
        raise unsupported("strips or tiles that are left out")
    if max(map(add, offsets, lengths)) > len(directory.content):
        raise truncated(directory.content)
    return offsets, lengths


def _raw_lengths(layout: TiffLayout, across: int, down: int) -> tuple[int, ...]:
    """Of one plane without compression: as many bytes as there are to read, whatever the file says."""
    if layout.tile is not None:
        return (layout.samples.bytes_of(*layout.tile),) * (across * down)
    width, height = layout.size
    last = layout.samples.bytes_of(width, height - (down - 1) * layout.rows)
    return (layout.samples.bytes_of(width, layout.rows),) * (down - 1) + (last,)


def _stored_lengths(directory: Directory, offsets: tuple[int, ...]) -> tuple[int, ...]:
    lengths = directory.whole_numbers(STRIP_LENGTHS) or directory.whole_numbers(TILE_LENGTHS)
    if len(lengths) < len(offsets):
        raise corrupt(f"the lengths of {len(lengths)} strips or tiles, {len(offsets)} are there")
    return lengths[: len(offsets)]
