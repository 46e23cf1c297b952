"""Small pictures of some items before and after, for the report. What goes wrong here is never the item's failure.

One item in `every` is shown, by its place in the list, so that the pictures are spread over the whole run. It costs
about 5 ms per item shown, booked as the part "gallery".
"""

from io import BytesIO
from pathlib import Path

from PIL import Image

from batchproc.errors import StageError
from batchproc.model import Source
from batchproc.protocols import Lap
from batchproc.transform.modes import flatten, to_working_mode

SIDE_PX = 256
QUALITY = 72
MOST_PER_WORKER = 200  # a list that is worked off in an odd order cannot fill the disk


class Thumbnails:
    """Writes `<folder>/<key>-before.jpg` and `-after.jpg`. One per worker, used by that worker alone.

    `folder` is absolute and exists; empty, or `every` = 0: there is no gallery. `background` lies under transparency.
    """

    def __init__(self, *, folder: str, every: int, background: str) -> None:
        self._folder = Path(folder)
        self._every = every if folder else 0
        self._background = background
        self._made = 0

    def begin(self, source: Source, decoded: Image.Image, lap: Lap) -> bytes:
        """The picture before any step, small, as JPEG; empty when this item is not one of those to show."""
        if not self._every or source.index % self._every or self._made >= MOST_PER_WORKER:
            return b""
        self._made += 1
        before = self._small(decoded)
        lap("gallery")
        return before

    def end(self, source: Source, before: bytes, after: Image.Image, lap: Lap) -> None:
        """Writes both pictures when there are both."""
        if not before:
            return
        pictures = {"before": before, "after": self._small(after)}
        try:
            for word, content in pictures.items() if all(pictures.values()) else ():
                (self._folder / f"{source.key_hex}-{word}.jpg").write_bytes(content)
        except OSError:  # the rendition is what matters; a full disk shows there
            return
        finally:
            lap("gallery")

    def _small(self, image: Image.Image) -> bytes:
        """A JPEG of at most `SIDE_PX` on each side; empty when it cannot be made."""
        try:
            picture = flatten(to_working_mode(image), self._background)
            scale = min(1.0, SIDE_PX / max(picture.size))
            size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
            file = BytesIO()
            picture.save(file, "JPEG", quality=QUALITY)
        except (StageError, OSError, ValueError, MemoryError):
            return b""
        return file.getvalue()
