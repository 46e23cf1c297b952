"""A TIFF writer of the tests' own: any colours, depth and sample format, planes, strips, tiles and compressions."""

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]  # (height, width, samples per pixel)

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS = 256, 257, 258, 259, 262, 266, 273
SAMPLES, ROWS_PER_STRIP, STRIP_LENGTHS, PLANAR, PREDICTOR, COLOUR_MAP = 277, 278, 279, 284, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_LENGTHS, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339

NONE, LZW, DEFLATE, OLD_DEFLATE, LZMA, PACKBITS = 1, 5, 8, 32946, 34925, 32773
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
SHORT, LONG = 3, 4
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "L", 7: "B", 11: "f", 12: "d", 13: "L", 16: "Q"}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

Tags = Mapping[int, tuple[int, Sequence[float]]]  # tag -> type and values


def tiff(
    samples: Samples,
    *,
    colours: int,
    bits: int = 8,
    sample_format: int = UNSIGNED,
    extra: Sequence[int] = (),
    is_planar: bool = False,
    order: str = "<",
    compression: int = NONE,
    predictor: int = 1,
    fill_order: int = 1,
    tile: tuple[int, int] | None = None,
    rows: int = 1 << 32,
    is_big: bool = False,
    tags: Tags | None = None,
) -> bytes:
    """A file of one picture. `tile` is width and height, `rows` are those of a strip, `tags` come last."""
    height, width, count = samples.shape
    rows = min(rows, height)
    blocks = [
        encoded(block, bits, order, compression, predictor, fill_order)
        for plane in (np.split(samples, count, axis=2) if is_planar else [samples])
        for block in (_tiles(plane, tile) if tile else _strips(plane, rows))
    ]
    fields: dict[int, tuple[int, Sequence[float]]] = {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [bits] * count),
        COMPRESSION: (SHORT, [compression]),
        PHOTOMETRIC: (SHORT, [colours]),
        SAMPLES: (SHORT, [count]),
        PLANAR: (SHORT, [1 + is_planar]),
        SAMPLE_FORMAT: (SHORT, [sample_format] * count),
    }
    fields |= {FILL_ORDER: (SHORT, [fill_order])} if fill_order != 1 else {}
    fields |= {PREDICTOR: (SHORT, [predictor])} if predictor != 1 else {}
    fields |= {EXTRA_SAMPLES: (SHORT, list(extra))} if extra else {}
    fields |= (
        {TILE_WIDTH: (LONG, tile[:1]), TILE_HEIGHT: (LONG, tile[1:])} if tile else {ROWS_PER_STRIP: (LONG, [rows])}
    )
    return assembled([(fields | dict(tags or {}), blocks)], order=order, is_big=is_big)


def assembled(pictures: Sequence[tuple[Tags, Sequence[bytes]]], *, order: str = "<", is_big: bool = False) -> bytes:
    """A file of one or more directories with their strips or tiles. Each directory stands behind its pixels."""
    word = "Q" if is_big else "L"
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if is_big else 42)
    done = bytearray(magic + (struct.pack(f"{order}HHQ", 8, 0, 0) if is_big else bytes(4)))
    link = len(done) - struct.calcsize(f"={word}")
    for tags, blocks in pictures:
        offsets = []
        for block in blocks:
            done += bytes(len(done) % 2)
            offsets.append(len(done))
            done += block
        done += bytes(len(done) % 2)
        names = (TILE_OFFSETS, TILE_LENGTHS) if TILE_WIDTH in tags else (STRIP_OFFSETS, STRIP_LENGTHS)
        placed = dict(zip(names, ((LONG, offsets), (LONG, [*map(len, blocks)])), strict=True)) if blocks else {}
        done[link : link + struct.calcsize(f"={word}")] = struct.pack(order + word, len(done))
        content, link = directory({**placed, **tags}, order, len(done), word)
        done += content
    return bytes(done)


def directory(tags: Tags, order: str, start: int, word: str = "L") -> tuple[bytes, int]:
    """A directory that stands at `start`, with its values behind it; and where the offset of the next one goes."""
    head, width = struct.pack(order + ("Q" if word == "Q" else "H"), len(tags)), struct.calcsize(f"={word}")
    link = start + len(head) + (4 + 2 * width) * len(tags)
    entries, values = head, b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{_LETTERS[kind]}", *numbers)
        entries += struct.pack(f"{order}HH{word}", tag, kind, len(numbers))
        if len(packed) <= width:
            entries += packed.ljust(width, b"\x00")
        else:
            entries += struct.pack(order + word, link + width + len(values))
            values += packed + bytes(len(packed) % 2)
    return entries + bytes(width) + values, link


def encoded(block: Samples, bits: int, order: str, compression: int, predictor: int = 1, fill_order: int = 1) -> bytes:
    """A strip or tile as it is stored."""
    packed = _predicted_floats(block) if predictor == 3 else packed_rows(_differences(block, predictor), bits, order)
    stored = _COMPRESSORS[compression](packed)
    return stored.translate(_REVERSED) if fill_order == 2 else stored


def packed_rows(block: Samples, bits: int, order: str) -> bytes:
    """Samples side by side, each row filled up to a whole byte; odd depths most significant bit first."""
    if bits % 8 == 0 and bits != 24:
        return block.astype(block.dtype.newbyteorder(order)).tobytes()
    rows = block.reshape(block.shape[0], -1)
    shifts = np.arange(bits - 1, -1, -1)
    spread = (rows[:, :, np.newaxis].astype(np.int64) >> shifts) & 1
    return np.packbits(spread.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def packbits(content: bytes) -> bytes:
    """Runs of more than two equal bytes, and what stands between them (TIFF 6.0, section 9)."""
    done = bytearray()
    waiting = bytearray()
    for value, group in groupby(content):
        length = len([*group])
        for run in [128] * (length // 128) + [length % 128]:
            if run > 2:
                done += _literals(waiting) + bytes((257 - run, value))
                waiting.clear()
            else:
                waiting += bytes((value,)) * run
    return bytes(done + _literals(waiting))


def lzw(content: bytes) -> bytes:
    """Codes of 9 to 12 bits, the widths changing one code early (TIFF 6.0, section 13)."""
    bits = "".join(f"{code:0{width}b}" for code, width in _lzw_codes(content))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


def _lzw_codes(content: bytes) -> Iterator[tuple[int, int]]:
    clear, end, last = 256, 257, 4093
    table = {bytes((value,)): value for value in range(256)}
    known, width = b"", 9
    yield clear, width
    for at in range(len(content)):
        longer = known + content[at : at + 1]
        if longer in table:
            known = longer
            continue
        yield table[known], width
        table[longer] = len(table) + 2
        width = max(9, (len(table) + 2).bit_length())
        known = content[at : at + 1]
        if len(table) + 2 > last:
            yield clear, width
            table, width = {bytes((value,)): value for value in range(256)}, 9
    if known:
        yield table[known], width
        width = max(width, (len(table) + 3).bit_length())
    yield end, width


def _literals(content: bytes) -> bytes:
    parts = [bytes(content[at : at + 128]) for at in range(0, len(content), 128)]
    return b"".join(bytes((len(part) - 1,)) + part for part in parts)


def _differences(block: Samples, predictor: int) -> Samples:
    if predictor != 2:
        return block
    done = block.copy()
    done[:, 1:] -= block[:, :-1]
    return done


def _predicted_floats(block: Samples) -> bytes:
    """The bytes of a row by their significance, each as its difference from the one before (Technical Note 3)."""
    height, _width, count = block.shape
    big = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1, block.dtype.itemsize)
    planes = big.transpose(0, 2, 1).reshape(height, -1)
    done = planes.copy()
    done[:, count:] -= planes[:, :-count]
    return done.tobytes()


def _strips(plane: Samples, rows: int) -> Iterator[Samples]:
    for top in range(0, plane.shape[0], rows):
        yield plane[top : top + rows]


def _tiles(plane: Samples, tile: tuple[int, int]) -> Iterator[Samples]:
    width, height = tile
    for top in range(0, plane.shape[0], height):
        for left in range(0, plane.shape[1], width):
            part = plane[top : top + height, left : left + width]
            yield np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)), mode="edge")


_COMPRESSORS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    LZW: lzw,
    DEFLATE: zlib.compress,
    OLD_DEFLATE: zlib.compress,
    LZMA: lambda content: lzma.compress(content, preset=0),
    PACKBITS: packbits,
}
