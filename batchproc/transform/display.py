"""What a file says about how its pixels are meant to be seen. It never fails an image; what is unusable is noted."""

from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from batchproc.transform.colour import Declared
from batchproc.transform.orientation import UPRIGHT, read_orientation, upright_size
from batchproc.transform.view import Size

Aperture: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, px


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
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


def display_of(image: Image.Image) -> Display:
    """From what Pillow has found in the file: the EXIF orientation and the ICC profile."""
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    return Display(
        orientation=read_orientation(exif) if isinstance(exif, bytes) else UPRIGHT,
        colours=(profile,) if isinstance(profile, bytes) and profile else (),
    )
