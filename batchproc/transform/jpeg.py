"""JPEGs, decoded so that pixels which libjpeg had to invent are a failure: entropy-coded data that ends early.

libjpeg fills in what is missing and says so in a warning that Pillow does not pass on. But its decoder suspends when
its source has no more bytes *for now*, and Pillow's shows that. So the data of each scan is handed over without the
marker that ends it: a decoder that asks for more lacks it. Nothing is decoded twice, and where a file has one scan, no
restart markers and its end at its end, no byte behind its header is looked at: the proof costs 0.02 ms.

1. All but the last bytes of a scan. A decoder that needs no more has met a marker in the middle, or the data goes on
   behind the last pixel and may not be the picture's own: the code words are read one by one.
2. The rest, and padding, so that the decoder can look ahead. Now it has to be done.

Between two scans, or two restart markers, a decoder that is done skips all that is no marker, and one that is not done
gathers bits for its next look ahead: a single byte tells them apart. Restart markers have to be all there and in their
order, and the scans of a progressive file have to send every bit of every coefficient.

What cannot be seen: one or two blocks of 8 x 8 px that are missing at the very end (the padding decodes to as many),
damage that leaves as many code words as there were, and, as arithmetic-coded data may end early by the standard, a cut
of it that decodes with `_ARITHMETIC_ZEROS` behind it.

Code words are read in the few sequential, Huffman-coded files with more data than pixels. Bytes of another file and
noise decode to something for a while, but not without a coefficient beyond the 63rd, a word that no table has (ITU-T
T.81, F.2), or a block that no 64 samples give. A filler that happens to be made of words, as zeros may be, goes on
behind the last pixel: then it was no data before it either. Pure Python: about 0.2 s for 150 KB, so nothing is said of
more than `LIMIT_BYTES`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any

from msgspec import Struct
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.jpeg_frame import (
    Frame,
    Scan,
    Span,
    ends_in_segment,
    goes_on,
    has_its_bits,
    parts_of,
    read_frame,
    scan_after,
    tables_before,
    unsent,
)
from batchproc.transform.modes import Box

_MODES = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}  # by components; inverted, as Adobe writes them
_EOI = b"\xff\xd9"
_PADDING = b"\xff\x00" * 8  # 64 bits, as far as decoders look ahead, all ones: no code word begins so (F.1.2.1)
_PROBE = b"\x00"
_HELD_BACK_BYTES = 4  # less would do; some writers leave a byte or two behind
_PROVED_BYTES = 256  # restart intervals are proved in groups of at least this many
_ARITHMETIC_ZEROS = bytes(16)  # flat areas at the end need up to 8 (F.1.4: a writer leaves them out), cuts hundreds
_MOST_SCANS = 20  # more are for no picture's good
_SURPLUS_BYTES = 8  # of arithmetic-coded data; no whole one decodes without so many

_Layout = list[list[Span]]  # of every scan the parts of its data


class JpegReader:
    """The picture of a JPEG file.

    Raises `StageError` for what has no right pixels; EOFError and SyntaxError, as Pillow would, for no whole header.

    Its segments are read here: Pillow's reader takes 0.1 ms to look at tables and resolutions that nobody asks for.
    """

    def __init__(self, content: bytes) -> None:
        frame = read_frame(content)
        if frame is None:
            raise EOFError if ends_in_segment(content) else SyntaxError
        if variant := frame.odd_variant:
            raise StageError(Code.IMAGE_UNSUPPORTED, f"{variant} is not supported")
        self._content = content
        self._frame = frame
        self._scale = 1
        self._codec: Any = None
        self.size = frame.size
        self.mode = _MODES[frame.header[5]][0]
        self.display = frame.display

    def scale_down(self, scale: int) -> Box:
        """Has the picture decoded at 1/2, 1/4 or 1/8, if it has blocks that can be scaled: where it will lie then."""
        self._scale = 1 if self._frame.is_lossless else scale
        return (0, 0, self.size[0] / self._scale, self.size[1] / self._scale)

    def pixels(self) -> Image.Image:
        """All pixels. Raises `StageError`: truncated, image.corrupt; and OSError, as Pillow would."""
        width, height = self.size
        image = Image.new(self.mode, (ceil(width / self._scale), ceil(height / self._scale)), None)
        self._image = image
        try:
            self._decode()
        finally:
            self._free()
            del self._image
        return image

    def _decode(self) -> None:
        """Hands the file to Pillow's codec in parts. Raises `StageError`: truncated, image.corrupt."""
        content, frame = self._content, self._frame
        guess = (frame.begin, len(content) - len(_EOI))
        guessed = frame.is_plain and content.endswith(_EOI) and not frame.has_more_pictures
        if guessed and self._feed().give_up_to(content, 0, guess, is_all=True):
            return
        layout = _layout(content, frame)
        if frame.is_arithmetic:
            self._decode_arithmetic(layout)
        elif (guessed and layout == [[guess]]) or not self._is_exact(layout):
            _check_codes(content, frame, layout)

    def _is_exact(self, layout: _Layout) -> bool:
        """Whether there was no more data than pixels. Raises `StageError` where there was less."""
        feed, exact, at = self._feed(), True, 0
        for parts in layout:
            for part in _proved(parts):
                is_all = len(layout) == 1 and part == parts[-1]
                exact &= feed.give_up_to(self._content, at, part, is_all=is_all)
                at = part[1]
        feed.give(_EOI)
        _check(feed.finished)
        return exact and not goes_on(self._content, at)

    def _decode_arithmetic(self, layout: _Layout) -> None:
        """This decoder cannot suspend, it fails instead: without its last bytes it has to, with zeros it must not.

        Every scan is tried by itself, with all before it: these files are rare, and have ten scans at most.
        """
        content = self._content
        begin, end = layout[-1][-1]
        has_surplus = end - begin > 2 * _SURPLUS_BYTES and self._takes(content[: end - _SURPLUS_BYTES])
        tried = layout if len(layout) <= _MOST_SCANS else layout[-1:]
        _check(all(self._takes(content[: parts[-1][1]] + _ARITHMETIC_ZEROS) for parts in tried))
        if has_surplus:
            _check_codes(content, self._frame, layout)

    def _takes(self, content: bytes) -> bool:
        """Whether an arithmetic decoder asks for no more than this."""
        feed = self._feed()
        try:
            feed.give(content)
            feed.give(_EOI)
        except OSError:
            return False
        return feed.finished

    def _feed(self) -> "_Feed":
        """A codec that has seen nothing yet."""
        self._free()
        raw_mode = _MODES[self._frame.header[5]][1]
        self._codec = Image._getdecoder(self.mode, "jpeg", (raw_mode, ""), (self._scale, 0))
        self._codec.setimage(self._image.im, (0, 0, *self._image.size))
        return _Feed(self._codec)

    def _free(self) -> None:
        """Frees what the codec holds."""
        codec, self._codec = self._codec, None
        if codec is not None:
            codec.cleanup()


class _Feed:
    """Pillow's decoder, given a file part by part, and the bytes that it has not taken yet."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._rest = b""
        self.finished = False

    def give(self, data: bytes | memoryview) -> None:
        """Lets it decode as far as `data` goes; nothing once it has finished. Raises OSError, as Pillow would."""
        if self.finished:
            return
        pending = b"".join((self._rest, data)) if self._rest else data
        taken, error = self._codec.decode(pending)
        if error:
            raise OSError(f"broken data stream ({error})")
        self.finished = taken < 0
        self._rest = b"" if self.finished else bytes(pending[taken:])

    def skips(self, byte: bytes) -> bool:
        """Gives one more byte. Whether it and all before it were taken, as between two scans.

        Within a scan bits are gathered six bytes at a time or more: not this one by itself.
        """
        all_taken = not self._rest
        self.give(byte)
        return all_taken and not self._rest

    def give_up_to(self, content: bytes, at: int, part: Span, *, is_all: bool) -> bool:
        """Gives all from `at` to the end of a part of a scan's data. Whether less would not have been enough.

        `is_all`: nothing of the picture is behind it. Raises `StageError` where this is not enough.
        """
        begin, end = part
        held = max(begin, end - _HELD_BACK_BYTES)
        while held > begin and 0xFF in content[held - 1 : held + 1]:
            held -= 1
        self.give(memoryview(content)[at:held])
        if is_all:
            early = self.finished
            self.give(content[held:end] + _PADDING)
            _check(self.finished)
        else:
            early = self.skips(content[held : min(end, held + 1)])
            self.give(content[held + 1 : end] + _PADDING + _PROBE)
            _check(self.skips(_PROBE))
        return not early


def _layout(content: bytes, frame: Frame) -> _Layout:
    """Every scan and the ends of its parts. Raises `StageError` where scans or restart markers are not all there."""
    scans: list[Scan] = []
    layout: _Layout = []
    scan: Scan | None = frame.scan
    while scan is not None:
        restarts = frame.restarts(scan)
        parts = parts_of(content, scan, restarts)
        _check(len(parts) > restarts, "restart markers are missing or not in their order")
        scans.append(scan)
        layout.append(parts)
        scan = None if frame.is_one_scan else scan_after(content, parts[-1][1], scan)
    _check(not unsent(frame, scans), "its scans leave out a part of the picture")
    _check(all(map(partial(has_its_bits, content, frame), scans, layout)), "a scan has too few bits")
    return layout


def _proved(parts: list[Span]) -> Iterator[Span]:
    """The parts to be proved: small ones by the last of several, in which an error before it mostly shows."""
    at = 0
    for begin, end in parts:
        at = at or begin
        if end - at >= _PROVED_BYTES or end == parts[-1][1]:
            yield begin, end
            at = 0


def _check(holds: bool, reason: str = "its last pixels have no data") -> None:
    if not holds:
        raise StageError(Code.TRUNCATED, f"the jpeg image ends early: {reason}")


def _check_codes(content: bytes, frame: Frame, layout: _Layout) -> None:
    """More data than pixels: some writers leave bytes behind, and so does a file whose middle was overwritten."""
    readable = frame.is_one_scan and not frame.is_lossless and not frame.is_arithmetic
    complaint = complaint_about(content, frame, layout[0]) if readable else "it has bytes that belong to no pixel"
    if complaint:
        raise StageError(Code.IMAGE_CORRUPT, f"the jpeg image is damaged: {complaint}")


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
