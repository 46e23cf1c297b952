"""GIF and WebP: of an animation the first frame on its canvas, transparent where there is none of it."""

import struct
from io import BytesIO

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from batchproc.transform.display import display_of
from batchproc.transform.modes import to_working_mode
from batchproc.transform.view import Size

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
