"""AVIF: what its boxes say about how the picture is meant to be seen, where Pillow does not tell or goes its own way.

The clean aperture is cut out first, then the picture is turned and mirrored in the order in which the file lists it;
the EXIF orientation has no say (ISO/IEC 23008-12, 6.5.8 to 6.5.12; ISO/IEC 23000-22, 7.3.6.7). Colours are an ICC
profile's, else those of nclx code points (ISO/IEC 14496-12, 12.1.5), whose matrix and range are the decoder's business.
Boxes that make no sense are passed over: they never fail an image that the decoder can read.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from math import floor
from typing import TypeAlias

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from batchproc.transform.colour_space import UNSPECIFIED, Space, named_space
from batchproc.transform.display import UPRIGHT, Aperture, Display, display_of
from batchproc.transform.view import Size

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
    def display(self) -> Display:
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


def _turned(properties: Sequence[_Box], size: Size) -> Display:
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
    return Display(orientation=_ORIENTATIONS[corners], aperture=aperture, notes=tuple(notes))


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
