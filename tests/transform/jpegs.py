"""Writes JPEGs of every process that ITU-T T.81 has a picture for in one frame, as other programs would.

Small pictures only: plain Python, as the standard's figures are drawn. Coefficients are quantised by 1, so that what is
decoded is what was painted but for rounding. Huffman tables give every symbol a word of one length.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct, field

from tests.transform.jpeg_coders import AC_SYMBOLS, ArithmeticCoder, Block, HuffmanCoder, Scan

Paint = Callable[[float, float], float]  # a sample, by its place in px of the picture

SOF = {
    "baseline": 0xC0,
    "extended": 0xC1,
    "progressive": 0xC2,
    "lossless": 0xC3,
    "arithmetic": 0xC9,
    "arithmetic progressive": 0xCA,
}
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
ZIGZAG = sorted(range(64), key=lambda at: (at // 8 + at % 8, (at // 8, at % 8)[(at // 8 + at % 8) % 2 == 0]))
_COSINES = [
    [math.sqrt((1 if k == 0 else 2) / 8) * math.cos((2 * x + 1) * k * math.pi / 16) for x in range(8)] for k in range(8)
]


def adobe(transform: int) -> bytes:
    """An Adobe segment: 0 no transform of colours, 1 YCbCr, 2 YCCK."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


class Form(Struct, frozen=True, kw_only=True):
    """How a picture is written."""

    process: str = "baseline"
    precision: int = 8
    sampling: tuple[tuple[int, int], ...] = ((1, 1),)
    identifiers: tuple[int, ...] = (1, 2, 3, 4)
    interval: int = 0  # MCUs between restart markers
    interleaved: bool = True
    predictor: int = 1  # lossless
    head: bytes = b""  # segments behind SOI

    @property
    def is_progressive(self) -> bool:
        return "progressive" in self.process

    @property
    def is_arithmetic(self) -> bool:
        return "arithmetic" in self.process


class _Component(Struct):
    """One component: its samples in rows, padded to whole MCUs, or its blocks in rows."""

    at: int
    across: int
    down: int
    columns: int  # without padding: of samples, or of blocks
    rows: int
    cells: list[list[int]] | list[list[Block]] = field(default_factory=list)


def jpeg(paints: Sequence[Paint], size: tuple[int, int], form: Form) -> bytes:
    """The file. One paint per component, in levels of the precision, as they are stored: Y, Cb, Cr and so on."""
    side = 1 if form.process == "lossless" else 8
    components = [_component(at, paint, size, form.sampling, form.precision, side) for at, paint in enumerate(paints)]
    frame = bytes([form.precision]) + size[1].to_bytes(2) + size[0].to_bytes(2) + bytes([len(paints)])
    for one in components:
        frame += bytes([form.identifiers[one.at], one.across << 4 | one.down, 0])
    tables = _segment(0xDB, b"\x00" + bytes([1] * 64)) + _segment(SOF[form.process], frame)
    if not form.is_arithmetic:
        sizes = range(17 if form.process == "lossless" else 16)
        tables += _segment(0xC4, _words(0x00, sizes)) + _segment(0xC4, _words(0x10, AC_SYMBOLS))
    if form.interval:
        tables += _segment(0xDD, form.interval.to_bytes(2))
    scans = [_scan_header(scan, form) + _scan_data(components, scan, size, form) for scan in _scans(components, form)]
    return b"\xff\xd8" + form.head + tables + b"".join(scans) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2) + content


def _words(key: int, symbols: Sequence[int]) -> bytes:
    """A Huffman table in which all words have one length: 5 bits, or 8 where there are more than 31 symbols."""
    length = 5 if len(symbols) < 32 else 8
    return bytes([key, *(len(symbols) if bits == length else 0 for bits in range(1, 17)), *symbols])


@lru_cache(maxsize=64)
def _component(
    at: int, paint: Paint, size: tuple[int, int], sampling: tuple[tuple[int, int], ...], precision: int, side: int
) -> _Component:
    across, down = sampling[at]
    widest, tallest = (max(factors) for factors in zip(*sampling, strict=True))
    width, height = math.ceil(size[0] * across / widest), math.ceil(size[1] * down / tallest)
    whole_width = math.ceil(size[0] / (side * widest)) * across * side
    whole_height = math.ceil(size[1] / (side * tallest)) * down * side

    def sample(x: int, y: int) -> int:
        x, y = min(x, width - 1), min(y, height - 1)
        value = paint((x + 0.5) * widest / across - 0.5, (y + 0.5) * tallest / down - 0.5)
        return min(max(round(value), 0), (1 << precision) - 1)

    samples = [[sample(x, y) for x in range(whole_width)] for y in range(whole_height)]
    one = _Component(at, across, down, math.ceil(width / side), math.ceil(height / side), samples)
    if side == 8:
        half = 1 << (precision - 1)
        one.cells = [
            [_transformed([row[x : x + 8] for row in samples[y : y + 8]], half) for x in range(0, whole_width, 8)]
            for y in range(0, whole_height, 8)
        ]
    return one


def _transformed(samples: list[list[int]], half: int) -> Block:
    """The forward transform (A.3.3), in zigzag order."""
    across = [[sum((row[x] - half) * cosine[x] for x in range(8)) for cosine in _COSINES] for row in samples]
    both = [[sum(across[y][u] * cosine[y] for y in range(8)) for u in range(8)] for cosine in _COSINES]
    return [round(both[at // 8][at % 8]) for at in ZIGZAG]


def _scans(components: list[_Component], form: Form) -> Iterator[Scan]:
    """The script: progressive by bits and by bands with Huffman words, by bands alone with arithmetic coding."""
    every = tuple(range(len(components)))
    groups = [every] if form.interleaved else [(place,) for place in every]
    low = 1 if form.process == "progressive" else 0
    for group in groups:
        yield Scan(places=group, last=0 if form.is_progressive else 63, low=low)
    if not form.is_progressive:
        return
    for place in every:
        yield Scan(places=(place,), first=1, last=5, low=low)
        yield Scan(places=(place,), first=6, last=63, low=low)
    if low:
        for group in groups:
            yield Scan(places=group, last=0, high=1)
        for place in every:
            yield Scan(places=(place,), first=1, high=1)


def _scan_header(scan: Scan, form: Form) -> bytes:
    chosen = b"".join(bytes([form.identifiers[place], 0]) for place in scan.places)
    first, last = (form.predictor, 0) if form.process == "lossless" else (scan.first, scan.last)
    return _segment(0xDA, bytes([len(scan.places)]) + chosen + bytes([first, last, scan.high << 4 | scan.low]))


def _units(components: list[_Component], scan: Scan, size: tuple[int, int]) -> Iterator[list[tuple[int, int, int]]]:
    """Each MCU of a scan: component, column and row of its samples or blocks (A.2)."""
    if len(scan.places) == 1:
        one = components[scan.places[0]]
        yield from ([(one.at, x, y)] for y in range(one.rows) for x in range(one.columns))
        return
    first = components[0]
    for down in range(len(first.cells) // first.down):
        for across in range(len(first.cells[0]) // first.across):
            yield [
                (one.at, across * one.across + x, down * one.down + y)
                for one in (components[place] for place in scan.places)
                for y in range(one.down)
                for x in range(one.across)
            ]


def _scan_data(components: list[_Component], scan: Scan, size: tuple[int, int], form: Form) -> bytes:
    units = list(_units(components, scan, size))
    interval = form.interval or len(units)
    parts = [_part(components, units[at : at + interval], scan, form) for at in range(0, len(units), interval)]
    data = parts[0]
    for number, part in enumerate(parts[1:]):
        data += bytes([0xFF, 0xD0 + number % 8]) + part
    return data


def _part(components: list[_Component], units: list[list[tuple[int, int, int]]], scan: Scan, form: Form) -> bytes:
    """The data of one restart interval."""
    if form.process == "lossless":
        bits = HuffmanCoder()
        for number, unit in enumerate(units):
            for at, x, y in unit:
                bits.difference(_residual(components, at, x, y, number, units, form))
        return bits.data()
    blocks = ((at, components[at].cells[y][x]) for unit in units for at, x, y in unit)
    if form.is_arithmetic:
        coder = ArithmeticCoder()
        for at, block in blocks:
            coder.block(at, block, scan)
        return coder.data()
    bits = HuffmanCoder()
    for at, block in blocks:
        bits.block(at, block, scan)
    return bits.data()


def _residual(
    components: list[_Component],
    at: int,
    x: int,
    y: int,
    number: int,
    units: list[list[tuple[int, int, int]]],
    form: Form,
) -> int:
    """A sample less its prediction (H.1.2.1), modulo 2^16; prediction starts anew with each restart interval."""
    one = components[at]
    cells: list[list[int]] = one.cells  # type: ignore[assignment]
    first_row = next(row for place, _, row in units[0] if place == at)
    if y == first_row:
        expected = cells[y][x - 1] if x else 1 << (form.precision - 1)
    elif x == 0:
        expected = cells[y - 1][x]
    else:
        left, above, corner = cells[y][x - 1], cells[y - 1][x], cells[y - 1][x - 1]
        expected = {
            1: left,
            2: above,
            3: corner,
            4: left + above - corner,
            5: left + ((above - corner) >> 1),
            6: above + ((left - corner) >> 1),
            7: (left + above) >> 1,
        }[form.predictor]
    return (cells[y][x] - expected + 0x8000) % 0x10000 - 0x8000
