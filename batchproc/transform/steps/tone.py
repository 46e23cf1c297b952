"""The steps that change brightness and colour: `grayscale`, `autocontrast`, `brightness`, `contrast`, `colour`.

The factors mean what they mean in Pillow's ImageEnhance (1 changes nothing), but the work is done by a table or a
matrix instead of a blend: that takes one pass instead of two, and releases the GIL where ImageEnhance holds it.
"""

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, ImageOps, ImageStat

from batchproc.transform.alpha import visible
from batchproc.transform.modes import has_alpha
from batchproc.transform.steps.keys import Number, key, settle
from batchproc.transform.steps.step import on_colours

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to L
_FACTOR = Number(at_least=0, at_most=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grayscale:
    """Turns colours to grey (ITU-R BT.601 luma).

    The result has one channel, and alpha where it had alpha. Pillow releases the GIL.
    """

    op: ClassVar[str] = "grayscale"
    example: ClassVar[dict[str, object]] = {}
    pixelwise: ClassVar[bool] = True

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.convert("LA" if image.mode in ("LA", "RGBA") else "L")


@dataclass(frozen=True, slots=True, kw_only=True)
class Autocontrast:
    """Stretches each channel to the full range.

    `cutoff` percent of the lightest and of the darkest pixels are ignored, and all invisible ones. Alpha is left as it
    is. Pillow releases the GIL.
    """

    op: ClassVar[str] = "autocontrast"
    example: ClassVar[dict[str, object]] = {"cutoff": 0.5}

    cutoff: float = key(Number(at_least=0, at_most=49, unit="percent"), "percent ignored at each end", default=0.0)

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = visible(image) if has_alpha(image) else None
        return on_colours(image, lambda colours: ImageOps.autocontrast(colours, cutoff=self.cutoff, mask=mask))


@dataclass(frozen=True, slots=True, kw_only=True)
class Brightness:
    """Multiplies all levels: 0 is black, 1 changes nothing, 2 is twice as bright.

    Alpha is left as it is. Pillow releases the GIL.
    """

    op: ClassVar[str] = "brightness"
    example: ClassVar[dict[str, object]] = {"factor": 1.2}

    factor: float = key(_FACTOR, "the multiplier")

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        return _mapped(image, pivot=0, factor=self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Moves all levels away from the visible pixels' mean: 0 is even grey, 1 changes nothing, 2 is twice the contrast.

    Alpha is left as it is. Pillow releases the GIL.
    """

    op: ClassVar[str] = "contrast"
    example: ClassVar[dict[str, object]] = {"factor": 1.2}

    factor: float = key(_FACTOR, "the multiplier")

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        mask = visible(image) if has_alpha(image) else None
        seen = ImageStat.Stat(image.convert("L"), mask)
        mean = int(seen.mean[0] + 0.5) if seen.count[0] else 0
        return _mapped(image, pivot=mean, factor=self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourStep:
    """Makes colours stronger or weaker: 0 is grey, 1 changes nothing, 2 is twice as colourful.

    Grey pictures and alpha are left as they are. Pillow releases the GIL.
    """

    op: ClassVar[str] = "colour"
    example: ClassVar[dict[str, object]] = {"factor": 0.8}

    factor: float = key(_FACTOR, "the multiplier")

    def __post_init__(self) -> None:
        settle(self)

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


def _mapped(image: Image.Image, *, pivot: int, factor: float) -> Image.Image:
    """Every level moved away from `pivot` by `factor`, by a table."""
    table = [min(255, max(0, int(pivot + factor * (level - pivot)))) for level in range(256)]
    return on_colours(image, lambda colours: colours.point(table * len(colours.getbands())))
