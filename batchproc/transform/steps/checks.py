"""The checks `min_size` and `max_aspect`: they look at the size alone and may drop the picture on purpose.

At the head of the list they run on the header, so that a rejected picture is never decoded. They use no pixel time.
"""

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from batchproc.errors import Code, Reject
from batchproc.transform.steps.keys import Number, Whole, key, settle
from batchproc.transform.view import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class MinSize:
    """Rejects pictures smaller than so many pixels.

    The size is that of the picture as displayed, at this place in the list. The code is `check.min_size`.
    """

    op: ClassVar[str] = "min_size"
    example: ClassVar[dict[str, object]] = {"width": 64, "height": 64}

    width: int = key(Whole(at_least=1, at_most=1_000_000), "least width, px", default=1)
    height: int = key(Whole(at_least=1, at_most=1_000_000), "least height, px", default=1)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        self.check_size(image.size)
        return image

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when a side is too short."""
        if size[0] < self.width or size[1] < self.height:
            reason = f"{size[0]} x {size[1]} px is smaller than {self.width} x {self.height} px"
            raise Reject(reason, code=Code.CHECK_MIN_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxAspect:
    """Rejects pictures whose longer side is more than so many times the shorter one.

    The code is `check.max_aspect`.
    """

    op: ClassVar[str] = "max_aspect"
    example: ClassVar[dict[str, object]] = {"ratio": 3.0}

    ratio: float = key(Number(at_least=1, at_most=100_000), "the most, longer side divided by shorter side")

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        self.check_size(image.size)
        return image

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when the picture is too long or too tall."""
        if max(size) > self.ratio * min(size):
            reason = f"{size[0]} x {size[1]} px has an aspect of {max(size) / min(size):.4g}, more than {self.ratio:g}"
            raise Reject(reason, code=Code.CHECK_MAX_ASPECT)
