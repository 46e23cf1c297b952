"""The steps `crop` and `rotate`."""

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, ImageColor
from PIL.Image import Resampling

from batchproc.errors import Code, StageError
from batchproc.transform.alpha import Ink, on_weighted
from batchproc.transform.modes import has_alpha
from batchproc.transform.steps.keys import Colour, Flag, Number, Whole, Wholes, Words, key, settle
from batchproc.transform.steps.resize import SIZE
from batchproc.transform.view import Size, View

# Where the rest goes, in halves: 0 = none of it on the left (or top), 1 = half, 2 = all.
_GRAVITIES = {
    "center": (1, 1),
    "north": (1, 0),
    "south": (1, 2),
    "west": (0, 1),
    "east": (2, 1),
    "northwest": (0, 0),
    "northeast": (2, 0),
    "southwest": (0, 2),
    "southeast": (2, 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Cuts out a part: of a size at one of nine places, or the pixels of a box.

    What reaches beyond the picture is left out, so the result can be smaller than asked. A box that misses the picture
    altogether is the failure `step.error`. Pillow releases the GIL.
    """

    op: ClassVar[str] = "crop"
    example: ClassVar[dict[str, object]] = {"size": [200, 200], "gravity": "center"}

    size: tuple[int, int] | None = key(SIZE, "width and height, px; this or box", default=None)
    gravity: str = key(Words(choices=tuple(_GRAVITIES)), "with size: which part is kept", default="center")
    box: tuple[int, int, int, int] | None = key(
        Wholes(
            count=4,
            each=Whole(at_least=0, at_most=1_000_000),
            words="four whole numbers: left, top, right, bottom in px, right beyond left and bottom beyond top",
        ),
        "left, top, right, bottom, px; this or size",
        default=None,
    )

    def __post_init__(self) -> None:
        settle(self)
        if (self.size is None) == (self.box is None):
            raise ValueError("size, box: exactly one of them is needed")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box = {list(self.box)}: right must be beyond left, and bottom beyond top")

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top, right, bottom = self._wanted(image.size)
        right, bottom = min(right, image.width), min(bottom, image.height)
        if left >= right or top >= bottom:
            message = f"crop box = {list(self.box or ())} misses the picture of {image.width} x {image.height} px"
            raise StageError(Code.STEP_ERROR, message)
        return image.crop((left, top, right, bottom))

    def _wanted(self, size: Size) -> tuple[int, int, int, int]:
        if self.box is not None:
            return self.box
        width, height = (min(a, b) for a, b in zip(self.size or size, size, strict=True))
        across, down = _GRAVITIES[self.gravity]
        left, top = (size[0] - width) * across // 2, (size[1] - height) * down // 2
        return left, top, left + width, top + height


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """Turns the picture counter-clockwise.

    With `expand` the canvas grows to hold all of it, else the corners are cut. Multiples of 90 degrees move pixels
    without resampling, others are bicubic, colours weighted by alpha. Pillow releases the GIL, but for the weights.
    """

    op: ClassVar[str] = "rotate"
    example: ClassVar[dict[str, object]] = {"degrees": 90, "expand": True}

    degrees: float = key(Number(at_least=-360, at_most=360, unit="degrees"), "angle, counter-clockwise")
    expand: bool = key(Flag(), "let the canvas grow", default=False)
    background: str = key(
        Colour(), "the fill of the corners; empty: transparent where the picture has alpha, else [output] background",
        default="",
    )

    def __post_init__(self) -> None:
        settle(self)

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.render(image, View.whole(image))

    def scaled_size(self, _size: Size) -> None:
        """All pixels: rotating does not scale."""

    def render(self, image: Image.Image, view: View) -> Image.Image:
        """Rotates; the view tells the job's background."""
        fill = self.background or ("" if has_alpha(image) else view.background)
        if not fill:
            return self._turned(image, ())
        red, green, blue = ImageColor.getrgb(fill)[:3]
        if not red == green == blue:
            image = image.convert({"L": "RGB", "LA": "RGBA"}.get(image.mode, image.mode))
        return self._turned(image, (red, green, blue) if image.mode.startswith("RGB") else (red,))

    def _turned(self, image: Image.Image, colour: Ink) -> Image.Image:
        """The corners in `colour`, transparent without one."""
        if has_alpha(image) and self.degrees % (90 if self.expand else 180):
            return on_weighted(image, self._rotated, fill=colour)
        return self._rotated(image, (*colour, 255) if colour and has_alpha(image) else colour or 0)

    def _rotated(self, image: Image.Image, fill: int | Ink) -> Image.Image:
        return image.rotate(self.degrees, Resampling.BICUBIC, expand=self.expand, fillcolor=fill)
