"""A PNG writer of the tests' own: every colour type, depth, filter and interlacing, and any chunk anywhere."""

import struct
import zlib
from collections.abc import Iterator, Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16),
          (6, 8), (6, 16)]  # fmt: skip
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

Pixel = tuple[int, ...]
Rows = Sequence[Sequence[Pixel]]


def chunk(kind: bytes, content: bytes = b"", *, sound: bool = True) -> bytes:
    """A chunk; with a wrong checksum when it is not to be sound."""
    checksum = zlib.crc32(kind + content) ^ (not sound)
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", checksum)


def header(width: int, height: int, depth: int, colour_type: int, *, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour_type, 0, 0, interlaced))


def png(
    rows: Rows,
    *,
    depth: int = 8,
    colour_type: int = 2,
    interlaced: bool = False,
    filters: Sequence[int] = (0,),
    palette: bytes = b"",
    before: Sequence[bytes] = (),
    behind: Sequence[bytes] = (),
) -> bytes:
    """A PNG of samples as they are stored. `filters` go round, row by row; the other chunks stand around the pixels."""
    data = zlib.compress(scanlines(rows, depth=depth, colour_type=colour_type, interlaced=interlaced, filters=filters))
    head = header(len(rows[0]), len(rows), depth, colour_type, interlaced=int(interlaced))
    plte = chunk(b"PLTE", palette) if palette else b""
    return b"".join((SIGNATURE, head, plte, *before, chunk(b"IDAT", data), *behind, chunk(b"IEND")))


def scanlines(rows: Rows, *, depth: int, colour_type: int, interlaced: bool, filters: Sequence[int]) -> bytes:
    """The filtered rows, pass by pass."""
    step = max(1, CHANNELS[colour_type] * depth // 8)
    done = bytearray()
    for pass_rows in _passes(rows) if interlaced else [rows]:
        previous = bytes((len(pass_rows[0]) * CHANNELS[colour_type] * depth + 7) // 8)
        for number, row in enumerate(pass_rows):
            packed = _packed([sample for pixel in row for sample in pixel], depth)
            kind = filters[number % len(filters)]
            done += bytes((kind, *_filtered(kind, packed, previous, step)))
            previous = packed
    return bytes(done)


def _passes(rows: Rows) -> Iterator[Rows]:
    for left, top, step_x, step_y in ADAM7:
        reduced = [row[left::step_x] for row in rows[top::step_y]]
        if reduced and reduced[0]:
            yield reduced


def _packed(samples: list[int], depth: int) -> bytes:
    """Big-endian, and left-aligned in the last byte."""
    bits = "".join(format(sample, f"0{depth}b") for sample in samples)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))


def _filtered(kind: int, row: bytes, above: bytes, step: int) -> Iterator[int]:
    for at, value in enumerate(row):
        left, upper_left = (row[at - step], above[at - step]) if at >= step else (0, 0)
        upper = above[at]
        predicted = (0, left, upper, (left + upper) // 2, _paeth(left, upper, upper_left))[kind]
        yield (value - predicted) & 0xFF


def _paeth(left: int, upper: int, upper_left: int) -> int:
    estimate = left + upper - upper_left
    return min((left, upper, upper_left), key=lambda value: abs(estimate - value))
