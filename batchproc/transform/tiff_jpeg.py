"""JPEG inside TIFF: each strip or tile is a JPEG of its own, decoded by the reader that all other JPEGs go through.

libtiff would take data that ends early for whole. A strip shares its tables with the others (TIFF Technical Note 2),
and what colours it has says the directory: its own application segments and comments are left out, and Adobe's is put
in their place, by which libjpeg knows whether to convert.
"""

from collections.abc import Iterator
from io import BytesIO

from PIL import Image, ImageChops

from batchproc.errors import StageError
from batchproc.transform.jpeg import JpegReader
from batchproc.transform.jpeg_frame import read_frame
from batchproc.transform.tiff_directory import Directory, corrupt
from batchproc.transform.tiff_layout import Layout
from batchproc.transform.tiff_samples import YCBCR, unsupported
from batchproc.transform.view import Size

_TABLES = 347
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _COMMENT, _APPLICATIONS = 0xDA, 0xFE, range(0xE0, 0xF0)
_PRECISION_BITS = 8
_PROCESSES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # sequential and progressive, either entropy coding


def jpeg_plane(directory: Directory, layout: Layout, plane: int) -> Image.Image:
    """One plane, or all samples where they are stored together: L, RGB, or CMYK for any four samples.

    Raises `StageError`: image.unsupported, image.corrupt, and what Pillow raises.
    """
    offsets, lengths = layout.plane(plane)
    head = _head(directory, is_ycbcr=layout.samples.colours == YCBCR and not layout.samples.is_planar)
    segments = [directory.content[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
    image = Image.new({1: "L", 3: "RGB", 4: "CMYK"}[layout.samples.together], layout.size)
    for segment, (place, size) in zip(segments, _places(layout), strict=True):
        image.paste(_decoded(head + _without_marks(segment), image.mode, size), place)
    return image


def _head(directory: Directory, *, is_ycbcr: bool) -> bytes:
    """What each JPEG begins with: the colours, and the tables of all."""
    tables = directory.block(_TABLES).removesuffix(_END)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes((is_ycbcr,))
    return _START + adobe + (_without_marks(tables) if tables else b"")


def _without_marks(segment: bytes) -> bytes:
    """A JPEG without its beginning, application segments and comments."""
    kept, at = b"", len(_START)
    while at + 4 <= len(segment):
        marker = segment[at + 1]
        if segment[at] != 0xFF or not segment.startswith(_START):
            raise corrupt("a strip or tile is no JPEG")
        if marker == _SCAN:
            return kept + segment[at:]
        end = at + 2 + int.from_bytes(segment[at + 2 : at + 4]) if marker != 0xFF else at + 1
        if marker != _COMMENT and marker not in _APPLICATIONS:
            kept += segment[at:end]
        at = end
    return kept


def _places(layout: Layout) -> Iterator[tuple[tuple[int, int], Size]]:
    """Where the segments of a plane go, and the size of each."""
    width, height = layout.size
    across = layout.tile[0] if layout.tile else width
    for top in range(0, height, layout.rows):
        rows = layout.rows if layout.tile else min(layout.rows, height - top)
        for left in range(0, width, across):
            yield (left, top), (across, rows)


def _decoded(content: bytes, mode: str, size: Size) -> Image.Image:
    frame = read_frame(content)
    if frame is None:
        raise corrupt("a strip or tile is no JPEG")
    if frame.precision != _PRECISION_BITS:
        raise unsupported(f"JPEG compression of {frame.precision} bits")
    if frame.marker not in _PROCESSES:
        raise unsupported("lossless or hierarchical JPEG compression")
    if frame.size[0] != size[0] or frame.size[1] < size[1]:
        raise corrupt("a strip or tile has another size than its JPEG")
    image = JpegReader(BytesIO(content))
    image.decodermaxblock = max(image.decodermaxblock, len(content))
    try:
        image.load()
    except StageError as error:  # the file is whole: what ends early in it is damaged
        raise corrupt(f"inside, {error.message}") from None
    if image.mode != mode:
        raise corrupt(f"a JPEG of mode {image.mode} inside")
    return ImageChops.invert(image) if mode == "CMYK" else image  # Pillow takes each for an inverted one of Adobe's
