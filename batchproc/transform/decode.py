"""From bytes to pixels: opened by content, measured before it is decoded, upright, in sRGB, in a working mode.

Only the first frame is looked at, and the number of frames is never asked for. Metadata decides the orientation and the
colour space and is then dropped. A file without its last bytes may still be whole as a picture; damage in the middle of
a JPEG that leaves as many pixels as there were cannot be seen.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from msgspec import Struct
from PIL import AvifImagePlugin, Image, ImageFile

from batchproc.errors import Code, StageError
from batchproc.sniff import Nature, identify, is_cut
from batchproc.transform import modes
from batchproc.transform.bmp import BmpReader
from batchproc.transform.colour import Colours
from batchproc.transform.frames import AvifReader, GifReader, WebpReader, webp_size
from batchproc.transform.jpeg import JpegReader
from batchproc.transform.modes import Box, Presentation, Size, set_upright, upright_box, upright_size
from batchproc.transform.png import PngReader
from batchproc.transform.resampler import draft_scale
from batchproc.transform.tiff import TiffReader, mute_libtiff

# A file whose header was read: `size` as stored, `display` by the rules of the format, and `pixels()`, all as stored,
# in one of the modes of the table in `modes`. Made and read it raises `StageError`, and what Pillow raises.
Reader: TypeAlias = AvifReader | BmpReader | GifReader | JpegReader | PngReader | TiffReader | WebpReader

# The classes themselves, not Image.open: no other plugin is ever asked, and a JPEG with broken multi-picture data (MPO)
# is just a JPEG, its first picture.
_READERS: dict[str, Callable[[bytes], Reader]] = {
    "jpeg": JpegReader,
    "png": PngReader,
    "webp": WebpReader,
    "gif": GifReader,
    "avif": AvifReader,
    "tiff": TiffReader,
    "bmp": BmpReader,
}

FORMATS = tuple(_READERS)

_UNKNOWN_VARIANT = ("unsupported", "conversion from yuv failed")  # the latter: an AVIF of a matrix that is not known


class Opened(Struct, frozen=True, kw_only=True):
    """A picture whose header was read. `size` is as displayed."""

    content: bytes
    kind: str  # a word of `FORMATS`
    reader: Reader
    display: Presentation
    size: Size


class Decoded(Struct, frozen=True, kw_only=True):
    """Upright pixels in sRGB, in a working mode, without metadata; the whole picture lies in `box` of them."""

    image: Image.Image
    box: Box
    notes: tuple[str, ...] = ()


def prepare_pillow() -> None:
    """Settles Pillow's process-wide switches; to be called by each worker as it opens.

    Our own pixel limit is checked on every header and is stricter than Pillow's; AVIF gets one thread, so that the
    bytes do not depend on the machine; Pillow's warnings about metadata are of no use to the owner of a list, and
    neither is what libtiff prints.
    """
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.filterwarnings("ignore", module=r"PIL\.")
    mute_libtiff()


def open_picture(content: bytes, *, formats: tuple[str, ...], max_pixels: int) -> Opened:
    """Reads the header and checks it; decodes no pixel.

    Raises `StageError`: image.empty, not_image, image.unsupported, image.bomb, truncated, image.corrupt, image.memory.
    """
    kind = _accepted_kind(content, formats)
    with decode_errors(content, kind):
        _check_pixels(webp_size(content) if kind == "webp" else None, max_pixels)
        reader = _READERS[kind](content)
        if isinstance(reader, ImageFile.ImageFile):
            reader.decodermaxblock = max(reader.decodermaxblock, len(content))  # one call, one release of the GIL
        _check_pixels(reader.size, max_pixels)
        display = reader.display
        return Opened(content=content, kind=kind, reader=reader, display=display, size=display.size(reader.size))


def decode(opened: Opened, *, needed: Size | None, background: str | None, colours: Colours) -> Decoded:
    """The pixels. A JPEG is decoded at 1/2, 1/4 or 1/8 when that still has `needed` px (as displayed; None: all).

    `background` is what transparent pictures are laid on; None keeps their alpha. Raises as `open_picture`.
    """
    with decode_errors(opened.content, opened.kind):
        box = _draft(opened, needed)
        image, notes = _working(opened, colours)
        box = upright_box(box, image.size, opened.display.orientation)
        image = set_upright(image, opened.display.orientation)
        image = image if background is None else modes.flatten(image, background)
        image.info = {}
        return Decoded(image=image, box=box, notes=notes)


@contextmanager
def decode_errors(content: bytes, kind: str) -> Iterator[None]:
    """The seam to Pillow: whatever a decoder raises becomes a `StageError`, with the class's name and no other text."""
    try:
        yield
    except StageError:
        raise
    except MemoryError:
        raise StageError(Code.IMAGE_MEMORY, f"not enough memory to decode this {kind} image") from None
    except Exception as error:  # codecs raise anything: SyntaxError, struct.error, KeyError, ...
        raise _decode_failure(error, content, kind) from error


def _decode_failure(error: Exception, content: bytes, kind: str) -> StageError:
    name = type(error).__name__
    if "truncated" in str(error).lower() or isinstance(error, EOFError) or is_cut(content, kind):
        message = f"the {kind} image ends early: {len(content)} bytes ({name})"
        return StageError(Code.TRUNCATED, message)
    if isinstance(error, NotImplementedError) or any(words in str(error).lower() for words in _UNKNOWN_VARIANT):
        return StageError(Code.IMAGE_UNSUPPORTED, f"a variant of {kind} that the decoder does not know ({name})")
    return StageError(Code.IMAGE_CORRUPT, f"the {kind} image cannot be decoded ({name})")


def _accepted_kind(content: bytes, formats: tuple[str, ...]) -> str:
    if not content:
        raise StageError(Code.IMAGE_EMPTY, "no content: 0 bytes")
    kind = identify(content)
    if kind.nature is Nature.NO_IMAGE:
        raise StageError(Code.NOT_IMAGE, f"not an image: {kind.name}")
    if kind.nature is Nature.OTHER_IMAGE:
        hint = f"accepted: {', '.join(FORMATS)}"
        raise StageError(Code.IMAGE_UNSUPPORTED, f"{kind.name} is not supported", hint=hint)
    if kind.name not in formats:
        message = f"{kind.name} is not among the accepted formats"
        raise StageError(Code.IMAGE_UNSUPPORTED, message, hint="see [transform] formats")
    return kind.name


def _check_pixels(size: Size | None, max_pixels: int) -> None:
    if size is not None and size[0] * size[1] > max_pixels:
        message = f"{size[0]} x {size[1]} px are more than {max_pixels} pixels"
        raise StageError(Code.IMAGE_BOMB, message, hint="see [transform] max_pixels")


def _draft(opened: Opened, needed: Size | None) -> Box:
    """Asks libjpeg for a smaller picture where that is enough; where the picture will lie in what it decodes."""
    reader = opened.reader
    width, height = upright_size(opened.size, opened.display.orientation)  # as stored, without what is cut off
    if needed is None or not isinstance(reader, JpegReader):
        return (0, 0, width, height)
    return reader.scale_down(draft_scale((width, height), upright_size(needed, opened.display.orientation)))


def _working(opened: Opened, colours: Colours) -> tuple[Image.Image, tuple[str, ...]]:
    """Decoded, in sRGB and in a working mode, with notes about what the file says of its colours."""
    image = opened.reader.pixels()
    if opened.display.aperture is not None:
        image = image.crop(opened.display.aperture)
    picture = image if image.mode == "CMYK" else modes.to_working_mode(image)
    picture, notes = colours.to_srgb(picture, opened.display.colours)
    return (modes.to_working_mode(picture) if picture.mode == "CMYK" else picture), (*opened.display.notes, *notes)
