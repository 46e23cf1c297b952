"""The entropy coders of ITU-T T.81, for the JPEGs that tests write: Huffman's and the arithmetic one."""

from dataclasses import dataclass

Block = list[int]  # 64 coefficients in zigzag order

AC_SYMBOLS = [run << 4 | size for run in range(16) for size in range(15) if size or run in (0, 15)]
# Table D.3: Qe, the next state after the less and after the more probable symbol, whether they change places.
_STATES = (
    "5a1d 1 1 1, 2586 14 2 0, 1114 16 3 0, 080b 18 4 0, 03d8 20 5 0, 01da 23 6 0, 00e5 25 7 0, "
    "006f 28 8 0, 0036 30 9 0, 001a 33 10 0, 000d 35 11 0, 0006 9 12 0, 0003 10 13 0, 0001 12 13 0, "
    "5a7f 15 15 1, 3f25 36 16 0, 2cf2 38 17 0, 207c 39 18 0, 17b9 40 19 0, 1182 42 20 0, 0cef 43 21 0, "
    "09a1 45 22 0, 072f 46 23 0, 055c 48 24 0, 0406 49 25 0, 0303 51 26 0, 0240 52 27 0, 01b1 54 28 0, "
    "0144 56 29 0, 00f5 57 30 0, 00b7 59 31 0, 008a 60 32 0, 0068 62 33 0, 004e 63 34 0, 003b 32 35 0, "
    "002c 33 9 0, 5ae1 37 37 1, 484c 64 38 0, 3a0d 65 39 0, 2ef1 67 40 0, 261f 68 41 0, 1f33 69 42 0, "
    "19a8 70 43 0, 1518 72 44 0, 1177 73 45 0, 0e74 74 46 0, 0bfb 75 47 0, 09f8 77 48 0, 0861 78 49 0, "
    "0706 79 50 0, 05cd 48 51 0, 04de 50 52 0, 040f 50 53 0, 0363 51 54 0, 02d4 52 55 0, 025c 53 56 0, "
    "01f8 54 57 0, 01a4 55 58 0, 0160 56 59 0, 0125 57 60 0, 00f6 58 61 0, 00cb 59 62 0, 00ab 61 63 0, "
    "008f 61 32 0, 5b12 65 65 1, 4d04 80 66 0, 412c 81 67 0, 37d8 82 68 0, 2fe8 83 69 0, 293c 84 70 0, "
    "2379 86 71 0, 1edf 87 72 0, 1aa9 87 73 0, 174e 72 74 0, 1424 72 75 0, 119c 74 76 0, 0f6b 74 77 0, "
    "0d51 75 78 0, 0bb6 77 79 0, 0a40 77 48 0, 5832 80 81 1, 4d1c 88 82 0, 438e 89 83 0, 3bdd 90 84 0, "
    "34ee 91 85 0, 2eae 92 86 0, 299a 93 87 0, 2516 86 71 0, 5570 88 89 1, 4ca9 95 90 0, 44d9 96 91 0, "
    "3e22 97 92 0, 3824 99 93 0, 32b4 99 94 0, 2e17 93 86 0, 56a8 95 96 1, 4f46 101 97 0, 47e5 102 98 0, "
    "41cf 103 99 0, 3c3d 104 100 0, 375e 99 93 0, 5231 105 102 0, 4c0f 106 103 0, 4639 107 104 0, 415e 103 99 0, "
    "5627 105 106 1, 50e7 108 107 0, 4b85 109 103 0, 5597 110 109 0, 504f 111 107 0, 5a10 110 111 1, 5522 112 109 0, "
    "59eb 112 111 1"
)
_TABLE = [(int(qe, 16), int(less), int(more), int(swap)) for qe, less, more, swap in map(str.split, _STATES.split(","))]
_FIXED = len(_TABLE)  # a state that is never left: both symbols are equally probable
_TABLE.append((0x5A1D, _FIXED, _FIXED, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan: components by their place, coefficients, and the bits that were sent before and are sent now."""

    places: tuple[int, ...]
    first: int = 0
    last: int = 63
    high: int = 0
    low: int = 0


class HuffmanCoder:
    """Huffman-coded data (F.1.2, G.1.2, H.1.2)."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._levels: dict[int, int] = {}

    def data(self) -> bytes:
        text = "".join(self._text)
        text += "1" * (-len(text) % 8)
        return int(text or "0", 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\x00")

    def put(self, value: int, bits: int) -> None:
        if bits:
            self._text.append(f"{value & ((1 << bits) - 1):0{bits}b}")

    def difference(self, value: int) -> None:
        """A word of the first table, and the bits it announces."""
        size = abs(value).bit_length()
        self.put(size, 5)
        if size < 16:
            self.put(value if value > 0 else value - 1, size)

    def symbol(self, run: int, size: int) -> None:
        self.put(AC_SYMBOLS.index(run << 4 | size), 8)

    def block(self, at: int, block: Block, scan: Scan) -> None:
        if scan.first == 0:
            level = block[0] >> scan.low
            if scan.high:
                self.put(level, 1)
            else:
                self.difference(level - self._levels.get(at, 0))
                self._levels[at] = level
        if scan.last:
            (self._refined if scan.high else self._others)(block, max(scan.first, 1), scan)

    def _others(self, block: Block, first: int, scan: Scan) -> None:
        run = 0
        for whole in block[first : scan.last + 1]:
            value = (abs(whole) >> scan.low) * (1 if whole > 0 else -1)
            if not value:
                run += 1
                continue
            for _ in range(run // 16):
                self.symbol(15, 0)
            size = abs(value).bit_length()
            self.symbol(run % 16, size)
            self.put(value if value > 0 else value - 1, size)
            run = 0
        if run:
            self.symbol(0, 0)

    def _refined(self, block: Block, first: int, scan: Scan) -> None:
        """One more bit of each coefficient (G.1.2.3)."""
        values = [abs(value) >> scan.low for value in block[first : scan.last + 1]]
        last_new = max((at for at, value in enumerate(values) if value == 1), default=-1)
        run, corrections = 0, ""
        for at, value in enumerate(values):
            if value > 1:
                corrections += str(value & 1)
                continue
            if value == 0:
                run += 1
                if run == 16 and at < last_new:
                    self.symbol(15, 0)
                    self._text.append(corrections)
                    run, corrections = 0, ""
                continue
            self.symbol(run, 1)
            self.put(block[first + at] > 0, 1)
            self._text.append(corrections)
            run, corrections = 0, ""
        if run or corrections:
            self.symbol(0, 0)
            self._text.append(corrections)


class ArithmeticCoder:
    """Arithmetic-coded data (D.1, F.1.4), with the default conditioning, of one restart interval."""

    def __init__(self) -> None:
        self._a, self._c, self._count = 0x10000, 0, 11
        self._out = bytearray()
        self._states: dict[tuple[str, int, int], list[int]] = {}  # by bin: state and more probable symbol
        self._levels: dict[int, int] = {}
        self._contexts: dict[int, int] = {}

    def data(self) -> bytes:
        """What was coded (D.1.8); zeros at the end are left out, as the standard allows."""
        top = (self._a - 1 + self._c) & ~0xFFFF
        self._c = top + 0x8000 if top < self._c else top
        self._c <<= self._count
        self._byte_out()
        self._c <<= 8
        self._byte_out()
        return bytes(self._out).rstrip(b"\x00").replace(b"\xff", b"\xff\x00")

    def block(self, at: int, block: Block, scan: Scan) -> None:
        if scan.first == 0:
            self._difference(at, block[0] >> scan.low)
        if scan.last:
            self._others(block, max(scan.first, 1), scan.last)

    def _difference(self, at: int, level: int) -> None:
        """The first coefficient (F.1.4.1); bins and context as in table F.4, with L = 0 and U = 1."""
        value, context = level - self._levels.get(at, 0), self._contexts.get(at, 0)
        self._levels[at] = level
        self._decide("dc", context, value != 0)
        if not value:
            self._contexts[at] = 0
            return
        self._decide("dc", context + 1, value < 0)
        magnitude = abs(value) - 1
        self._magnitude("dc", magnitude, context + (3 if value < 0 else 2), 20)
        self._contexts[at] = (4 if value > 0 else 8) + (8 if magnitude > 1 else 0)

    def _others(self, block: Block, first: int, last: int) -> None:
        """The other coefficients (F.1.4.2)."""
        end = max((k for k in range(first, last + 1) if block[k]), default=first - 1)
        k = first
        while k <= end:
            self._decide("ac", 3 * (k - 1), 0)
            while not block[k]:
                self._decide("ac", 3 * (k - 1) + 1, 0)
                k += 1
            self._decide("ac", 3 * (k - 1) + 1, 1)
            self._decide("fixed", 0, block[k] < 0)
            self._magnitude("ac", abs(block[k]) - 1, 3 * (k - 1) + 2, 189 if k <= 5 else 217, again=True)
            k += 1
        if k <= last:
            self._decide("ac", 3 * (k - 1), 1)

    def _magnitude(self, kind: str, value: int, first: int, more: int, *, again: bool = False) -> None:
        """How many bits, in unary, then the bits (F.1.4.3); `again`: the first bin is also the second."""
        size = value.bit_length()
        bins = [first, *([first] if again else []), *range(more, more + 16)]
        for at in range(size):
            self._decide(kind, bins[at], 1)
        self._decide(kind, bins[size], 0)
        for bit in range(size - 2, -1, -1):
            self._decide(kind, bins[size] + 14, value >> bit & 1)

    def _decide(self, kind: str, at: int, symbol: int) -> None:
        """Codes one decision (D.1.4)."""
        state = self._states.setdefault((kind, at, 0), [_FIXED if kind == "fixed" else 0, 0])
        qe, less, more, swap = _TABLE[state[0]]
        self._a -= qe
        if symbol != state[1]:
            if self._a >= qe:
                self._c += self._a
                self._a = qe
            state[0], state[1] = less, state[1] ^ swap
        else:
            if self._a >= 0x8000:
                return
            if self._a < qe:
                self._c += self._a
                self._a = qe
            state[0] = more
        while self._a < 0x8000:
            self._a <<= 1
            self._c <<= 1
            self._count -= 1
            if not self._count:
                self._byte_out()
                self._count = 8

    def _byte_out(self) -> None:
        """The upper bits of C, its carry included (D.1.6); stuffing comes last."""
        value = self._c >> 19
        self._c &= 0x7FFFF
        at = len(self._out) - 1
        while value > 0xFF and at >= 0:
            self._out[at] = (self._out[at] + 1) & 0xFF
            if self._out[at]:
                break
            at -= 1
        self._out.append(value & 0xFF)
