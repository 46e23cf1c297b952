"""What a JPEG says of itself: its process, its components, its scans, and where their entropy-coded data ends.

Reads markers alone and decodes nothing; takes fill bytes, and stray bytes between segments, as libjpeg does. Sections
are those of ITU-T T.81.
"""

import re
from collections.abc import Iterator, Sequence
from math import ceil

from msgspec import Struct

from batchproc.transform.modes import UPRIGHT, Presentation, read_orientation

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC})  # SOFn, DHP
_USUAL = frozenset({0xC0, 0xC1, 0xC2})
_USUAL_FACTORS = frozenset({b"\x11", b"\x11\x11\x11", b"\x21\x11\x11", b"\x22\x11\x11"})  # of most files
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE})
_ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # a stray 0xFF, TEM, RSTn, SOI: without a segment
_DHT, _EOI, _SOS, _DQT, _DRI = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_JFIF, _EXIF, _ICC_OR_MP, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE  # the application segments that somebody reads
_APPLICATIONS = frozenset({_JFIF, _EXIF, _ICC_OR_MP, _ADOBE})
_EXIF_HEAD, _ICC_HEAD, _ICC_PART = b"Exif\0\0", b"ICC_PROFILE\0", 14  # behind that head: which part, of how many
_ADOBE_TRANSFORM_AT = 11
_PASSED_OVER = frozenset({_DHT, _DQT, 0xFE, *range(0xE0, 0xF0)} - _APPLICATIONS)  # COM, APPn
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_COEFFICIENTS = 64  # of a block of 8 x 8 samples
_NEVER = -1  # no scan has sent this coefficient yet

Span = tuple[int, int]  # where bytes begin and end
Segment = tuple[int, bytes]  # marker and content


class Component(Struct, frozen=True, kw_only=True):
    """One component, its sampling factors, the number of its quantisation table."""

    identifier: int
    across: int
    down: int
    quantiser: int


class Scan(Struct, frozen=True, kw_only=True):
    """One scan: who is in it, which bits of which coefficients it sends, and where its data begins."""

    components: tuple[int, ...]  # identifiers
    tables: tuple[int, ...]  # for each: DC table * 16 + AC table
    first: int  # coefficient; in lossless JPEG the predictor
    last: int
    high: int  # the bit position down to which an earlier scan sent them; 0: none did
    low: int  # the bit position down to which this one does
    interval: int  # MCUs between restart markers; 0: no such markers
    begin: int


class Frame(Struct, frozen=True, kw_only=True):
    """What stands before the data of the first scan. Its fields are kept as bytes: most files need few of them."""

    marker: int  # SOFn, or DHP where the file is hierarchical
    header: bytes  # B.2.2, without its length
    scan_header: bytes  # B.2.3, without its length
    interval: int
    begin: int
    applications: tuple[Segment, ...]  # before the scan; those of profiles before the frame's header

    @property
    def has_more_pictures(self) -> bool:
        """Whether others follow this one (CIPA DC-007, MPF)."""
        return any(marker == _ICC_OR_MP and segment.startswith(b"MPF\0") for marker, segment in self.applications)

    @property
    def precision(self) -> int:
        """Bits per sample."""
        return self.header[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px; a height of 0 is told behind the first scan (B.2.5)."""
        return int.from_bytes(self.header[3:5]), int.from_bytes(self.header[1:3])

    @property
    def components(self) -> tuple[Component, ...]:
        """All components."""
        fields = [self.header[at : at + 3] for at in range(6, len(self.header) - 2, 3)]
        return tuple(Component(identifier=f[0], across=f[1] >> 4, down=f[1] & 15, quantiser=f[2]) for f in fields)

    @property
    def scan(self) -> Scan:
        """The first scan."""
        return _scan(self.scan_header, interval=self.interval, begin=self.begin)

    @property
    def is_progressive(self) -> bool:
        """Whether the coefficients come in several scans."""
        return self.marker in (0xC2, 0xC6, 0xCA, 0xCE)

    @property
    def is_arithmetic(self) -> bool:
        """Whether the entropy coding is arithmetic, not Huffman's."""
        return self.marker in range(0xC9, 0xD0)

    @property
    def is_lossless(self) -> bool:
        """Whether samples are predicted, not transformed in blocks."""
        return self.marker in (0xC3, 0xC7, 0xCB, 0xCF)

    @property
    def is_one_scan(self) -> bool:
        """Whether the first scan holds the whole picture."""
        return not self.is_progressive and self.scan_header[0] == self.header[5]

    @property
    def is_plain(self) -> bool:
        """Whether it has one scan, Huffman-coded, without restart markers: its data ends at the first marker."""
        return self.marker in (0xC0, 0xC1, 0xC3) and not self.interval and self.scan_header[0] == self.header[5]

    @property
    def odd_variant(self) -> str:
        """What this is where libjpeg has no right pixels for it; empty where it has."""
        if self.marker in _USUAL and self.precision == 8 and self.header[7::3] in _USUAL_FACTORS and all(self.size):
            return ""
        if self.marker in _HIERARCHICAL:
            return "a hierarchical JPEG"
        if self.is_lossless and self.is_arithmetic:
            return "a lossless JPEG with arithmetic coding"
        if self.precision != 8:
            return f"a JPEG of {self.precision} bits per sample"
        if self.header[5] not in (1, 3, 4):
            return f"a JPEG of {self.header[5]} components"
        if not all(self.size):
            return "a JPEG that tells its height behind its pixels"
        across = [factors >> 4 for factors in self.header[7::3]]
        down = [factors & 15 for factors in self.header[7::3]]
        if self.is_lossless and max(across + down) > 1:  # libjpeg-turbo 3.2: wrong ones where restart markers come in
            return "a lossless JPEG with subsampled components"
        if self.is_lossless and self._has_converted_colours:  # libjpeg-turbo does not convert them
            return "a lossless JPEG in YCbCr or YCCK"
        whole = all(max(across) % factor == 0 for factor in across) and all(max(down) % factor == 0 for factor in down)
        return "" if whole else "a JPEG whose components are sampled at no whole ratios"

    @property
    def _has_converted_colours(self) -> bool:
        """Whether they are not those of a screen or a press, by Adobe's segment or JFIF."""
        adobe = next((segment for marker, segment in reversed(self.applications) if marker == _ADOBE), b"")
        is_jfif = any(marker == _JFIF and segment.startswith(b"JFIF") for marker, segment in self.applications)
        is_told = adobe.startswith(b"Adobe") and any(adobe[_ADOBE_TRANSFORM_AT : _ADOBE_TRANSFORM_AT + 1])
        return is_told or (is_jfif and self.header[5] == 3)

    @property
    def display(self) -> Presentation:
        """How it is meant to be seen: EXIF, and the ICC profile, which may stand in several segments."""
        exif, parts = b"", []
        for marker, segment in self.applications:
            if marker == _EXIF and segment.startswith(_EXIF_HEAD):
                exif += segment[len(_EXIF_HEAD) :]
            elif marker == _ICC_OR_MP and segment.startswith(_ICC_HEAD):
                parts.append(segment)
        parts.sort()
        is_whole = bool(parts) and [*parts[0][_ICC_PART - 1 : _ICC_PART]] == [len(parts)]
        profile = b"".join(part[_ICC_PART:] for part in parts) if is_whole else b""
        orientation = read_orientation(exif) if exif else UPRIGHT
        return Presentation(orientation=orientation, colours=(profile,) if profile else ())

    def restarts(self, scan: Scan) -> int:
        """How many restart markers this scan has to have."""
        return ceil(self.units(scan) / scan.interval) - 1 if scan.interval else 0

    def units(self, scan: Scan) -> int:
        """How many MCUs a scan has (A.2): one component by itself is not padded to whole MCUs of all."""
        width, height = self.size
        side = 1 if self.is_lossless else 8
        components = {one.identifier: one for one in self.components}
        widest = max(one.across for one in components.values())
        tallest = max(one.down for one in components.values())
        if len(scan.components) > 1:
            return ceil(width / (side * widest)) * ceil(height / (side * tallest))
        one = components[scan.components[0]]
        return ceil(ceil(width * one.across / widest) / side) * ceil(ceil(height * one.down / tallest) / side)


def read_frame(content: bytes) -> Frame | None:
    """The frame of a JPEG and its first scan; None where they are not whole."""
    header, kind, interval, applications = b"", 0, 0, list[Segment]()
    for marker, begin, end in _segments(content, 2):
        if marker in _PASSED_OVER:
            continue
        if marker in _APPLICATIONS:
            if marker != _ICC_OR_MP or not header:
                applications.append((marker, content[begin:end]))
        elif marker == _SOS:
            scan = content[begin:end]
            if not _is_whole(header, scan):
                return None
            return Frame(
                marker=kind, header=header, scan_header=scan, interval=interval, begin=end,
                applications=tuple(applications),
            )  # fmt: skip
        elif marker == _DRI:
            interval = int.from_bytes(content[begin : begin + 2])
        elif marker in _FRAMES and not header:
            header, kind = content[begin:end], marker
    return None


def ends_in_segment(content: bytes) -> bool:
    """Whether a segment is longer than what there is of the file."""
    return any(end > len(content) for _, _, end in _segments(content, 2))


def tables_before(content: bytes, frame: Frame) -> tuple[list[bytes], list[bytes]]:
    """The segments of Huffman tables (B.2.4.2) and of quantisers (B.2.4.1) before the first scan, without lengths."""
    found: dict[int, list[bytes]] = {_DHT: [], _DQT: []}
    for marker, begin, end in _segments(content[: frame.begin], 2):
        if marker in found:
            found[marker].append(content[begin:end])
    return found[_DHT], found[_DQT]


def scan_after(content: bytes, at: int, before: Scan) -> Scan | None:
    """The scan whose header follows at `at`, behind the data of another; None where there is no more."""
    interval = before.interval
    for marker, begin, end in _segments(content, at):
        if marker == _DRI:
            interval = int.from_bytes(content[begin : begin + 2])
        elif marker == _SOS:
            header = content[begin:end]
            return _scan(header, interval=interval, begin=end) if _is_whole_scan(header) else None
    return None


def parts_of(content: bytes, scan: Scan, restarts: int) -> list[Span]:
    """The data of a scan: up to each of its restart markers, and up to the first other marker or the end.

    Fewer than `restarts` + 1: the restart markers are not all there, or not in their order.
    """
    parts: list[Span] = []
    begin = scan.begin
    for match in _MARKER.finditer(content, begin):
        end = match.start()
        while end > begin and content[end - 1] == 0xFF:  # fill bytes (B.1.1.2)
            end -= 1
        parts.append((begin, end))
        if len(parts) > restarts or content[match.end() - 1] != 0xD0 + (len(parts) - 1) % 8:
            return parts
        begin = match.end()
    return [*parts, (begin, len(content))]


def goes_on(content: bytes, end: int) -> bool:
    """Whether a restart marker stands at `end`, and data behind it."""
    match = _MARKER.search(content, end)
    if match is None or content[match.start() + 1] not in range(0xD0, 0xD8):
        return False
    return content[match.end() : match.end() + 1] not in (b"", b"\xff")


def unsent(frame: Frame, scans: Sequence[Scan]) -> bool:
    """Whether the scans together leave out a component, a coefficient or bits of one (G.1.1.1)."""
    if not frame.is_progressive:
        return {one.identifier for one in frame.components} != {one for scan in scans for one in scan.components}
    lows = {one.identifier: [_NEVER] * _COEFFICIENTS for one in frame.components}
    for scan in scans:
        for low in (lows[identifier] for identifier in scan.components):
            for coefficient in range(scan.first, min(scan.last + 1, _COEFFICIENTS)):
                if low[coefficient] != (scan.high or _NEVER):
                    return True
                low[coefficient] = scan.low
    return any(low != [0] * _COEFFICIENTS for low in lows.values())


def has_its_bits(content: bytes, frame: Frame, scan: Scan, parts: Sequence[Span]) -> bool:
    """Whether a scan that refines first coefficients has the one bit that each block needs (G.1.2.1); True for others.

    Its bits need no code words, so that a decoder reads padding as it reads them.
    """
    if not frame.is_progressive or frame.is_arithmetic or scan.first or not scan.high:
        return True
    per_unit = sum(one.across * one.down for one in frame.components if one.identifier in scan.components)
    per_unit = per_unit if len(scan.components) > 1 else 1
    units = frame.units(scan)
    for begin, end in parts:
        length = end - begin - content.count(b"\xff\x00", begin, end)
        if 8 * length < per_unit * min(units, scan.interval or units):
            return False
        units -= scan.interval
    return True


def _segments(content: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Each marker segment from `at` on: the marker, where its content begins and ends. Stops at the end of image."""
    last = len(content) - 4
    while at < last:
        if content[at] != 0xFF:
            at = content.find(b"\xff", at)
            if at < 0:
                return
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == _EOI:
            return
        else:
            end = at + 2 + (content[at + 2] << 8 | content[at + 3])
            yield marker, at + 4, end
            at = end


def _is_whole(header: bytes, scan: bytes) -> bool:
    """Whether a frame header and a scan header have all they say that they have."""
    factors = header[7::3]
    proper = len(header) >= 9 and len(header) == 6 + 3 * header[5] and all(byte >> 4 and byte & 15 for byte in factors)
    return proper and _is_whole_scan(scan)


def _is_whole_scan(header: bytes) -> bool:
    return len(header) >= 6 and len(header) == 4 + 2 * header[0]


def _scan(header: bytes, *, interval: int, begin: int) -> Scan:
    first, last, bits = header[-3:]
    return Scan(
        components=tuple(header[1:-3:2]),
        tables=tuple(header[2:-3:2]),
        first=first,
        last=last,
        high=bits >> 4,
        low=bits & 15,
        interval=interval,
        begin=begin,
    )
