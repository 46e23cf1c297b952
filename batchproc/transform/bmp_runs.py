"""The run lengths of BMP (RLE8, RLE4): from codes to one byte for each pixel, and which of them were set at all.

Source: Microsoft, "Bitmap Compression". Runs that go on behind the end of their row are cut there.
"""

from batchproc.transform.view import Size

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
