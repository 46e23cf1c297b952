"""What the pixels at hand stand for: the picture's own size, where it lies in them, and how carefully to resample."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from PIL import Image

Quality: TypeAlias = Literal["fast", "balanced", "exact"]
Size: TypeAlias = tuple[int, int]  # width, height, px
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom, px; fractions allowed


def forget(text: str) -> None:
    """Takes a note that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
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
