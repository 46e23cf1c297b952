"""TIFF and BigTIFF: the directory that describes the picture, read without trust, its samples, and how they are stored.

A file is a chain of directories of tags (TIFF 6.0, section 2; for BigTIFF the offsets are of 64 bits). The picture is
the first directory that does not call itself a reduced copy or a mask (NewSubfileType): thumbnails that stand first are
passed over, and the full picture is also looked for in the SubIFDs of the first directory, where cameras put it. If
there is none, it is the first directory.

These samples have a meaning here (TIFF 6.0, part 3):

| colours (photometric interpretation) | bits per sample | more samples |
|---|---|---|
| grey, black or white at zero | 1, 2, 4, 8, 16; 32 and float 32 with black at zero and no alpha | alpha, unspecified |
| RGB | 8, 16; in separate planes 1, 2, 4 too | alpha, unspecified |
| palette | 1, 2, 4, 8 | alpha that is not associated, unspecified |
| CMYK (InkSet 1, DotRange full) | 8, 16; in separate planes 1, 2, 4 too | unspecified |
| YCbCr, Rec. 601, full range where it is not left to libtiff | 8; in separate planes without subsampling | none |
| CIELab | 8 | unspecified |

Of 8 bits one plane holds at most six samples, of 16 at most four, of fewer or more bits one.

They may be stored so, in strips or tiles, in either byte order, with FillOrder 1 or 2:

| compression | with |
|---|---|
| none, PackBits | all of the table above |
| LZW, Deflate (both numbers), LZMA, Zstandard | all of it; predictor 2 from 8 bits on, predictor 3 for floats |
| CCITT 1D, Group 3, Group 4 | grey of 1 bit |
| JPEG, neither lossless nor hierarchical | one, three or four samples of 8 bits in a plane; no palette, no CIELab |
| old-style JPEG | YCbCr |

Anything else is `image.unsupported`. Samples are unsigned integers, where it does not say otherwise. Samples that are
more than the colours need and that no tag speaks of: the fourth of RGB is alpha, others are unsupported.

Source: TIFF 6.0; its supplements 1 and 2; Technical Note 2 (JPEG); for what is compressed by other means libtiff.
"""

import struct
from collections.abc import Mapping
from operator import add
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.errors import Code, StageError
from batchproc.transform.modes import Size

Number: TypeAlias = int | float

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, SUB_IFDS = 254, 255, 256, 330
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # a value of SubfileType
_DIRECTORIES_READ = 64

# Field types (section 2; BigTIFF's from 16 on) -> struct's letters, and how many of those make a value.
LETTERS = {1: "B", 2: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L",
            16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_RATIONALS = {5: "L", 10: "l"}


class Field(Struct, frozen=True, kw_only=True):
    """One entry of a directory: `count` values of a type, which stand at `offset` of the file."""

    kind: int
    count: int
    offset: int


class Directory(Struct, frozen=True, kw_only=True):
    """The fields of one directory by their tags. Values are read when they are asked for."""

    content: bytes
    order: str  # struct's sign for the byte order
    fields: Mapping[int, Field]
    next_offset: int

    def numbers(self, tag: int, default: tuple[Number, ...] = ()) -> tuple[Number, ...]:
        """The values of a field that decides the picture; the default when it is not there.

        Raises `StageError`: truncated when they lie beyond the end of the file, image.corrupt when they are no numbers.
        """
        field = self.fields.get(tag)
        if field is None or field.count == 0:
            return default
        is_rational = field.kind in _RATIONALS
        letter = _RATIONALS.get(field.kind) or LETTERS.get(field.kind)
        if letter is None:
            raise corrupt(f"tag {tag} is of type {field.kind}")
        count = field.count * (1 + is_rational)
        _check_within(self.content, field.offset, count * struct.calcsize(f"={letter}"))
        values = struct.unpack_from(f"{self.order}{count}{letter}", self.content, field.offset)
        if is_rational:
            return tuple(top / bottom if bottom else 0 for top, bottom in zip(values[::2], values[1::2], strict=True))
        return values

    def whole_numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """As `numbers`, for fields that count, point or choose."""
        values = self.numbers(tag, default)
        if not all(isinstance(value, int) and value >= 0 for value in values):
            raise corrupt(f"tag {tag} holds no whole numbers")
        return tuple(int(value) for value in values)

    def whole_number(self, tag: int, default: int) -> int:
        """The first of `whole_numbers`."""
        return self.whole_numbers(tag, (default,))[0]

    def hints(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """As `whole_numbers`, for fields that never fail a picture: the default when they are of no use."""
        try:
            return self.whole_numbers(tag, default)
        except StageError:
            return default

    def block(self, tag: int) -> bytes:
        """The bytes of a field that does not decide the pixels; none when they are not there."""
        field = self.fields.get(tag)
        if field is None or field.kind not in (1, 7):
            return b""
        return self.content[field.offset : field.offset + field.count]

    @property
    def is_whole_picture(self) -> bool:
        """Whether it describes a picture, and calls itself neither a reduced copy nor a mask."""
        is_part = self.hints(NEW_SUBFILE_TYPE, (0,))[0] & (_REDUCED | _MASK)
        return WIDTH in self.fields and not is_part and self.hints(SUBFILE_TYPE, (0,))[0] != _OLD_REDUCED


def picture_directory(content: bytes) -> Directory:
    """The directory of the picture. Raises `StageError`: truncated, image.corrupt."""
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\x00", b"\x00+")
    _check_within(content, 0, 16 if is_big else 8)
    (offset,) = struct.unpack_from(order + ("Q" if is_big else "L"), content, 8 if is_big else 4)
    if offset < 8:
        raise corrupt("it has no directory")
    first = _read(content, order, offset, is_big=is_big)
    return first if first.is_whole_picture else _whole_picture(first, is_big=is_big, seen={offset}) or first


def corrupt(what: str) -> StageError:
    """The failure of a file that is no valid TIFF."""
    return StageError(Code.IMAGE_CORRUPT, f"the tiff image is damaged: {what}")


def truncated(content: bytes) -> StageError:
    """The failure of a file that points beyond its end."""
    return StageError(Code.TRUNCATED, f"the tiff image ends early: {len(content)} bytes")


def _whole_picture(first: Directory, *, is_big: bool, seen: set[int]) -> Directory | None:
    """Looks below the first directory, then behind it. Raises `StageError` where it may be in what cannot be read."""
    waiting, failure = [*first.hints(SUB_IFDS), first.next_offset], None
    while waiting and len(seen) < _DIRECTORIES_READ:
        offset = waiting.pop(0)
        if offset in seen or offset == 0:
            continue
        seen.add(offset)
        try:
            directory = _read(first.content, first.order, offset, is_big=is_big)
        except StageError as error:
            failure = error
            continue
        if directory.is_whole_picture:
            return directory
        waiting += [directory.next_offset] if not waiting else []
    if failure is not None:
        raise failure
    return None


def _read(content: bytes, order: str, offset: int, *, is_big: bool) -> Directory:
    count_letter, letter, size = ("Q", "Q", 20) if is_big else ("H", "L", 12)
    head = struct.calcsize(f"={count_letter}")
    width = struct.calcsize(f"={letter}")
    _check_within(content, offset, head)
    (entries,) = struct.unpack_from(order + count_letter, content, offset)
    _check_within(content, offset + head, entries * size)
    fields: dict[int, Field] = {}
    for at in range(offset + head, offset + head + entries * size, size):
        tag, kind, count, value = struct.unpack_from(f"{order}HH{letter}{letter}", content, at)
        is_inline = count * _size(kind) <= width
        fields.setdefault(tag, Field(kind=kind, count=count, offset=at + size - width if is_inline else value))
    end = offset + head + entries * size
    next_offset = struct.unpack_from(order + letter, content, end)[0] if end + width <= len(content) else 0
    return Directory(content=content, order=order, fields=fields, next_offset=next_offset)


def _size(kind: int) -> int:
    """The bytes of one value; a type that is not known is taken for the smallest."""
    if kind in _RATIONALS:
        return 8
    return struct.calcsize(f"={LETTERS.get(kind, 'B')}")


def _check_within(content: bytes, offset: int, length: int) -> None:
    if offset + length > len(content):
        raise truncated(content)


BITS, PHOTOMETRIC, SAMPLES, PLANAR = 258, 262, 277, 284
INK_SET, DOT_RANGE, EXTRA_SAMPLES, SAMPLE_FORMAT = 332, 336, 338, 339
COEFFICIENTS, SUBSAMPLING, REFERENCE_LEVELS = 529, 530, 532

WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
class ColourModel(Struct, frozen=True):
    """What samples of one photometric interpretation are; bits of those that are unsigned."""

    name: str
    samples: int
    mode: str  # of Pillow
    depths: tuple[int, ...]


_MODELS = {
    WHITE_IS_ZERO: ColourModel("grey with white at zero", 1, "L", (1, 2, 4, 8, 16)),
    GREY: ColourModel("grey", 1, "L", (1, 2, 4, 8, 16)),
    RGB: ColourModel("RGB", 3, "RGB", (1, 2, 4, 8, 16)),
    PALETTE: ColourModel("a palette", 1, "P", (1, 2, 4, 8)),
    CMYK: ColourModel("CMYK", 4, "CMYK", (1, 2, 4, 8, 16)),
    YCBCR: ColourModel("YCbCr", 3, "YCbCr", (8,)),
    CIELAB: ColourModel("CIELab", 3, "LAB", (8,)),
}
_OTHER_COLOURS = {
    4: "a transparency mask",
    9: "ICCLab colours",
    10: "ITULab colours",
    32803: "the colour filter array of a camera",
    32844: "LogL samples",
    32845: "LogLuv colours",
    34892: "raw samples of a camera",
    51177: "a depth map",
}

OLD_JPEG, JPEG = 6, 7  # compressions that know of colours

UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
_FORMATS = {SIGNED: "signed", FLOAT: "float", 5: "complex", 6: "complex"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_CORELS_ALPHA = 999  # Corel Draw 10

_MOST_TOGETHER = {8: 6, 16: 4}  # samples in one plane; of other depths one
_LAST_CARRIED = 3  # alpha is found in the first four samples, or in a plane of its own
_SUBSAMPLINGS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))
REC_601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0, 255, 128, 255, 128, 255)


class PixelSamples(Struct, frozen=True, kw_only=True):
    """What is stored of a pixel, and what it means."""

    colours: int  # photometric interpretation
    count: int
    bits: int
    format: int
    alpha: int | None  # which one is alpha
    is_associated: bool  # whether the colours are multiplied by alpha
    is_planar: bool
    subsampling: tuple[int, ...]  # of the chroma of YCbCr; JPEG data say it themselves

    @property
    def model(self) -> ColourModel:
        """What the colours are."""
        return _MODELS[self.colours]

    @property
    def together(self) -> int:
        """How many of a pixel are stored in one plane."""
        return 1 if self.is_planar else self.count

    def bytes_of(self, width: int, rows: int) -> int:
        """The length of so many rows of a plane before compression."""
        if self.colours == YCBCR and not self.is_planar:
            across, down = self.subsampling
            return -(-width // across) * -(-rows // down) * (across * down + 2)
        return rows * ((width * self.together * self.bits + 7) // 8)


def unsupported(what: str) -> StageError:
    """The failure of a picture that has no row in the table."""
    return StageError(Code.IMAGE_UNSUPPORTED, f"tiff with {what}")


def samples_of(directory: Directory, compression: int) -> PixelSamples:
    """Reads and judges what the samples are. Raises `StageError`: image.unsupported, truncated, image.corrupt."""
    samples = _samples(directory, compression)
    _check_depth(samples)
    _check_inks(directory, samples)
    _check_ycbcr(directory, samples, compression)
    return samples


def _samples(directory: Directory, compression: int) -> PixelSamples:
    colours = directory.whole_number(PHOTOMETRIC, YCBCR if compression == OLD_JPEG else WHITE_IS_ZERO)
    if colours not in _MODELS:
        raise unsupported(_OTHER_COLOURS.get(colours, f"unknown colours (photometric interpretation {colours})"))
    count = directory.whole_number(SAMPLES, 1)
    if count < _MODELS[colours].samples:
        raise corrupt(f"{count} samples per pixel, its colours need {_MODELS[colours].samples}")
    alpha, is_associated = _alpha(directory, colours, count)
    return PixelSamples(
        colours=colours,
        count=count,
        bits=_same_for_all(directory.whole_numbers(BITS, (1,))[:count], "bits per sample"),
        format=_same_for_all(directory.whole_numbers(SAMPLE_FORMAT, (UNSIGNED,))[:count], "sample formats"),
        alpha=alpha,
        is_associated=is_associated,
        is_planar=count > 1 and directory.whole_number(PLANAR, 1) == 2,
        subsampling=_subsampling(directory) if colours == YCBCR and compression not in (JPEG, OLD_JPEG) else (1, 1),
    )


def _same_for_all(values: tuple[int, ...], what: str) -> int:
    """The value of all samples, however often it is told."""
    if len(set(values)) > 1:
        raise unsupported(f"{what} of {', '.join(map(str, values))}")
    return values[0]


def _alpha(directory: Directory, colours: int, count: int) -> tuple[int | None, bool]:
    """Which sample is alpha, and whether it is associated. The first counts."""
    first = _MODELS[colours].samples
    extra = directory.whole_numbers(EXTRA_SAMPLES)[: count - first]
    if not extra and (colours, count) == (RGB, 4):
        extra = (_UNASSOCIATED,)
    if len(extra) < count - first:
        raise unsupported(f"{count} samples per pixel, of which {count - first - len(extra)} are not explained")
    found = [(at, kind) for at, kind in enumerate(extra, first) if kind in (_ASSOCIATED, _UNASSOCIATED, _CORELS_ALPHA)]
    if not found:
        return None, False
    if colours not in (WHITE_IS_ZERO, GREY, RGB, PALETTE):
        raise unsupported(f"alpha beside {_MODELS[colours].name}")
    is_associated = found[0][1] == _ASSOCIATED
    if found[0][0] > _LAST_CARRIED and directory.whole_number(PLANAR, 1) != 2:
        raise unsupported(f"alpha behind {found[0][0]} other samples")
    if is_associated and colours in (WHITE_IS_ZERO, PALETTE):
        raise unsupported(f"{_MODELS[colours].name} multiplied by alpha")
    return found[0][0], is_associated


def _subsampling(directory: Directory) -> tuple[int, ...]:
    found = directory.whole_numbers(SUBSAMPLING, (2, 2))
    if found not in _SUBSAMPLINGS:
        raise unsupported(f"YCbCr subsampling {found}")
    return found


def _check_depth(samples: PixelSamples) -> None:
    bits, colours, is_grey = samples.bits, samples.colours, samples.colours == GREY and samples.alpha is None
    if samples.format not in (UNSIGNED, UNDEFINED):
        is_known = is_grey and bits == 32 and samples.format in (SIGNED, FLOAT)
    else:
        is_known = bits in samples.model.depths or (is_grey and bits == 32)
        is_known &= not (colours == PALETTE and samples.alpha is not None and bits < 8)
    if not is_known:
        kind = f"{_FORMATS.get(samples.format, 'unsigned')} samples" if samples.format != UNDEFINED else "samples"
        raise unsupported(f"{samples.model.name} in {kind} of {bits} bits")
    if samples.together > _MOST_TOGETHER.get(bits, 1):
        raise unsupported(f"{samples.together} samples of {bits} bits in one plane")


def _check_inks(directory: Directory, samples: PixelSamples) -> None:
    if samples.colours != CMYK:
        return
    full = (1 << samples.bits) - 1
    if directory.whole_number(INK_SET, 1) != 1:
        raise unsupported("inks other than CMYK")
    if directory.whole_numbers(DOT_RANGE, (0, full))[:2] != (0, full):
        raise unsupported("a DotRange that is not the full one")


def _check_ycbcr(directory: Directory, samples: PixelSamples, compression: int) -> None:
    if samples.colours != YCBCR:
        return
    if samples.count > 3:
        raise unsupported("more samples beside YCbCr")
    if samples.is_planar and samples.subsampling != (1, 1):
        raise unsupported("subsampled YCbCr in separate planes")
    if samples.is_planar or compression == JPEG:  # else libtiff does what these two say
        coefficients = directory.numbers(COEFFICIENTS, REC_601)
        levels = directory.numbers(REFERENCE_LEVELS, FULL_RANGE)
        if not _close(coefficients, REC_601, 0.01) or not _close(levels, FULL_RANGE, 1):
            raise unsupported("YCbCr that is not that of Rec. 601 in full range")


def _close(values: tuple[Number, ...], others: tuple[Number, ...], within: float) -> bool:
    return len(values) == len(others) and all(abs(a - b) <= within for a, b in zip(values, others, strict=True))


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
        raise unsupported(f"CCITT compression of {samples.model.name}, {samples.count} x {samples.bits} bits")
    is_photo = samples.bits == 8 and samples.colours not in (PALETTE, CIELAB) and samples.together in _JPEG
    if compression == JPEG and not is_photo:
        raise unsupported(f"JPEG compression of {samples.model.name}, {samples.together} x {samples.bits} bits")
    if compression == OLD_JPEG and (samples.colours != YCBCR or samples.is_planar):
        raise unsupported(f"old-style JPEG compression of {samples.model.name}")


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
