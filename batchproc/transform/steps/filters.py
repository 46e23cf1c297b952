"""The steps that change pixels where they are.

Pixel by pixel: `grayscale`, `autocontrast`, `brightness`, `contrast`, `gamma`, `colour`. The factors mean what they
mean in Pillow's ImageEnhance (1 changes nothing), but the work is done by a table or a matrix instead of a blend: that
takes one pass instead of two, and releases the GIL where ImageEnhance holds it. By the pixels around them: `sharpen`,
`unsharp`, `blur`, `box_blur`, `median`.
"""

from functools import lru_cache
from typing import Annotated, ClassVar

from PIL import Image, ImageFilter, ImageOps, ImageStat

from batchproc.record.run_parts import Cost
from batchproc.transform.modes import has_alpha, on_colours, on_neighbours, on_premultiplied, visible
from batchproc.transform.steps.step import BuiltIn, Float, Int, StepCost

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to L
_FACTOR = Float(at_least=0, at_most=100)


class Grayscale(BuiltIn, frozen=True, kw_only=True):
    """Turns colours to grey (ITU-R BT.601 luma).

    The result has one channel, and alpha where it had alpha.
    """

    op = "grayscale"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=20)
    example: ClassVar = {}
    takes_scaled: ClassVar = True

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.convert("LA" if has_alpha(image) else "L")


class Autocontrast(BuiltIn, frozen=True, kw_only=True):
    """Stretches each channel to the full range.

    `cutoff` percent of the lightest and of the darkest pixels are ignored, and all invisible ones. Alpha is left as it
    is.
    """

    op = "autocontrast"
    work = StepCost(holds_gil=False, cost=Cost.MEDIUM, overhead_us=180)
    example: ClassVar = {"cutoff": 0.5}

    cutoff: Annotated[float, Float(at_least=0, at_most=49, unit="percent"), "percent ignored at each end"] = 0.0

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = visible(image) if has_alpha(image) else None
        return on_colours(image, lambda colours: ImageOps.autocontrast(colours, cutoff=self.cutoff, mask=mask))


class Brightness(BuiltIn, frozen=True, kw_only=True):
    """Multiplies all levels: 0 is black, 1 changes nothing, 2 is twice as bright.

    Alpha is left as it is.
    """

    op = "brightness"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=140)
    example: ClassVar = {"factor": 1.2}

    factor: Annotated[float, _FACTOR, "the multiplier"]

    def __call__(self, image: Image.Image) -> Image.Image:
        return _by_table(image, _moved_levels(0, self.factor))


class Contrast(BuiltIn, frozen=True, kw_only=True):
    """Moves all levels away from the visible pixels' mean: 0 is even grey, 1 changes nothing, 2 is twice the contrast.

    Alpha is left as it is.
    """

    op = "contrast"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=300)
    example: ClassVar = {"factor": 1.2}

    factor: Annotated[float, _FACTOR, "the multiplier"]

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = visible(image) if has_alpha(image) else None
        seen = ImageStat.Stat(image.convert("L"), mask)
        mean = int(seen.mean[0] + 0.5) if seen.count[0] else 0
        return _by_table(image, _moved_levels(mean, self.factor))


class Gamma(BuiltIn, frozen=True, kw_only=True):
    """Brightens (above 1) or darkens (below 1) the middle levels; black and white stay.

    A level, as a share of white, becomes its power of 1 / `gamma`. Alpha is left as it is.
    """

    op = "gamma"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=100)
    example: ClassVar = {"gamma": 1.4}

    gamma: Annotated[float, Float(at_least=0.01, at_most=100), "the exponent's denominator; 1 changes nothing"]

    def __call__(self, image: Image.Image) -> Image.Image:
        return _by_table(image, _gamma_levels(self.gamma))


class ColourStep(BuiltIn, frozen=True, kw_only=True):
    """Makes colours stronger or weaker: 0 is grey, 1 changes nothing, 2 is twice as colourful.

    Grey pictures and alpha are left as they are.
    """

    op = "colour"
    work = StepCost(holds_gil=False, cost=Cost.MEDIUM, overhead_us=15)
    example: ClassVar = {"factor": 0.8}

    factor: Annotated[float, _FACTOR, "the multiplier"]

    def __call__(self, image: Image.Image) -> Image.Image:
        return image if image.mode in ("L", "LA") else on_colours(image, self._mixed)

    def _mixed(self, colours: Image.Image) -> Image.Image:
        grey = tuple((1 - self.factor) * weight for weight in _LUMA)
        rows = (
            (grey[0] + self.factor, grey[1], grey[2], 0),
            (grey[0], grey[1] + self.factor, grey[2], 0),
            (grey[0], grey[1], grey[2] + self.factor, 0),
        )
        return colours.convert("RGB", tuple(weight for row in rows for weight in row))


@lru_cache(maxsize=256)
def _moved_levels(pivot: int, factor: float) -> tuple[int, ...]:
    """Every level moved away from `pivot` by `factor`."""
    return tuple(min(255, max(0, int(pivot + factor * (level - pivot)))) for level in range(256))


@lru_cache(maxsize=16)
def _gamma_levels(gamma: float) -> tuple[int, ...]:
    return tuple(round(255 * (level / 255) ** (1 / gamma)) for level in range(256))


def _by_table(image: Image.Image, levels: tuple[int, ...]) -> Image.Image:
    """Every level of every colour replaced by what stands for it; alpha is left as it is."""
    return on_colours(image, lambda colours: colours.point(levels * len(colours.getbands())))


class Sharpen(BuiltIn, frozen=True, kw_only=True):
    """Sharpens with a 3 x 3 kernel; cheap, and even over the whole picture.

    Amount 1 is Pillow's `SHARPEN`. Alpha is left as it is.
    """

    op = "sharpen"
    work = StepCost(holds_gil=False, cost=Cost.HIGH, overhead_us=40)
    example: ClassVar = {"amount": 0.5}

    amount: Annotated[float, Float(at_least=0, at_most=10), "strength; 0 changes nothing"] = 1.0

    def __call__(self, image: Image.Image) -> Image.Image:
        edge = -2.0 * self.amount
        kernel = (edge, edge, edge, edge, 16 - 8 * edge, edge, edge, edge, edge)
        return on_neighbours(image, lambda colours: colours.filter(ImageFilter.Kernel((3, 3), kernel, scale=16)))


class Unsharp(BuiltIn, frozen=True, kw_only=True):
    """Sharpens by unsharp mask: what differs from a blurred copy is made stronger.

    Alpha is left as it is.
    """

    op = "unsharp"
    work = StepCost(holds_gil=False, cost=Cost.HIGH, overhead_us=40)
    example: ClassVar = {"radius": 1.0, "percent": 80, "threshold": 2}

    radius: Annotated[float, Float(at_least=0, at_most=100, unit="px"), "of the blur, px"] = 2.0
    percent: Annotated[int, Int(at_least=0, at_most=1000), "strength"] = 150
    threshold: Annotated[int, Int(at_least=0, at_most=255), "least difference, in levels, that is sharpened"] = 3

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = ImageFilter.UnsharpMask(self.radius, self.percent, self.threshold)
        return on_neighbours(image, lambda colours: colours.filter(mask))


class Blur(BuiltIn, frozen=True, kw_only=True):
    """Blurs with a Gaussian, as three box blurs.

    Alpha is premultiplied.
    """

    op = "blur"
    work = StepCost(holds_gil=False, cost=Cost.HIGH, overhead_us=45)
    example: ClassVar = {"radius": 1.5}

    radius: Annotated[float, Float(at_least=0, at_most=1000, unit="px"), "standard deviation, px"] = 2.0

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_premultiplied(image, lambda pixels: pixels.filter(ImageFilter.GaussianBlur(self.radius)))


class BoxBlur(BuiltIn, frozen=True, kw_only=True):
    """Blurs with a square of equal weights.

    Alpha is premultiplied.
    """

    op = "box_blur"
    work = StepCost(holds_gil=False, cost=Cost.HIGH, overhead_us=45)
    example: ClassVar = {"radius": 2}

    radius: Annotated[float, Float(at_least=0, at_most=1000, unit="px"), "half the side of the square, px"] = 2.0

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_premultiplied(image, lambda pixels: pixels.filter(ImageFilter.BoxBlur(self.radius)))


class Median(BuiltIn, frozen=True, kw_only=True):
    """Replaces each pixel by the median of its neighbourhood, channel by channel: removes specks, keeps edges.

    Alpha is left as it is.
    """

    op = "median"
    work = StepCost(holds_gil=True, cost=Cost.HIGH, overhead_us=50)
    example: ClassVar = {"size": 3}

    size: Annotated[int, Int(at_least=3, at_most=99, odd=True, unit="px"), "side of the neighbourhood, px"] = 3

    def __call__(self, image: Image.Image) -> Image.Image:
        return on_neighbours(image, lambda colours: colours.filter(ImageFilter.MedianFilter(self.size)))
