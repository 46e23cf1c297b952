"""The steps that change size or place: `resize`, `crop`, `trim`, `rotate`, `flip`."""

from typing import Annotated, ClassVar

from PIL import Image, ImageColor
from PIL.Image import Resampling, Transpose

from batchproc.errors import Code, StageError
from batchproc.record.run_parts import Cost
from batchproc.transform.modes import Box, Ink, Size, View, has_alpha, on_weighted
from batchproc.transform.resampler import resample
from batchproc.transform.steps.step import (
    Bool,
    BuiltIn,
    Colour,
    Float,
    Int,
    Ints,
    OneOf,
    StepCost,
    quoted,
)

SIDE_PX = Int(at_least=1, at_most=65_500)
SIZE = Ints(count=2, each=SIDE_PX, words="two whole numbers of 1 px or more, up to 65500")


class Resize(BuiltIn, frozen=True, kw_only=True):
    """Changes the size.

    `contain` fits the whole picture into the size, `cover` is the smallest that covers it (both keep the aspect), `fit`
    covers it and cuts what hangs over, evenly on both sides, `pad` contains it and fills the rest with the background,
    `exact` ignores the aspect, `scale` multiplies both sides by `factor`. `only_shrink` enlarges nothing: `fit` may
    then be smaller than asked, `pad` puts a small picture on a canvas of the size. No side ever falls below 1 px. The
    filter depends on [transform] quality; colours are weighted by alpha, and the weights hold the GIL.
    """

    op = "resize"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=15)
    example: ClassVar = {"size": [256, 256], "how": "contain", "only_shrink": True}

    size: Annotated[tuple[int, int] | None, SIZE, "width and height, px; required unless how = scale"] = None
    how: Annotated[
        str, OneOf(choices=("contain", "cover", "fit", "pad", "exact", "scale")), "how the size is meant"
    ] = "contain"
    factor: Annotated[float | None, Float(above=0, at_most=100), "with how = scale: the multiplier"] = None
    only_shrink: Annotated[bool | None, Bool(), "never enlarge; left out: true for contain, else false"] = None
    background: Annotated[
        str, Colour(),
        "with how = pad: the fill; empty: transparent where the picture has alpha, else [output] background",
    ] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted, other = ("factor", "size") if self.how == "scale" else ("size", "factor")
        if getattr(self, wanted) is None:
            raise ValueError(f'{wanted} is missing: how = "{self.how}" needs it')
        if getattr(self, other) is not None:
            raise ValueError(f'{other} = {quoted(getattr(self, other))}: has no meaning with how = "{self.how}"')

    @property
    def never_enlarges(self) -> bool:
        """`only_shrink` as given; a picture that is merely to fit into a size is better left small than blown up."""
        return self.how == "contain" if self.only_shrink is None else self.only_shrink

    def __call__(self, image: Image.Image) -> Image.Image:
        """Resizes an image that stands for itself, in `exact` quality."""
        return self.apply(image, View.whole(image))[0]

    def apply(self, image: Image.Image, view: View) -> tuple[Image.Image, View]:
        """Resizes the picture that `view` describes."""
        made = self._rendered(image, view)
        return made, view.then(made)

    def scaled_size(self, size: Size) -> Size:
        """The size that the whole picture is scaled to, before anything is cut off."""
        if self.how == "exact":
            wanted = self.size or size
            return (min(wanted[0], size[0]), min(wanted[1], size[1])) if self.never_enlarges else wanted
        times, over = self._ratio(size)
        if self.never_enlarges and times >= over:
            return size
        width, height = (max(1, round(side * times / over)) for side in size)
        return width, height

    def _rendered(self, image: Image.Image, view: View) -> Image.Image:
        scaled = self.scaled_size(view.size)
        if self.how == "fit":
            kept = self._kept(scaled)
            return resample(image, kept, box=_middle(view.box, scaled, kept), view=view)
        done = resample(image, scaled, box=view.box, view=view)
        return self._padded(done, view) if self.how == "pad" else done

    def _ratio(self, size: Size) -> tuple[float, float]:
        """The scale as two numbers: times / over. Undivided, so that half a pixel is exactly half a pixel."""
        if self.size is None:
            return self.factor or 1, 1
        by_width, by_height = (self.size[0], size[0]), (self.size[1], size[1])
        width_is_tighter = self.size[0] * size[1] <= self.size[1] * size[0]
        return by_width if width_is_tighter != (self.how in ("cover", "fit")) else by_height

    def _kept(self, scaled: Size) -> Size:
        """With `fit`, what is left of the scaled picture."""
        width, height = self.size or scaled
        return min(width, scaled[0]), min(height, scaled[1])

    def _padded(self, image: Image.Image, view: View) -> Image.Image:
        size = self.size or image.size
        if image.size == size:
            return image
        if not self.background and has_alpha(image):
            canvas = Image.new(image.mode, size)
        else:
            image, colour = _matched(image, self.background or view.background)
            canvas = Image.new(image.mode, size, (*colour, 255) if has_alpha(image) else colour)
        canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
        return canvas


def _matched(image: Image.Image, background: str) -> tuple[Image.Image, Ink]:
    """The image, and a colour in its bands: grey becomes RGB when the colour is not grey."""
    red, green, blue = ImageColor.getrgb(background)[:3]
    if not red == green == blue:
        image = image.convert({"L": "RGB", "LA": "RGBA"}.get(image.mode, image.mode))
    return image, (red, green, blue) if image.mode.startswith("RGB") else (red,)


def _middle(box: Box, scaled: Size, kept: Size) -> Box:
    """The middle part of `box` that becomes `kept` when the whole of it would become `scaled`."""
    left, top, right, bottom = box
    cut_x = (right - left) * (1 - kept[0] / scaled[0]) / 2
    cut_y = (bottom - top) * (1 - kept[1] / scaled[1]) / 2
    return left + cut_x, top + cut_y, right - cut_x, bottom - cut_y


_GRAVITIES = ("center", "north", "south", "west", "east", "northwest", "northeast", "southwest", "southeast")


class Crop(BuiltIn, frozen=True, kw_only=True):
    """Cuts out a part: of a size at one of nine places, or the pixels of a box.

    What reaches beyond the picture is left out, so the result can be smaller than asked. A box that misses the picture
    altogether is the failure `step.error`.
    """

    op = "crop"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=30)
    example: ClassVar = {"size": [200, 200], "gravity": "center"}

    size: Annotated[tuple[int, int] | None, SIZE, "width and height, px; this or box"] = None
    gravity: Annotated[str, OneOf(choices=_GRAVITIES), "with size: which part is kept"] = "center"
    box: Annotated[
        tuple[int, int, int, int] | None,
        Ints(
            count=4,
            each=Int(at_least=0, at_most=1_000_000),
            words="four whole numbers: left, top, right, bottom in px, right beyond left and bottom beyond top",
        ),
        "left, top, right, bottom, px; this or size",
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
        across = 1 + ("east" in self.gravity) - ("west" in self.gravity)  # the rest left of it, in halves
        down = 1 + ("south" in self.gravity) - ("north" in self.gravity)
        left, top = (size[0] - width) * across // 2, (size[1] - height) * down // 2
        return left, top, left + width, top + height


class Trim(BuiltIn, frozen=True, kw_only=True):
    """Cuts off a border of one colour, on each side as far as it goes.

    The colour is that of the top left pixel, then that of the bottom right one, so that bars on two sides may differ.
    `tolerance` is the difference, in levels of any channel, up to which a pixel counts as border; what is invisible is
    one colour, whatever lies under it. In a lossy file some px of border may stay, where its blocks hold both. A
    picture that is all border is left as it is: `not_blank` rejects those.
    """

    op = "trim"
    work = StepCost(holds_gil=False, cost=Cost.MEDIUM, overhead_us=250)
    example: ClassVar = {"tolerance": 10}

    tolerance: Annotated[int, Int(at_least=0, at_most=254), "most difference from the border's colour, levels"] = 10

    def __call__(self, image: Image.Image) -> Image.Image:
        for corner in ((0, 0), (image.width - 1, image.height - 1)):
            shown = image.convert(image.mode[:-1] + "a") if has_alpha(image) else image
            box = self._content(shown, (min(corner[0], image.width - 1), min(corner[1], image.height - 1)))
            image = image.crop(box) if box else image
        return image

    def _content(self, shown: Image.Image, corner: Size) -> tuple[int, int, int, int] | None:
        """The smallest box around what is no border; None where all of it is. Alpha is in the colours already."""
        table: list[int] = []
        for border in shown.crop((*corner, corner[0] + 1, corner[1] + 1)).tobytes():
            first, end = max(0, border - self.tolerance), min(256, border + self.tolerance + 1)
            table += [255] * first + [0] * (end - first) + [255] * (256 - end)
        return shown.point(table).getbbox(alpha_only=False)


class Rotate(BuiltIn, frozen=True, kw_only=True):
    """Turns the picture counter-clockwise.

    With `expand` the canvas grows to hold all of it, else the corners are cut. Multiples of 90 degrees move pixels
    without resampling, others are bicubic, colours weighted by alpha. The weights hold the GIL.
    """

    op = "rotate"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=35)
    example: ClassVar = {"degrees": 90, "expand": True}

    degrees: Annotated[float, Float(at_least=-360, at_most=360, unit="degrees"), "angle, counter-clockwise"]
    expand: Annotated[bool, Bool(), "let the canvas grow"] = False
    background: Annotated[
        str, Colour(),
        "the fill of the corners; empty: transparent where the picture has alpha, else [output] background",
    ] = ""

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.apply(image, View.whole(image))[0]

    def apply(self, image: Image.Image, view: View) -> tuple[Image.Image, View]:
        """Rotates; the view tells the job's background."""
        fill = self.background or ("" if has_alpha(image) else view.background)
        made = self._turned(*_matched(image, fill)) if fill else self._turned(image, ())
        return made, view.then(made)

    def _turned(self, image: Image.Image, colour: Ink) -> Image.Image:
        """The corners in `colour`, transparent without one."""
        if has_alpha(image) and self.degrees % (90 if self.expand else 180):
            return on_weighted(image, self._rotated, fill=colour)
        return self._rotated(image, (*colour, 255) if colour and has_alpha(image) else colour or 0)

    def _rotated(self, image: Image.Image, fill: int | Ink) -> Image.Image:
        return image.rotate(self.degrees, Resampling.BICUBIC, expand=self.expand, fillcolor=fill)


class Flip(BuiltIn, frozen=True, kw_only=True):
    """Mirrors the picture.

    `horizontal` swaps left and right, `vertical` top and bottom. No pixel changes its value.
    """

    op = "flip"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=20)
    example: ClassVar = {"direction": "horizontal"}

    direction: Annotated[str, OneOf(choices=("horizontal", "vertical")), "which sides are swapped"] = "horizontal"

    def __call__(self, image: Image.Image) -> Image.Image:
        across = self.direction == "horizontal"
        return image.transpose(Transpose.FLIP_LEFT_RIGHT if across else Transpose.FLIP_TOP_BOTTOM)
