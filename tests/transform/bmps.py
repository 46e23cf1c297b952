"""A BMP writer of the tests' own: any header, depth, palette, bit fields and run lengths."""

import struct
from collections.abc import Sequence

RAW, RLE8, RLE4, FIELDS, ALPHA_FIELDS = 0, 1, 2, 3, 6
CORE, SHORT_OS2, INFO, V2, V3, OS2, V4, V5 = 12, 16, 40, 52, 56, 64, 108, 124
HEADERS = [CORE, SHORT_OS2, INFO, V2, V3, OS2, V4, V5]

Colour = tuple[int, int, int]


def bmp(
    rows: Sequence[Sequence[int]],
    *,
    bits: int,
    header: int = INFO,
    compression: int = RAW,
    masks: Sequence[int] = (),
    palette: Sequence[Colour] = (),
    is_top_down: bool = False,
    data: bytes | None = None,
    colours: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """A file of pixels as they are stored, top row first. `colours` are what V4 and V5 say of them, from their type on;
    `data` replaces the pixels."""
    width, height = len(rows[0]), len(rows)
    entries = b"".join(bytes((blue, green, red, 0))[: 3 if header == CORE else 4] for red, green, blue in palette)
    fields = struct.pack(f"<{len(masks)}L", *masks)
    if data is None:
        data = b"".join(packed(row, bits) for row in (rows if is_top_down else reversed(rows)))
    start = 14 + header + len(entries) + (len(fields) if header == INFO else 0)
    if header == CORE:
        head = struct.pack("<LHHHH", header, width, height, 1, bits)
    else:
        head = struct.pack("<LllHH", header, width, -height if is_top_down else height, 1, bits)
        used = len(palette) if len(palette) != 1 << bits else 0
        head += struct.pack("<LLllLL", compression, len(data), 2835, 2835, used, 0) if header >= INFO else b""
        head += fields if header >= INFO else b""
        head = head.ljust(56, b"\x00") + colours if header in (V4, V5) else head
        head = head.ljust(header, b"\x00") if header != INFO else head
    whole = head + entries + data + behind
    return b"BM" + struct.pack("<LHHL", 14 + len(whole), 0, 0, start) + whole


def packed(row: Sequence[int], bits: int) -> bytes:
    """A row, filled up to a multiple of four bytes."""
    if bits >= 8:
        stored = b"".join(pixel.to_bytes(bits // 8, "little") for pixel in row)
    else:
        text = "".join(f"{pixel:0{bits}b}" for pixel in row)
        stored = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))
    return stored + bytes(-len(stored) % 4)
