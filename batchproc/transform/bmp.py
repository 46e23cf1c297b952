"""BMP, read here: the header with all that decides the pixels, then Pillow's raw decoder, or run lengths.

| stored as | is decoded |
|---|---|
| palette of 1, 2, 4, 8 bits | entries that are missing are black; a palette of greys alone gives grey |
| 16 bits | 5, 5, 5, spread evenly to 8 |
| 24, 32 bits | the fourth byte means nothing |
| bit fields of 16 bits | 5, 6, 5; 5, 5, 5; 5, 5, 5 and alpha of 1 |
| bit fields of 24, 32 bits | one byte for each colour, in any order, and for alpha where there is a mask for it |
| run lengths (RLE8, RLE4) | pixels that are skipped are transparent |

Anything else is `image.unsupported`. Colours are those of the embedded ICC profile, or of the end points and gamma of a
header that gives them (white is D65); else sRGB.

Source: Microsoft, "Bitmap Storage" and BITMAPV5HEADER; IBM, OS/2 Presentation Manager, BITMAPINFOHEADER2.
"""

import struct
from collections.abc import Iterator

from msgspec import Struct
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import D65, Declared, Space, space_of_gamma
from batchproc.transform.modes import Presentation, Size, display_by

_END_OF_ROW, _END, _MOVE = 0, 1, 2


def unpacked(content: bytes, start: int, size: Size, *, bits: int) -> tuple[bytes, bytes | None] | None:
    """The indices, bottom row first, and 255 for each pixel that was set (None: all were); None: codes are missing."""
    width, height = size
    indices, are_set = bytearray(width * height), bytearray(width * height)
    x, y, at = 0, 0, start
    while y < height and not (y == height - 1 and x >= width):
        code = content[at : at + 2]
        if len(code) < 2:
            return None
        at += 2
        count, value = code
        if count:
            run = _pattern(value, bits) * ((count + 1) // 2)
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _END:
            break
        elif value == _MOVE:
            move = content[at : at + 2]
            if len(move) < 2:
                return None
            at, x, y = at + 2, x + move[0], y + move[1]
            continue
        else:
            count, length = value, (value * bits + 7) // 8
            run = content[at : at + length]
            if len(run) < length:
                return None
            run = run if bits == 8 else bytes(half for pair in run for half in (pair >> 4, pair & 15))
            at += length + length % 2
        count = max(0, min(count, width - x))
        here = y * width + x
        indices[here : here + count] = run[:count]
        are_set[here : here + count] = b"\xff" * count
        x += count
    return bytes(indices), None if are_set.count(0xFF) == len(are_set) else bytes(are_set)


def _pattern(value: int, bits: int) -> bytes:
    """Two pixels."""
    return bytes((value, value)) if bits == 8 else bytes((value >> 4, value & 15))


_FILE_HEADER_BYTES = 14
_CORE, _INFO, _OS2, _V3, _V4, _V5 = 12, 40, 64, 56, 108, 124  # headers are known by their lengths
_OS2_LENGTHS = (16, _OS2)
_MASKS_AT = 54  # whether behind a header of 40 bytes or in a longer one

_RAW, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6
_OTHERS = {4: "a JPEG inside", 5: "a PNG inside", 11: "CMYK colours", 12: "CMYK colours", 13: "CMYK colours"}
_OTHERS_OF_OS2 = {3: "Huffman coding", 4: "run lengths of 24 bits"}
_RUN_BITS = {_RLE8: 8, _RLE4: 4}

_PALETTE_BITS = (1, 2, 4, 8)
_RAW_MODES = {16: ("RGB", "BGR;15"), 24: ("RGB", "BGR"), 32: ("RGB", "BGRX")}
_FIELDS_OF_16 = {
    (0x7C00, 0x03E0, 0x001F, 0): ("RGB", "BGR;15"),
    (0xF800, 0x07E0, 0x001F, 0): ("RGB", "BGR;16"),
    (0x7C00, 0x03E0, 0x001F, 0x8000): ("RGBA", "BGRA;15"),
}
_BYTES = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}

_EMBEDDED, _CALIBRATED = 0x4D424544, 0
_COLOURS_AT = _FILE_HEADER_BYTES + 56
_GAMMAS = (0.1, 10.0)


class BmpHeader(Struct, frozen=True, kw_only=True):
    """What the headers say, checked."""

    length: int  # of the second header
    size: Size
    is_top_down: bool
    bits: int
    compression: int
    colours: int  # in the palette; 0: as many as there can be
    masks: tuple[int, int, int, int]  # red, green, blue, alpha; of bit fields
    pixels_at: int

    @property
    def stride(self) -> int:
        """The bytes of a row, which is a multiple of four."""
        return (self.size[0] * self.bits + 31) // 32 * 4

    @property
    def palette_at(self) -> int:
        """Where the palette stands."""
        behind = {_FIELDS: 12, _ALPHA_FIELDS: 16}.get(self.compression, 0) if self.length == _INFO else 0
        return _FILE_HEADER_BYTES + self.length + behind

    @property
    def entry_bytes(self) -> int:
        """The length of an entry of the palette."""
        return 3 if self.length == _CORE else 4

    @property
    def palette_bytes(self) -> int:
        """The length of the palette."""
        most = 1 << self.bits if self.bits in _PALETTE_BITS else 0
        return self.entry_bytes * min(self.colours or most, most)

    @property
    def start(self) -> int:
        """Where the pixels are: behind the palette, if the file has them in front of it."""
        is_in_front = self.pixels_at <= self.palette_at
        return self.palette_at + self.palette_bytes if is_in_front else self.pixels_at


class BmpReader:
    """The picture of a BMP file. Raises `StageError` when it has none that can be decoded."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._header = _read_header(content)
        self.size = self._header.size

    @property
    def display(self) -> Presentation:
        """How the pixels are meant to be seen."""
        return display_by(_colours(self._content, self._header))

    def pixels(self) -> Image.Image:
        """All pixels, upright. Raises `StageError` (truncated), and what Pillow raises."""
        header = self._header
        if header.compression in _RUN_BITS:
            return self._run_lengths()
        if header.bits in _PALETTE_BITS:
            return self._with_palette(self._raw("P", "P" if header.bits == 8 else f"P;{header.bits}"))
        if header.compression == _RAW:
            return self._raw(*_RAW_MODES[header.bits])
        if header.bits == 16:
            return self._raw(*_FIELDS_OF_16[header.masks])
        return self._picked()

    def _raw(self, mode: str, raw_mode: str) -> Image.Image:
        header = self._header
        (width, height), start = header.size, header.start
        needed = header.stride * (height - 1) + (width * header.bits + 7) // 8  # the last row need not be padded
        data = self._content[start : start + header.stride * height]
        if len(data) < needed:
            raise _truncated(self._content)
        data = data.ljust(header.stride * height, b"\x00")
        return Image.frombytes(mode, header.size, data, "raw", raw_mode, header.stride, 1 if header.is_top_down else -1)

    def _picked(self) -> Image.Image:
        """Bit fields that are whole bytes: each colour is one of the three or four bytes of a pixel."""
        mode = "RGB" if self._header.bits == 24 else "RGBA"
        bands = self._raw(mode, mode).split()
        masks = [mask for mask in self._header.masks if mask]
        return Image.merge("RGB" if len(masks) == 3 else "RGBA", [bands[_BYTES[mask]] for mask in masks])

    def _run_lengths(self) -> Image.Image:
        header, bits = self._header, _RUN_BITS[self._header.compression]
        found = unpacked(self._content, header.start, header.size, bits=bits)
        if found is None:
            raise _truncated(self._content)
        indices, are_set = found
        image = self._with_palette(Image.frombytes("P", header.size, indices, "raw", "P", 0, -1))
        if are_set is not None:
            image = image.convert("L" if image.mode == "L" else "RGB")
            image.putalpha(Image.frombytes("L", header.size, are_set, "raw", "L", 0, -1))
        return image

    def _with_palette(self, image: Image.Image) -> Image.Image:
        """The picture in colours, or in grey where the palette has nothing else."""
        header = self._header
        step = header.entry_bytes
        entries = self._content[header.palette_at : min(header.palette_at + header.palette_bytes, header.start)]
        blue, green, red = (entries[at : len(entries) // step * step : step] for at in range(3))
        if red == green == blue:
            grey = Image.frombytes("L", image.size, image.tobytes())
            return grey if red == bytes(range(256)) else grey.point(red.ljust(256, b"\x00"))
        levels = bytes(level for colour in zip(red, green, blue, strict=True) for level in colour)
        image.putpalette(levels.ljust(3 * 256, b"\x00"))
        return image


def _read_header(content: bytes) -> BmpHeader:
    try:
        header = _header(content)
    except struct.error:
        raise _truncated(content) from None
    if not all(header.size) or header.size[0] < 0:
        raise _corrupt("it has no size")
    _check_compression(header)
    _check_depth(header)
    return header


def _header(content: bytes) -> BmpHeader:
    pixels_at, length = struct.unpack_from("<LL", content, 10)
    compression = colours = 0
    if length == _CORE:
        width, height, _planes, bits = struct.unpack_from("<HHHH", content, 18)
    else:
        width, height, _planes, bits = struct.unpack_from("<llHH", content, 18)
    if length >= _INFO:
        compression, colours = struct.unpack_from("<L12xL", content, 30)
    masks = (0, 0, 0, 0)
    if compression in (_FIELDS, _ALPHA_FIELDS) and length not in _OS2_LENGTHS:
        has_alpha = length >= _V3 or compression == _ALPHA_FIELDS
        masks = struct.unpack_from("<LLLL", content, _MASKS_AT)
        masks = masks if has_alpha else (*masks[:3], 0)
    return BmpHeader(
        length=length,
        size=(width, abs(height)),
        is_top_down=height < 0,
        bits=bits,
        compression=compression,
        colours=colours,
        masks=masks,
        pixels_at=pixels_at,
    )


def _check_compression(header: BmpHeader) -> None:
    others = _OTHERS_OF_OS2 if header.length in _OS2_LENGTHS else _OTHERS
    compression = header.compression
    if compression in others or compression not in (_RAW, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS):
        raise _unsupported(others.get(compression, f"unknown compression (number {compression})"))
    if compression in _RUN_BITS and (header.bits != _RUN_BITS[compression] or header.is_top_down):
        raise _unsupported(f"run lengths of {header.bits} bits{' from the top' if header.is_top_down else ''}")


def _check_depth(header: BmpHeader) -> None:
    bits = header.bits
    if header.compression not in (_FIELDS, _ALPHA_FIELDS):
        if bits not in _PALETTE_BITS and bits not in _RAW_MODES:
            raise _unsupported(f"{bits} bits per pixel")
    elif not _are_known(header.masks, bits):
        widths = ", ".join(str(mask.bit_count()) for mask in header.masks)
        raise _unsupported(f"bit fields of {widths} bits for red, green, blue and alpha in {bits}")


def _are_known(masks: tuple[int, int, int, int], bits: int) -> bool:
    """Of 24 and 32 bits each mask has to be another byte; only alpha may be left out."""
    if bits not in (24, 32):
        return bits == 16 and masks in _FIELDS_OF_16
    used = [_BYTES.get(mask, 4) for mask in masks if mask]
    return all(masks[:3]) and max(used) < bits // 8 and len(set(used)) == len(used)


def _colours(content: bytes, header: BmpHeader) -> Iterator[Declared | str]:
    """What is said of the colours, or why it is of no use."""
    if header.length not in (_V4, _V5):
        return
    (kind,) = struct.unpack_from("<L", content, _COLOURS_AT)
    if kind == _EMBEDDED and header.length == _V5:
        start, length = struct.unpack_from("<LL", content, _FILE_HEADER_BYTES + 112)
        profile = content[_FILE_HEADER_BYTES + start : _FILE_HEADER_BYTES + start + length]
        if profile:
            yield profile
    elif kind == _CALIBRATED:
        numbers = struct.unpack_from("<9l3L", content, _COLOURS_AT + 4)
        if any(numbers[:9]):
            yield _calibrated(numbers[:9], [number / 65536 for number in numbers[9:]])


def _calibrated(ends: tuple[int, ...], gammas: list[float]) -> Space | str:
    """The space of end points in XYZ, red, green, blue, and of three gammas that are to be one."""
    sums = [sum(ends[at : at + 3]) for at in (0, 3, 6)]
    if min(sums) <= 0 or not _GAMMAS[0] <= min(gammas) <= max(gammas) <= _GAMMAS[1] or max(gammas) - min(gammas) > 0.02:
        return "end points ignored: malformed"
    red, green, blue = ((ends[3 * at] / sums[at], ends[3 * at + 1] / sums[at]) for at in range(3))
    return space_of_gamma("end points and gamma", (*D65, *red, *green, *blue), gammas[0])


def _truncated(content: bytes) -> StageError:
    return StageError(Code.TRUNCATED, f"the bmp image ends early: {len(content)} bytes")


def _corrupt(what: str) -> StageError:
    return StageError(Code.IMAGE_CORRUPT, f"the bmp image is damaged: {what}")


def _unsupported(what: str) -> StageError:
    return StageError(Code.IMAGE_UNSUPPORTED, f"bmp with {what}")
