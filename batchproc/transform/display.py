"""What a file says about how its pixels are meant to be seen, and the turn that sets them upright.

It never fails an image; what is unusable is noted. The EXIF orientation is read from the bytes directly (EXIF 2.32,
section 4.6.2, tag 0x0112 in the first image file directory): one pass that ends, whatever stands in the rest of the
block. Anything invalid means upright. Orientation in XMP alone is not honoured, as in browsers.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from PIL import Image
from PIL.Image import Transpose

from batchproc.transform.colour import Declared

Quality: TypeAlias = Literal["fast", "balanced", "exact"]
Size: TypeAlias = tuple[int, int]  # width, height, px
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom, px; fractions allowed


def forget(text: str) -> None:
    """Takes a note that nobody asked for."""


class View(Struct, frozen=True, kw_only=True):
    """The link between an image in memory and the picture it stands for.

    They differ after a scaled JPEG decode: a picture of 1001 px decoded at 1/8 is 126 px wide in memory, of which
    125.125 are picture. A step that computes with sizes uses `size`, and reads its pixels from `box`.
    """

    size: Size  # of the picture as displayed
    box: Box  # where the whole picture lies in the pixels
    quality: Quality = "exact"
    background: str = "#ffffff"
    note: Callable[[str], None] = forget  # hears what the row of the image is to say of its pixels

    @classmethod
    def whole(cls, image: Image.Image) -> "View":
        """The view of an image that stands for itself."""
        return cls(size=image.size, box=(0, 0, *image.size))

    def then(self, image: Image.Image) -> "View":
        """The view after a step that made `image`: it stands for itself from here on."""
        return replace(self, size=image.size, box=(0, 0, *image.size))


UPRIGHT = 1
_TAG = 0x0112
_SHORT = 3

_TURNS: dict[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_BOXES: dict[int, Callable[[float, float, float, float, int, int], Box]] = {
    2: lambda x0, y0, x1, y1, w, _h: (w - x1, y0, w - x0, y1),
    3: lambda x0, y0, x1, y1, w, h: (w - x1, h - y1, w - x0, h - y0),
    4: lambda x0, y0, x1, y1, _w, h: (x0, h - y1, x1, h - y0),
    5: lambda x0, y0, x1, y1, _w, _h: (y0, x0, y1, x1),
    6: lambda x0, y0, x1, y1, _w, h: (h - y1, x0, h - y0, x1),
    7: lambda x0, y0, x1, y1, w, h: (h - y1, w - x1, h - y0, w - x0),
    8: lambda x0, y0, x1, y1, w, _h: (y0, w - x1, y1, w - x0),
}


def read_orientation(exif: bytes) -> int:
    """The orientation tag of an EXIF block, with or without its `Exif` header; 1 when absent or invalid."""
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return UPRIGHT
    try:
        return _scan(block, order)
    except struct.error:
        return UPRIGHT


def read_hidden_orientation(text: str) -> int:
    """The orientation in a text chunk of ImageMagick's: a blank line, a name, a length, EXIF in hexadecimal digits."""
    digits = "".join(text.split()[2:])
    try:
        return read_orientation(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    except ValueError:
        return UPRIGHT


def swaps_axes(orientation: int) -> bool:
    """Whether width and height change places when the picture is set upright."""
    return orientation >= 5


def upright_size(size: Size, orientation: int) -> Size:
    """The size as displayed. Its own inverse."""
    return (size[1], size[0]) if swaps_axes(orientation) else size


def set_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it is meant to be seen. Releases the GIL."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def upright_box(box: Box, size: Size, orientation: int) -> Box:
    """Where `box` of an image of `size` px lies once the image is upright."""
    turn = _BOXES.get(orientation)
    return box if turn is None else turn(*box, *size)


def _scan(block: bytes, order: str) -> int:
    (offset,) = struct.unpack_from(order + "L", block, 4)
    (entries,) = struct.unpack_from(order + "H", block, offset)
    for entry in range(entries):
        tag, kind, count, value = struct.unpack_from(order + "HHLH", block, offset + 2 + 12 * entry)
        if tag == _TAG:
            return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


Aperture: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, px


class Display(Struct, frozen=True, kw_only=True):
    """`aperture` is the part that is shown, in stored pixels; None: all. It is cut before the picture is turned."""

    orientation: int = UPRIGHT
    aperture: Aperture | None = None
    colours: tuple[Declared, ...] = ()  # the first that is usable counts
    notes: tuple[str, ...] = ()

    def size(self, stored: Size) -> Size:
        """The size as displayed of pixels of the size `stored`."""
        if self.aperture is not None:
            left, top, right, bottom = self.aperture
            stored = (right - left, bottom - top)
        return upright_size(stored, self.orientation)


def display_by(
    declared: Iterable[Declared | str], *, orientation: int = UPRIGHT, notes: Sequence[str] = ()
) -> Display:
    """From what a file says of its colours, the strongest first, with notes where it is of no use."""
    said = tuple(declared)
    return Display(
        orientation=orientation,
        colours=tuple(one for one in said if not isinstance(one, str)),
        notes=(*notes, *(one for one in said if isinstance(one, str))),
    )


def display_of(image: Image.Image) -> Display:
    """From what Pillow has found in the file: the EXIF orientation and the ICC profile."""
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    return Display(
        orientation=read_orientation(exif) if isinstance(exif, bytes) else UPRIGHT,
        colours=(profile,) if isinstance(profile, bytes) and profile else (),
    )
