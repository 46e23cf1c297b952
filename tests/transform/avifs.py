"""AVIF files as Pillow and libvips write them, and put together anew around the same pixels with other boxes."""

import struct
from collections.abc import Sequence

import pyvips
from PIL import Image

from tests.transform.drawing import encoded

_ESSENTIAL = (b"av1C", b"irot", b"imir", b"clap")


def avif(image: Image.Image, properties: Sequence[bytes] = (), *, colours: bytes | None = None) -> bytes:
    """An AVIF with further properties, in this order; `colours` stand in place of those that Pillow writes."""
    written = encoded(image, "AVIF", quality=100, subsampling="4:4:4", speed=10)
    kept = [_found(written, kind) for kind in (b"ispe", b"pixi", b"av1C")]
    kept += [one for one in (_found(written, b"colr") if colours is None else colours, *properties) if one]
    data = _found(written, b"mdat")[8:]
    start = len(_file(kept, data, 0)) - len(data)
    return _file(kept, data, start)


def box(kind: bytes, *content: bytes) -> bytes:
    """A box (ISO/IEC 14496-12, 4.2)."""
    joined = b"".join(content)
    return struct.pack(">L4s", 8 + len(joined), kind) + joined


def nclx(primaries: int, transfer: int, *, matrix: int = 6, full_range: bool = True) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7))


def clap(width: int, height: int, across: int = 0, down: int = 0, parts: int = 1) -> bytes:
    """A clean aperture; its shifts from the centre in parts of a pixel."""
    return box(b"clap", struct.pack(">lLlLlLlL", width, 1, height, 1, across, parts, down, parts))


def irot(quarters: int) -> bytes:
    return box(b"irot", bytes((quarters,)))


def imir(axis: int) -> bytes:
    return box(b"imir", bytes((axis,)))


def avif_by_libvips(image: Image.Image, *, depth: int, subsampled: bool) -> bytes:
    """An AVIF of more than 8 bits, which Pillow does not write."""
    grey = image.mode == "L"
    pixels = pyvips.Image.new_from_memory(image.tobytes(), *image.size, len(image.getbands()), "uchar")
    pixels = pixels.copy(interpretation="b-w" if grey else "srgb")
    if depth > 8:
        pixels = (pixels * 257).cast("ushort").copy(interpretation="grey16" if grey else "rgb16")
    mode = "on" if subsampled else "off"
    return bytes(pixels.heifsave_buffer(compression="av1", bitdepth=depth, subsample_mode=mode, Q=100, effort=0))


def seen_by_libvips(content: bytes) -> Image.Image:
    pixels = pyvips.Image.new_from_buffer(content, "")
    pixels = (pixels >> 8).cast("uchar") if pixels.format == "ushort" else pixels
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.bands]
    return Image.frombytes(mode, (pixels.width, pixels.height), bytes(pixels.write_to_memory()))


def _found(content: bytes, kind: bytes) -> bytes:
    at = content.index(kind) - 4
    return content[at : at + int.from_bytes(content[at : at + 4])]


def _file(properties: Sequence[bytes], data: bytes, start: int) -> bytes:
    """A file of one item, whose data begins at `start`."""
    numbers = bytes(number | 0x80 * (kind[4:8] in _ESSENTIAL) for number, kind in enumerate(properties, 1))
    associations = struct.pack(">LLHB", 0, 1, 1, len(numbers)) + numbers
    meta = box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", struct.pack(">LH", 0, 1)),
        box(b"iloc", struct.pack(">LHHHHHLL", 0, 0x4400, 1, 1, 0, 1, start, len(data))),
        box(b"iinf", struct.pack(">LH", 0, 1), box(b"infe", struct.pack(">LHH4s", 2 << 24, 1, 0, b"av01"), b"\0")),
        box(b"iprp", box(b"ipco", *properties), box(b"ipma", associations)),
    )
    return box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf") + meta + box(b"mdat", data)
