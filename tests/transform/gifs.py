"""Writes GIFs of one or more frames, each with what it may have."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

Colours = Sequence[tuple[int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame: its place and size, its pixels row by row, and its options."""

    box: tuple[int, int, int, int]  # left, top, width, height
    pixels: Sequence[int]
    palette: Colours = ()
    transparent: int | None = None
    disposal: int = 0
    is_interlaced: bool = False
    missing: int = 0  # pixels at the end for which there is no data
    is_ended: bool = True  # with the code for the end
    bits: int = 0  # of a pixel; 0: as many as the palette needs


def gif(size: tuple[int, int], palette: Colours, *frames: Frame, background: int = 0) -> bytes:
    """The file."""
    head = b"GIF89a" + struct.pack("<HH", *size) + bytes([_flags(palette), background, 0]) + _table(palette)
    return head + b"".join(_frame(frame, palette) for frame in frames) + b";"


def rows_in_order(height: int) -> list[int]:
    """The order of an interlaced frame's rows (GIF89a, appendix E)."""
    return [row for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for row in range(start, height, step)]


def _bits(palette: Colours) -> int:
    return max(1, (len(palette) - 1).bit_length())


def _flags(palette: Colours) -> int:
    return 0x80 | (_bits(palette) - 1) if palette else 0


def _table(palette: Colours) -> bytes:
    return bytes(value for colour in palette for value in colour).ljust(3 << _bits(palette), b"\0") if palette else b""


def _frame(frame: Frame, global_palette: Colours) -> bytes:
    _left, _top, width, height = frame.box
    pixels = list(frame.pixels)
    if frame.is_interlaced:
        pixels = [pixel for row in rows_in_order(height) for pixel in pixels[row * width : (row + 1) * width]]
    bits = max(2, frame.bits or _bits(frame.palette or global_palette))
    control = frame.disposal << 2 | (frame.transparent is not None)
    head = b"!\xf9\x04" + bytes([control, 0, 0, frame.transparent or 0, 0])
    head += b"," + struct.pack("<HHHH", *frame.box)
    head += bytes([_flags(frame.palette) | frame.is_interlaced << 6]) + _table(frame.palette) + bytes([bits])
    data = _codes(pixels[: len(pixels) - frame.missing], bits, is_ended=frame.is_ended)
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return head + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _codes(pixels: Sequence[int], bits: int, *, is_ended: bool) -> bytes:
    """The pixels as LZW codes (GIF89a, appendix F)."""
    clear, end = 1 << bits, (1 << bits) + 1
    known: dict[tuple[int, ...], int] = {(pixel,): pixel for pixel in range(clear)}
    codes = [(clear, bits + 1)]
    run: tuple[int, ...] = ()
    for pixel in pixels:
        if (*run, pixel) in known:
            run = (*run, pixel)
            continue
        codes.append((known[run], _width(known, bits)))
        if len(known) < 4096 - 2:
            known[(*run, pixel)] = len(known) + 2
        else:
            codes.append((clear, 12))
            known = {(one,): one for one in range(clear)}
        run = (pixel,)
    if run:
        codes.append((known[run], _width(known, bits)))
        known[(*run, -1)] = 0  # the reader has one entry more by now
    if is_ended:
        codes.append((end, _width(known, bits)))
    text = "".join(f"{code:0{width}b}" for code, width in reversed(codes))
    return int(text, 2).to_bytes((len(text) + 7) // 8, "little")


def _width(known: dict[tuple[int, ...], int], bits: int) -> int:
    """How wide the next code is: the reader's table is one entry behind."""
    return min(12, max(bits + 1, (len(known) + 2 - 1).bit_length()))
