"""TIFF: its pixels. Which samples are decoded, and how they may be stored, stands in `tiff_directory`.

White at zero is inverted; palettes are looked up, whose entries are of 16 bits, or of 8 where none is larger (as old
programs wrote them); of 16 bits the upper ones count; colours that are multiplied by alpha are divided by it. Of chroma
that is subsampled without JPEG the nearest sample is taken. Samples that no colour needs are passed over.

libtiff decodes plane by plane, from a directory that is written anew with the tags that decide the pixels alone. It
stands behind the file's own bytes, in a header of the classic kind: BigTIFF needs no reader of its own, a plane is an
image of its own to libtiff, and what Pillow makes of other tags does not matter.

Strips and tiles of JPEG go through the reader of all JPEGs: libtiff would take data that ends early for whole. A strip
shares its tables with the others (TIFF Technical Note 2), and what colours it has says the directory: its own
application segments and comments are left out, and Adobe's is put in their place, by which libjpeg knows whether to
convert.
"""

import ctypes
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeAlias

from PIL import Image, ImageChops, _imaging

from batchproc.errors import StageError
from batchproc.transform import tiff_directory as tags
from batchproc.transform.jpeg import JpegReader
from batchproc.transform.jpeg_frame import read_frame
from batchproc.transform.modes import UPRIGHT, Presentation, Size
from batchproc.transform.tiff_directory import Directory, PixelSamples, TiffLayout, corrupt, unsupported

_TABLES = 347
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _COMMENT, _APPLICATIONS = 0xDA, 0xFE, range(0xE0, 0xF0)
_PRECISION_BITS = 8
_PROCESSES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # sequential and progressive, either entropy coding


def jpeg_plane(directory: Directory, layout: TiffLayout, plane: int) -> Image.Image:
    """One plane, or all samples where they are stored together: L, RGB, or CMYK for any four samples.

    Raises `StageError`: image.unsupported, image.corrupt, and what Pillow raises.
    """
    offsets, lengths = layout.plane(plane)
    head = _head(directory, is_ycbcr=layout.samples.colours == tags.YCBCR and not layout.samples.is_planar)
    segments = [directory.content[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
    image = Image.new({1: "L", 3: "RGB", 4: "CMYK"}[layout.samples.together], layout.size)
    for segment, (place, size) in zip(segments, _segment_places(layout), strict=True):
        image.paste(_decoded_segment(head + _without_marks(segment), image.mode, size), place)
    return image


def _head(directory: Directory, *, is_ycbcr: bool) -> bytes:
    """What each JPEG begins with: the colours, and the tables of all."""
    tables = directory.block(_TABLES).removesuffix(_END)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes((is_ycbcr,))
    return _START + adobe + (_without_marks(tables) if tables else b"")


def _without_marks(segment: bytes) -> bytes:
    """A JPEG without its beginning, application segments and comments."""
    kept, at = b"", len(_START)
    while at + 4 <= len(segment):
        marker = segment[at + 1]
        if segment[at] != 0xFF or not segment.startswith(_START):
            raise corrupt("a strip or tile is no JPEG")
        if marker == _SCAN:
            return kept + segment[at:]
        end = at + 2 + int.from_bytes(segment[at + 2 : at + 4]) if marker != 0xFF else at + 1
        if marker != _COMMENT and marker not in _APPLICATIONS:
            kept += segment[at:end]
        at = end
    return kept


def _segment_places(layout: TiffLayout) -> Iterator[tuple[tuple[int, int], Size]]:
    """Where the segments of a plane go, and the size of each."""
    width, height = layout.size
    across = layout.tile[0] if layout.tile else width
    for top in range(0, height, layout.rows):
        rows = layout.rows if layout.tile else min(layout.rows, height - top)
        for left in range(0, width, across):
            yield (left, top), (across, rows)


def _decoded_segment(content: bytes, mode: str, size: Size) -> Image.Image:
    frame = read_frame(content)
    if frame is None:
        raise corrupt("a strip or tile is no JPEG")
    if frame.precision != _PRECISION_BITS:
        raise unsupported(f"JPEG compression of {frame.precision} bits")
    if frame.marker not in _PROCESSES:
        raise unsupported("lossless or hierarchical JPEG compression")
    if frame.size[0] != size[0] or frame.size[1] < size[1]:
        raise corrupt("a strip or tile has another size than its JPEG")
    reader = JpegReader(content)
    try:
        image = reader.pixels()
    except StageError as error:  # the file is whole: what ends early in it is damaged
        raise corrupt(f"inside, {error.message}") from None
    if image.mode != mode:
        raise corrupt(f"a JPEG of mode {image.mode} inside")
    return ImageChops.invert(image) if mode == "CMYK" else image  # Pillow takes each for an inverted one of Adobe's


_Fields: TypeAlias = dict[int, tuple[int, tuple[tags.Number, ...]]]  # tag -> type and values

_SHORT, _LONG, _FLOAT = 3, 4, 11
# T4Options and T6Options; JPEGProc to JPEGACTables
_OPTIONS = (292, 293, 512, 513, 514, 515, 519, 520, 521)
_WITH_OPTIONS = (3, 4, tags.OLD_JPEG)
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))  # the bits of each byte
_COLOURS_OF = {1: tags.GREY, 2: tags.GREY, 3: tags.RGB}  # of so many samples, for libtiff; else CMYK


def mute_libtiff() -> None:
    """libtiff prints what it thinks of damaged files on stderr, past Python. What fails is known without that."""
    with suppress(OSError, AttributeError):  # a Pillow without libtiff, or with one of its own inside
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _places(layout: TiffLayout, plane: int) -> _Fields:
    offsets, lengths = layout.plane(plane)
    if layout.tile is None:
        rows = {tags.ROWS_PER_STRIP: (_LONG, (layout.rows,))}
        return {**rows, tags.STRIP_OFFSETS: (_LONG, offsets), tags.STRIP_LENGTHS: (_LONG, lengths)}
    return {
        tags.TILE_WIDTH: (_LONG, layout.tile[:1]),
        tags.TILE_HEIGHT: (_LONG, layout.tile[1:]),
        tags.TILE_OFFSETS: (_LONG, offsets),
        tags.TILE_LENGTHS: (_LONG, lengths),
    }


def _written(fields: _Fields, order: str, start: int) -> bytes:
    """A directory that stands at `start`, and behind it the values that do not fit into it."""
    entries, values = struct.pack(f"{order}H", len(fields)), b""
    end = start + 2 + 12 * len(fields) + 4
    for tag, (kind, numbers) in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(numbers)}{tags.LETTERS[kind]}", *numbers)
        entries += struct.pack(f"{order}HHL", tag, kind, len(numbers))
        entries += packed.ljust(4, b"\x00") if len(packed) <= 4 else struct.pack(f"{order}L", end + len(values))
        values += packed + bytes(len(packed) % 2) if len(packed) > 4 else b""
    return entries + bytes(4) + values


_ORIENTATION, _COLOUR_MAP, _ICC_PROFILE = 274, 320, 34675

_WITH_ALPHA = {"L": ("LA", "La"), "RGB": ("RGBA", "RGBa"), "P": ("PA", "")}  # by itself, and multiplied
_UPPER = 1 if sys.byteorder == "little" else 0  # which byte of two; libtiff hands out samples in the machine's order

# Raw modes for all samples of a pixel, where Pillow has one.
_RAW_WIDE = {
    ("L", 16): ("L;16B", "L;16")[_UPPER],
    ("RGB", 16): "RGB;16N",
    ("RGBA", 16): "RGBA;16N",
    ("CMYK", 16): "CMYK;16N",
    ("I", 32): "I;32N",
    ("F", 32): "F;32NF",
}
_PLANES = {1: ("1", "1"), 2: ("L", "L;2"), 4: ("L", "L;4"), 8: ("L", "L"), 16: ("L", _RAW_WIDE["L", 16])}
# Otherwise bands are picked: a mode with a band for each of the first four samples, by their bits and number. Two
# samples of 16 bits are four bytes.
_CARRIERS = {
    (8, 2): ("LA", "LA"),
    (8, 3): ("RGB", "RGB"),
    (8, 4): ("RGBA", "RGBA"),
    (8, 5): ("RGBA", "RGBAX"),
    (8, 6): ("RGBA", "RGBAXX"),
    (16, 2): ("RGBA", "RGBA"),
    (16, 3): ("RGB", "RGB;16N"),
    (16, 4): ("RGBA", "RGBA;16N"),
}


class TiffReader:
    """The picture of a TIFF file. Raises `StageError` when it has none that can be decoded."""

    def __init__(self, content: bytes) -> None:
        self._directory = tags.picture_directory(content)
        self._layout = tags.layout_of(self._directory)
        self.size = self._layout.size

    @property
    def display(self) -> Presentation:
        """How the pixels are meant to be seen."""
        (orientation, *_) = self._directory.hints(_ORIENTATION, (UPRIGHT,))
        profile = self._directory.block(_ICC_PROFILE)
        return Presentation(
            orientation=orientation if 1 <= orientation <= 8 else UPRIGHT,
            colours=(profile,) if profile else (),
        )

    def pixels(self) -> Image.Image:
        """All pixels as stored, in one of the modes of the table in `modes`. Raises what Pillow raises."""
        self._data = bytearray(self._directory.content)
        self._turn_bits()
        image = self._whole()
        self._data.clear()  # this reader lives as long as its picture is worked on
        return image

    def _turn_bits(self) -> None:
        """Brings the bits of each byte into libtiff's order, which it cannot for all tiles."""
        layout = self._layout
        if layout.fill_order != 2 or layout.compression in (tags.JPEG, tags.OLD_JPEG):
            return
        for offset, length in {*zip(layout.offsets, layout.lengths, strict=True)}:
            segment = slice(offset, offset + length)
            self._data[segment] = self._data[segment].translate(_REVERSED)

    def _whole(self) -> Image.Image:
        samples = self._layout.samples
        if samples.colours == tags.YCBCR and not samples.is_planar:
            return self._decoded("RGB", "RGBX")
        mode = _mode(samples)
        raw_mode = _raw_mode(mode, samples)
        bands = [self._decoded(mode, raw_mode)] if raw_mode else self._bands()
        image = _merged(mode, bands, samples.colours)
        if samples.colours == tags.PALETTE:
            image.putpalette(_palette(self._directory, samples.bits))
        return image

    def _bands(self) -> list[Image.Image]:
        """The bands of 8 bits that are needed: of the colours, and of alpha."""
        samples = self._layout.samples
        needed = [*range(samples.model.samples), *([] if samples.alpha is None else [samples.alpha])]
        if samples.is_planar:
            return [self._decoded(*_PLANES[samples.bits], plane=plane).convert("L") for plane in needed]
        carried = self._decoded(*_CARRIERS[samples.bits, samples.together]).split()
        carried = carried[_UPPER::2] if (samples.bits, samples.together) == (16, 2) else carried
        return [carried[at] for at in needed]

    def _decoded(self, mode: str, raw_mode: str, *, plane: int = 0) -> Image.Image:
        """One plane, or all samples where they are stored together. Raises `StageError`, and what Pillow raises."""
        if self._layout.compression == tags.JPEG:
            image = jpeg_plane(self._directory, self._layout, plane)
            return image if image.mode == mode else Image.frombytes(mode, image.size, image.tobytes())
        order, start = self._directory.order, len(self._data) + len(self._data) % 2
        self._data += bytes(start - len(self._data)) + _written(self._fields(plane), order, start)
        self._data[:8] = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}L", start)
        return Image.frombytes(mode, self._layout.size, self._data, "libtiff", raw_mode, False, 0)

    def _fields(self, plane: int) -> _Fields:
        layout, samples = self._layout, self._layout.samples
        is_ycbcr = samples.colours == tags.YCBCR and not samples.is_planar
        return {
            tags.WIDTH: (_LONG, layout.size[:1]),
            tags.HEIGHT: (_LONG, layout.size[1:]),
            tags.BITS: (_SHORT, (samples.bits,) * samples.together),
            tags.COMPRESSION: (_SHORT, (layout.compression,)),
            tags.PHOTOMETRIC: (_SHORT, (tags.YCBCR if is_ycbcr else _COLOURS_OF.get(samples.together, tags.CMYK),)),
            tags.SAMPLES: (_SHORT, (samples.together,)),
            tags.PLANAR: (_SHORT, (1,)),
            tags.SAMPLE_FORMAT: (_SHORT, (samples.format,) * samples.together),
            **_places(layout, plane),
            **self._options(is_ycbcr=is_ycbcr),
        }

    def _options(self, *, is_ycbcr: bool) -> _Fields:
        """What the compression, or the conversion of YCbCr, is to know."""
        directory, layout = self._directory, self._layout
        options = {tag: (_LONG, directory.whole_numbers(tag)) for tag in _OPTIONS if tag in directory.fields}
        fields: _Fields = {**options} if layout.compression in _WITH_OPTIONS else {}
        if layout.predictor != 1:
            fields[tags.PREDICTOR] = (_SHORT, (layout.predictor,))
        if is_ycbcr and layout.compression != tags.OLD_JPEG:
            fields[tags.SUBSAMPLING] = (_SHORT, layout.samples.subsampling)
            fields[tags.COEFFICIENTS] = (_FLOAT, directory.numbers(tags.COEFFICIENTS, tags.REC_601))
            fields[tags.REFERENCE_LEVELS] = (_FLOAT, directory.numbers(tags.REFERENCE_LEVELS, tags.FULL_RANGE))
        return fields


def _mode(samples: PixelSamples) -> str:
    if samples.bits == 32:
        return "F" if samples.format == tags.FLOAT else "I"
    mode = samples.model.mode
    if samples.alpha is not None:
        return _WITH_ALPHA[mode][samples.is_associated]
    return "1" if mode == "L" and samples.bits == 1 else mode


def _raw_mode(mode: str, samples: PixelSamples) -> str | None:
    """What Pillow calls a plane that holds just the bands of a mode; None: they are to be picked, or one inverted."""
    if Image.getmodebands(mode) != samples.together or (mode == "LA" and samples.colours == tags.WHITE_IS_ZERO):
        return None
    if samples.bits < 8:
        return mode if mode == "1" else f"{mode};{samples.bits}"
    return mode if samples.bits == 8 else _RAW_WIDE.get((mode, samples.bits))


def _merged(mode: str, bands: list[Image.Image], colours: int) -> Image.Image:
    if colours == tags.WHITE_IS_ZERO:
        bands[0] = ImageChops.invert(bands[0])
    if colours == tags.CIELAB:  # a and b are signed, Pillow's are not
        bands[1:] = [band.point([level ^ 0x80 for level in range(256)]) for band in bands[1:]]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def _palette(directory: Directory, bits: int) -> bytes:
    entries = directory.whole_numbers(_COLOUR_MAP)
    count = 1 << bits
    if len(entries) != 3 * count or max(entries) > 0xFFFF:
        raise corrupt(f"a palette of {len(entries)} numbers for samples of {bits} bits")
    shift = 8 if max(entries) > 0xFF else 0
    colours = zip(entries[:count], entries[count : 2 * count], entries[2 * count :], strict=True)
    return bytes(number >> shift for colour in colours for number in colour)
