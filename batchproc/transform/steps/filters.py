"""The steps that look at neighbouring pixels: `sharpen`, `unsharp`, `blur`, `box_blur`, `median`."""

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, ImageFilter

from batchproc.transform.alpha import on_neighbours, on_premultiplied
from batchproc.transform.steps.keys import Number, Whole, key, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpen:
    """Sharpens with a 3 x 3 kernel; cheap, and even over the whole picture.

    Amount 1 is Pillow's `SHARPEN`. Alpha is left as it is. Pillow releases the GIL.
    """

    op: ClassVar[str] = "sharpen"
    example: ClassVar[dict[str, object]] = {"amount": 0.5}

    amount: float = key(Number(at_least=0, at_most=10), "strength; 0 changes nothing", default=1.0)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        edge = -2.0 * self.amount
        kernel = (edge, edge, edge, edge, 16 - 8 * edge, edge, edge, edge, edge)
        return on_neighbours(image, lambda colours: colours.filter(ImageFilter.Kernel((3, 3), kernel, scale=16)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsharp:
    """Sharpens by unsharp mask: what differs from a blurred copy is made stronger.

    Alpha is left as it is. Pillow releases the GIL.
    """

    op: ClassVar[str] = "unsharp"
    example: ClassVar[dict[str, object]] = {"radius": 1.0, "percent": 80, "threshold": 2}

    radius: float = key(Number(at_least=0, at_most=100, unit="px"), "of the blur, px", default=2.0)
    percent: int = key(Whole(at_least=0, at_most=1000), "strength", default=150)
    threshold: int = key(Whole(at_least=0, at_most=255), "least difference, in levels, that is sharpened", default=3)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = ImageFilter.UnsharpMask(self.radius, self.percent, self.threshold)
        return on_neighbours(image, lambda colours: colours.filter(mask))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """Blurs with a Gaussian, as three box blurs.

    Alpha is premultiplied. Pillow releases the GIL.
    """

    op: ClassVar[str] = "blur"
    example: ClassVar[dict[str, object]] = {"radius": 1.5}

    radius: float = key(Number(at_least=0, at_most=1000, unit="px"), "standard deviation, px", default=2.0)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_premultiplied(image, lambda pixels: pixels.filter(ImageFilter.GaussianBlur(self.radius)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxBlur:
    """Blurs with a square of equal weights.

    Alpha is premultiplied. Pillow releases the GIL.
    """

    op: ClassVar[str] = "box_blur"
    example: ClassVar[dict[str, object]] = {"radius": 2}

    radius: float = key(Number(at_least=0, at_most=1000, unit="px"), "half the side of the square, px", default=2.0)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_premultiplied(image, lambda pixels: pixels.filter(ImageFilter.BoxBlur(self.radius)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """Replaces each pixel by the median of its neighbourhood, channel by channel: removes specks, keeps edges.

    Alpha is left as it is. Pillow holds the GIL: threads do not run it in parallel.
    """

    op: ClassVar[str] = "median"
    example: ClassVar[dict[str, object]] = {"size": 3}

    size: int = key(Whole(at_least=3, at_most=99, odd=True, unit="px"), "side of the neighbourhood, px", default=3)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_neighbours(image, lambda colours: colours.filter(ImageFilter.MedianFilter(self.size)))
