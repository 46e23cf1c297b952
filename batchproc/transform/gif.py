"""GIF: the first frame on its canvas, transparent where there is none of it.

Pillow fills the rest of the canvas with the first colour of the palette, and where a frame's data ends early it goes on
into what stands behind, be it the next frame. So it is given the frame's own data alone (GIF89a, sections 15, 22).
"""

from io import BytesIO

from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from batchproc.transform import modes


class GifReader(GifImageFile):
    """Pillow's reader, kept to the first frame."""

    def __init__(self, file: BytesIO) -> None:
        self._content = file.getvalue()
        super().__init__(file)
        self._extent = self.tile[0].extents

    def pixels(self) -> Image.Image:
        """The decoded canvas."""
        self.load()
        if self._extent is None or self._extent == (0, 0, *self.size) or "transparency" in self.info:
            return self
        frame = modes.to_working_mode(self.crop(self._extent)).convert("RGBA")
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
