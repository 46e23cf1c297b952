"""The samples of a TIFF, plane by plane: JPEGs by the reader of all JPEGs, all else by libtiff.

For libtiff the directory is written anew, with the tags that decide the pixels alone. It stands behind the file's own
bytes, in a header of the classic kind: BigTIFF needs no reader of its own, a plane is a picture of its own to libtiff,
and what Pillow makes of other tags does not matter.
"""

import ctypes
import struct
from contextlib import suppress
from typing import TypeAlias

from PIL import Image, _imaging

from batchproc.transform import tiff_layout as stored
from batchproc.transform import tiff_samples as tags
from batchproc.transform.tiff_directory import LETTERS, WIDTH, Directory, Number
from batchproc.transform.tiff_jpeg import jpeg_plane
from batchproc.transform.tiff_layout import Layout
from batchproc.transform.tiff_samples import CMYK, GREY, JPEG, OLD_JPEG, RGB, YCBCR

_Fields: TypeAlias = dict[int, tuple[int, tuple[Number, ...]]]  # tag -> type and values

_SHORT, _LONG, _FLOAT = 3, 4, 11
# T4Options and T6Options; JPEGProc to JPEGACTables
_OPTIONS = (292, 293, 512, 513, 514, 515, 519, 520, 521)
_WITH_OPTIONS = (3, 4, OLD_JPEG)
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))  # the bits of each byte
_COLOURS_OF = {1: GREY, 2: GREY, 3: RGB}  # of so many samples, where libtiff need not know; else CMYK


def mute_libtiff() -> None:
    """libtiff prints what it thinks of damaged files on stderr, past Python. What fails is known without that."""
    with suppress(OSError, AttributeError):  # a Pillow without libtiff, or with one of its own inside
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


class Source:
    """The pixels of one file, as libtiff decodes them. Holds a copy of the file."""

    def __init__(self, directory: Directory, layout: Layout) -> None:
        self._directory = directory
        self._layout = layout
        self._data = bytearray(directory.content)
        if layout.fill_order == 2 and layout.compression not in (JPEG, OLD_JPEG):  # libtiff cannot for all tiles
            for offset, length in {*zip(layout.offsets, layout.lengths, strict=True)}:
                segment = slice(offset, offset + length)
                self._data[segment] = self._data[segment].translate(_REVERSED)

    def decoded(self, mode: str, raw_mode: str, *, plane: int = 0) -> Image.Image:
        """One plane, or all samples where they are stored together. Raises `StageError`, and what Pillow raises."""
        if self._layout.compression == JPEG:
            image = jpeg_plane(self._directory, self._layout, plane)
            return image if image.mode == mode else Image.frombytes(mode, image.size, image.tobytes())
        order, start = self._directory.order, len(self._data) + len(self._data) % 2
        self._data += bytes(start - len(self._data)) + _written(self._fields(plane), order, start)
        self._data[:8] = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}L", start)
        return Image.frombytes(mode, self._layout.size, self._data, "libtiff", raw_mode, False, 0)

    def _fields(self, plane: int) -> _Fields:
        layout, samples = self._layout, self._layout.samples
        is_ycbcr = samples.colours == YCBCR and not samples.is_planar
        return {
            WIDTH: (_LONG, layout.size[:1]),
            stored.HEIGHT: (_LONG, layout.size[1:]),
            tags.BITS: (_SHORT, (samples.bits,) * samples.together),
            stored.COMPRESSION: (_SHORT, (layout.compression,)),
            tags.PHOTOMETRIC: (_SHORT, (YCBCR if is_ycbcr else _COLOURS_OF.get(samples.together, CMYK),)),
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
            fields[stored.PREDICTOR] = (_SHORT, (layout.predictor,))
        if is_ycbcr and layout.compression != OLD_JPEG:
            fields[tags.SUBSAMPLING] = (_SHORT, layout.samples.subsampling)
            fields[tags.COEFFICIENTS] = (_FLOAT, directory.numbers(tags.COEFFICIENTS, tags.REC_601))
            fields[tags.REFERENCE_LEVELS] = (_FLOAT, directory.numbers(tags.REFERENCE_LEVELS, tags.FULL_RANGE))
        return fields


def _places(layout: Layout, plane: int) -> _Fields:
    offsets, lengths = layout.plane(plane)
    if layout.tile is None:
        rows = {stored.ROWS_PER_STRIP: (_LONG, (layout.rows,))}
        return {**rows, stored.STRIP_OFFSETS: (_LONG, offsets), stored.STRIP_LENGTHS: (_LONG, lengths)}
    return {
        stored.TILE_WIDTH: (_LONG, layout.tile[:1]),
        stored.TILE_HEIGHT: (_LONG, layout.tile[1:]),
        stored.TILE_OFFSETS: (_LONG, offsets),
        stored.TILE_LENGTHS: (_LONG, lengths),
    }


def _written(fields: _Fields, order: str, start: int) -> bytes:
    """A directory that stands at `start`, and behind it the values that do not fit into it."""
    entries, values = struct.pack(f"{order}H", len(fields)), b""
    end = start + 2 + 12 * len(fields) + 4
    for tag, (kind, numbers) in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(numbers)}{LETTERS[kind]}", *numbers)
        entries += struct.pack(f"{order}HHL", tag, kind, len(numbers))
        entries += packed.ljust(4, b"\x00") if len(packed) <= 4 else struct.pack(f"{order}L", end + len(values))
        values += packed + bytes(len(packed) % 2) if len(packed) > 4 else b""
    return entries + bytes(4) + values
