"""The formats of animations, GIF, WebP and AVIF: the first frame on its canvas, transparent where there is none of it.

Of AVIF the boxes say how the picture is meant to be seen, where Pillow does not tell or goes its own way. The clean
aperture is cut out first, then the picture is turned and mirrored in the order in which the file lists it; the EXIF
orientation has no say (ISO/IEC 23008-12, 6.5.8 to 6.5.12; ISO/IEC 23000-22, 7.3.6.7). Colours are an ICC profile's,
else those of nclx code points (ISO/IEC 14496-12, 12.1.5), whose matrix and range are the decoder's business. Boxes that
make no sense are passed over: they never fail an image that the decoder can read.
"""

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from math import floor
from typing import TypeAlias

from msgspec.structs import replace
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from batchproc.transform.colour import UNSPECIFIED, Space, named_space
from batchproc.transform.modes import UPRIGHT, Aperture, Presentation, Size, display_of, to_working_mode

_HAS_ALPHA, _IS_ANIMATED = 0x10, 0x02  # bits of VP8X (section 2.7)
_FLAGS_AT, _CANVAS_AT = 20, 24
_LOSSLESS_HAS_ALPHA = 1 << 28  # behind the signature, width and height (section 3.4)


class GifReader(GifImageFile):
    """GIF: Pillow's reader, kept to the first frame on its canvas, transparent where there is none of it.

    Pillow fills the rest of the canvas with the first colour of the palette, and where a frame's data ends early it
    goes on into what stands behind, be it the next frame. So it is given the frame's own data alone (GIF89a, 15, 22).
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        super().__init__(BytesIO(content))
        self.display = display_of(self)
        self._extent = self.tile[0].extents

    def pixels(self) -> Image.Image:
        """The decoded canvas."""
        self.load()
        if self._extent is None or self._extent == (0, 0, *self.size) or "transparency" in self.info:
            return self
        frame = to_working_mode(self.crop(self._extent)).convert("RGBA")
        canvas = Image.new("RGBA", self.size)
        canvas.paste(frame, self._extent)
        return canvas

    def load_read(self, read_bytes: int) -> bytes:
        """What is left of the frame's data: sub-blocks up to an empty one."""
        assert self.fp is not None
        begin = at = self.fp.tell()
        while at < len(self._content) and self._content[at]:
            at += 1 + self._content[at]
        self.fp.seek(at)
        return self._content[begin:at]


class WebpReader(WebPImageFile):
    """WebP: of an animation the first frame on its canvas, transparent where there is none of it.

    Pillow takes the frames for opaque unless the header says otherwise, and what no frame covers for black. So a header
    that forgets alpha, or needs none but for the gaps, is handed to it with the bit set. The canvas' own background
    colour is a hint that browsers do not follow either (RFC 9649, section 2.7.1.1).
    """

    def __init__(self, content: bytes) -> None:
        if _needs_alpha(content):
            flags = bytes((content[_FLAGS_AT] | _HAS_ALPHA,))
            content = content[:_FLAGS_AT] + flags + content[_FLAGS_AT + 1 :]
        super().__init__(BytesIO(content))
        self.display = display_of(self)

    def pixels(self) -> Image.Image:
        """The first frame. Whatever fails in it is an OSError: to Pillow the file ends there."""
        try:
            self.load()
        except EOFError as error:
            raise OSError("a frame cannot be decoded") from error
        return self


def webp_size(content: bytes) -> Size | None:
    """The size in a WebP's header, None where it is not readable. The decoder allocates the canvas as it opens.

    Source: RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1.
    """
    chunk = content[12:16]
    if chunk == b"VP8X" and len(content) >= 30:
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if chunk == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(content) >= 30:
        return int.from_bytes(content[26:28], "little") & 0x3FFF, int.from_bytes(content[28:30], "little") & 0x3FFF
    return None


def _needs_alpha(content: bytes) -> bool:
    """Whether the first frame of an animation does not cover the canvas, or has alpha of its own."""
    if content[12:16] != b"VP8X" or not content[_FLAGS_AT : _FLAGS_AT + 1] or not content[_FLAGS_AT] & _IS_ANIMATED:
        return False
    at = 30
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sL", content, at)
        if kind == b"ANMF":
            return _shows_through(content[at + 8 : at + 8 + length], content[_CANVAS_AT : _CANVAS_AT + 6])
        at += 8 + length + length % 2
    return False


def _shows_through(frame: bytes, canvas: bytes) -> bool:
    is_full = frame[:6] == bytes(6) and frame[6:12] == canvas
    kind, bits = frame[16:20], int.from_bytes(frame[25:29], "little")
    return not is_full or kind == b"ALPH" or (kind == b"VP8L" and bool(bits & _LOSSLESS_HAS_ALPHA))


_Box: TypeAlias = tuple[bytes, memoryview]  # kind and content

_HEAD_BYTES = {b"meta": 4, b"stsd": 8, b"av01": 78}  # what stands before the boxes within a box
_PROPERTIES = (b"meta", b"iprp")
_FIRST_SAMPLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"av01")  # of a file that is a film alone

# Which corner of the stored picture comes to lie at the top left, top right, bottom right, bottom left.
_QUARTER_TURN = (1, 2, 3, 0)  # counter-clockwise
_MIRRORS = ((3, 2, 1, 0), (1, 0, 3, 2))  # top to bottom, left to right
_ORIENTATIONS: dict[tuple[int, ...], int] = {
    (0, 1, 2, 3): UPRIGHT,
    (1, 0, 3, 2): 2,
    (2, 3, 0, 1): 3,
    (3, 2, 1, 0): 4,
    (0, 3, 2, 1): 5,
    (3, 0, 1, 2): 6,
    (2, 1, 0, 3): 7,
    (1, 2, 3, 0): 8,
}


class AvifReader(AvifImageFile):
    """Pillow's reader, given a file without EXIF, which has no say here and fails it when malformed."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        super().__init__(BytesIO(_without_exif(content)))

    @property
    def display(self) -> Presentation:
        """How the pixels are meant to be seen."""
        known = display_of(self)
        try:
            properties = _properties(memoryview(self._content))
            display = _turned(properties, self.size)
            space, note = _named_space(properties)
        except (struct.error, IndexError, ValueError):
            return known
        return replace(
            display,
            colours=(*known.colours, *((space,) if space else ())),
            notes=(*display.notes, *((note,) if note else ())),
        )

    def pixels(self) -> Image.Image:
        """All pixels."""
        self.load()
        return self


def _boxes(view: memoryview) -> Iterator[_Box]:
    """The boxes that lie side by side in `view` (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(view):
        head, length = 8, int.from_bytes(view[at : at + 4])
        if length == 1:
            head, length = 16, int.from_bytes(view[at + 8 : at + 16])
        end = len(view) if length == 0 else at + length
        if end < at + head:
            return
        yield bytes(view[at + 4 : at + 8]), view[at + head : end]
        at = end


def _inside(view: memoryview, path: Sequence[bytes]) -> memoryview:
    """What lies in the first box of each kind of `path`, one in the other; nothing where one is missing."""
    for kind in path:
        view = next((inner for name, inner in _boxes(view) if name == kind), view[:0])[_HEAD_BYTES.get(kind, 0) :]
    return view


def _without_exif(content: bytes) -> bytes:
    """The file in which no item is of type Exif any more (ISO/IEC 14496-12, 8.11.6)."""
    if b"Exif" not in content:
        return content
    changed = bytearray(content)
    items = _inside(memoryview(changed), (b"meta", b"iinf"))
    for _kind, entry in _boxes(items[8 if items[:1].tobytes() != b"\0" else 6 :]):
        item_type = entry[10:14] if entry[:1].tobytes() == b"\3" else entry[8:12]
        if item_type.tobytes() == b"Exif":
            item_type[:] = b"free"
    return bytes(changed)


def _properties(view: memoryview) -> list[_Box]:
    """The properties of the primary item in its own order (ISO/IEC 23008-12, 9.3); of a film those of its samples."""
    primary = bytes(_inside(view, (b"meta", b"pitm")))
    known = [*_boxes(_inside(view, (*_PROPERTIES, b"ipco")))]
    if not primary or not known:
        return [*_boxes(_inside(view, _FIRST_SAMPLE))]
    item = int.from_bytes(primary[4:])  # 2 bytes, or 4
    tables = [inner for kind, inner in _boxes(_inside(view, _PROPERTIES)) if kind == b"ipma"]
    return [known[index - 1] for table in tables for index in _indices(table, item) if index > 0]


def _indices(table: memoryview, item: int) -> Iterator[int]:
    """The numbers of an item's properties, counted from 1, in an association box."""
    version, flags, entries = table[0], table[3], int.from_bytes(table[4:8])
    id_bytes, index_bytes, at = (4 if version else 2), (2 if flags & 1 else 1), 8
    for _ in range(entries):
        count = table[at + id_bytes]
        first = at + id_bytes + 1
        if int.from_bytes(table[at : at + id_bytes]) == item:
            mask = (1 << (8 * index_bytes - 1)) - 1  # the upper bit says whether it is essential
            for start in range(first, first + count * index_bytes, index_bytes):
                yield int.from_bytes(table[start : start + index_bytes]) & mask
        at = first + count * index_bytes


def _turned(properties: Sequence[_Box], size: Size) -> Presentation:
    """Orientation and aperture."""
    aperture: Aperture | None = None
    corners: tuple[int, ...] = (0, 1, 2, 3)
    notes = []
    for kind, content in properties:
        if kind == b"irot":
            for _ in range(content[0] & 3):
                corners = _moved(corners, _QUARTER_TURN)
        elif kind == b"imir":
            corners = _moved(corners, _MIRRORS[content[0] & 1])
        elif kind == b"clap":
            aperture = _aperture(content, size) if corners == (0, 1, 2, 3) and aperture is None else None
            if aperture is None:
                notes.append("clean aperture ignored: it is not a part of the stored picture")
    return Presentation(orientation=_ORIENTATIONS[corners], aperture=aperture, notes=tuple(notes))


def _moved(corners: tuple[int, ...], move: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(corners[at] for at in move)


def _aperture(content: memoryview, size: Size) -> Aperture | None:
    """The rectangle of a clean aperture box (ISO/IEC 14496-12, 12.1.4); part of a pixel goes left and up."""
    width, height, across, down = (
        Fraction(above, below) if below else Fraction(0)
        for above, below in struct.iter_unpack(">lL", content[:32])
    )
    left, top = floor(across + (size[0] - width) / 2), floor(down + (size[1] - height) / 2)
    right, bottom = left + floor(width), top + floor(height)
    fits = 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    return (left, top, right, bottom) if fits else None


def _named_space(properties: Sequence[_Box]) -> tuple[Space | None, str]:
    """The space of the nclx box, or why it has none that is known here."""
    for kind, content in properties:
        if kind == b"colr" and bytes(content[:4]) == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            space = named_space("nclx", primaries, transfer)
            if space is None and (primaries, transfer) != (UNSPECIFIED, UNSPECIFIED):
                return None, f"nclx ignored: no colours are known by {primaries}, {transfer}"
            return space, ""
    return None, ""
