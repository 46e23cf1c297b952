"""The code words of a sequential, Huffman-coded JPEG, read one by one: whether they can be a picture's.

For the few files with more data than pixels. Bytes of another file and noise decode to something for a while, but not
without a coefficient beyond the 63rd, a word that no table has (ITU-T T.81, F.2), or a block that no 64 samples give. A
filler that happens to be made of words, as zeros may be, goes on behind the last pixel: then it was no data before it
either. Pure Python: about 0.2 s for 150 KB, so nothing is said of more than `LIMIT_BYTES`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from msgspec import Struct

from batchproc.transform.jpeg_frame import Frame, Span, tables_before

LIMIT_BYTES = 8 << 20
_FILLER_BYTES = 8  # as many equal bytes on both sides of the last pixel's end are a filler
_ODD_BYTES = 256  # so few are nothing, even where they read as pixels
_READABLE_BYTES = 4096  # no noise and no text of this length reads as pixels
_COEFFICIENTS = 64
_END = 1 << 10  # added to the place in a block by the word that ends it
_MOST_BITS = 11  # of a difference (F.1.2.1.2); one less of other coefficients
# The transform is orthonormal: the squares of coefficients add up to those of samples, 64 of 128 at most. Twice that
# leaves room for rounding and for writers that overshoot on purpose.
_MOST_ENERGY = 2 * _COEFFICIENTS * 128**2

_Table = list[int]  # by the next 16 bits: steps << 9 | bits of the value << 5 | bits of the word; 0: no such word


class _ImpossibleError(Exception):
    """What was read cannot be a picture's."""


class _Block(Struct, frozen=True, kw_only=True):
    """A block of an MCU: whose it is, its tables, its quantisers in the order of its coefficients."""

    component: int
    dc: _Table
    ac: _Table
    quantisers: Sequence[int]


def complaint_about(content: bytes, frame: Frame, parts: Sequence[Span]) -> str:
    """What shows that the data is not the picture's; empty where nothing does. `parts` as from `parts_of`."""
    if parts[-1][1] - frame.begin > LIMIT_BYTES:
        return ""
    blocks, units = _blocks(content, frame), frame.units(frame.scan)
    try:
        for begin, end in parts if blocks else ():
            reader = _Reader(content[begin:end].replace(b"\xff\x00", b"\xff"), blocks)
            reader.read(min(units, frame.interval or units))
            reader.check_rest()
            units -= frame.interval
    except _ImpossibleError as error:
        return str(error)
    return ""


class _Reader:
    """Reads the data of one restart interval. Its methods raise `_ImpossibleError`."""

    def __init__(self, data: bytes, blocks: Sequence[_Block]) -> None:
        self._size = len(data)
        self._bits = data + b"\xff" * 8
        self._blocks = blocks
        self._position = 0  # in bits
        self._levels = [0] * 256  # by component: the first coefficient of its last block

    def read(self, units: int) -> None:
        """Reads so many MCUs, or to the end of the data."""
        for _ in range(units):
            for block in self._blocks:
                if self._position > 8 * self._size:
                    return
                self._read_block(block)

    def check_rest(self) -> None:
        """What lies behind the last pixel must be neither more pixels nor a filler that began before it."""
        end = (self._position + 7) // 8
        around = self._bits[max(0, end - _FILLER_BYTES) : end + _FILLER_BYTES]
        if end + _FILLER_BYTES <= self._size and around == around[:1] * (2 * _FILLER_BYTES):
            raise _ImpossibleError("its data ends in the middle of a filler")
        rest = self._bits[end : self._size]
        if len(rest) < _ODD_BYTES or rest == rest[:1] * len(rest):
            return
        with suppress(_ImpossibleError):
            self.read(8 * len(rest))
        left = 8 * self._size - self._position
        padded = 0 <= left < 8 and rest[-1] & ((1 << left) - 1) == (1 << left) - 1  # F.1.2.3: the last byte, with ones
        if padded or self._position > 8 * (end + _READABLE_BYTES):
            raise _ImpossibleError("it has data for more pixels than its size says")

    def _read_block(self, block: _Block) -> None:
        """One block: the first coefficient as a difference to the one before (F.2.2.1), then the others (F.2.2.2)."""
        bits, position, table, place, energy = self._bits, self._position, block.dc, 0, 0
        while place < _COEFFICIENTS:
            at = position >> 3
            entry = table[int.from_bytes(bits[at : at + 3]) >> (8 - (position & 7)) & 0xFFFF]
            if not entry:
                raise _ImpossibleError("a code word that its table does not have")
            position += entry & 31
            size = entry >> 5 & 15
            place += entry >> 9
            if size and place <= _COEFFICIENTS:
                at = position >> 3
                value = int.from_bytes(bits[at : at + 3]) >> (24 - size - (position & 7)) & ((1 << size) - 1)
                value = value if value >> (size - 1) else value - (1 << size) + 1
                if place == 1:
                    self._levels[block.component] += value
                else:
                    energy += (value * block.quantisers[place - 1]) ** 2
            position += size
            table = block.ac
        if _COEFFICIENTS < place < _END:
            raise _ImpossibleError("more coefficients than a block has")
        if energy + (self._levels[block.component] * block.quantisers[0]) ** 2 > _MOST_ENERGY:
            raise _ImpossibleError("a block that no samples give")
        self._position = position


def _blocks(content: bytes, frame: Frame) -> list[_Block]:
    """What an MCU is made of (A.2); empty where the file leaves tables to the reader, as Motion JPEG does."""
    of_words, of_quantisers = tables_before(content, frame)
    words = {key: table for segment in of_words for key, table in _word_tables(segment)}
    quantisers = {key: table for segment in of_quantisers for key, table in _quantisers(segment)}
    components = {one.identifier: one for one in frame.components}
    blocks: list[_Block] = []
    for identifier, which in zip(frame.scan.components, frame.scan.tables, strict=True):
        one = components[identifier]
        dc, ac = words.get(which >> 4), words.get(0x10 | which & 15)
        if dc is None or ac is None or one.quantiser not in quantisers:
            return []
        block = _Block(component=identifier, dc=dc, ac=ac, quantisers=quantisers[one.quantiser])
        blocks += [block] * (one.across * one.down if len(components) > 1 else 1)
    return blocks


def _quantisers(segment: bytes) -> Iterator[tuple[int, Sequence[int]]]:
    """The quantisation tables of a DQT segment, each with its number (B.2.4.1)."""
    at = 0
    while at < len(segment):
        wide = 2 if segment[at] >> 4 else 1
        values = segment[at + 1 : at + 1 + wide * _COEFFICIENTS].ljust(wide * _COEFFICIENTS, b"\x00")
        yield segment[at] & 15, [int.from_bytes(values[k : k + wide]) for k in range(0, len(values), wide)]
        at += 1 + wide * _COEFFICIENTS


def _word_tables(segment: bytes) -> Iterator[tuple[int, _Table]]:
    """The Huffman tables of a DHT segment, each with its class * 16 + number (B.2.4.2, C.2)."""
    at = 0
    while at + 17 <= len(segment):
        key, counts = segment[at], segment[at + 1 : at + 17]
        symbols = iter(segment[at + 17 : at + 17 + sum(counts)])
        entry = _ac_entry if key >> 4 else _dc_entry
        table: _Table = []
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                table += [entry(next(symbols, 0), length)] * (1 << (16 - length))
        yield key, (table + [0] * (1 << 16))[: 1 << 16]
        at += 17 + sum(counts)


def _dc_entry(symbol: int, length: int) -> int:
    return 1 << 9 | symbol << 5 | length if symbol <= _MOST_BITS else 0


def _ac_entry(symbol: int, length: int) -> int:
    run, size = symbol >> 4, symbol & 15
    steps = run + 1 if size or run == 15 else _END
    return steps << 9 | size << 5 | length if size < _MOST_BITS else 0
