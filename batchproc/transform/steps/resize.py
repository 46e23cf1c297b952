"""The step `resize`."""

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, ImageColor

from batchproc.transform.scale import resample
from batchproc.transform.steps.keys import Colour, Flag, Number, Whole, Wholes, Words, key, quoted, settle
from batchproc.transform.view import Box, Size, View

SIDE_PX = Whole(at_least=1, at_most=65_500)
SIZE = Wholes(count=2, each=SIDE_PX, words="two whole numbers of 1 px or more, up to 65500")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Changes the size.

    `contain` fits the whole picture into the size, `cover` is the smallest that covers it (both keep the aspect), `fit`
    covers it and cuts what hangs over, evenly on both sides, `pad` contains it and fills the rest with the background,
    `exact` ignores the aspect, `scale` multiplies both sides by `factor`. `only_shrink` enlarges nothing: `fit` may
    then be smaller than asked, `pad` puts a small picture on a canvas of the size. No side ever falls below 1 px. The
    filter depends on [transform] quality; colours are weighted by alpha. The resampler releases the GIL, but for those
    weights.
    """

    op: ClassVar[str] = "resize"
    example: ClassVar[dict[str, object]] = {"size": [256, 256], "how": "contain", "only_shrink": True}

    size: tuple[int, int] | None = key(SIZE, "width and height, px; required unless how = scale", default=None)
    how: str = key(
        Words(choices=("contain", "cover", "fit", "pad", "exact", "scale")), "how the size is meant", default="contain"
    )
    factor: float | None = key(Number(above=0, at_most=100), "with how = scale: the multiplier", default=None)
    only_shrink: bool | None = key(Flag(), "never enlarge; left out: true for contain, else false", default=None)
    background: str = key(
        Colour(), "with how = pad: the fill; empty: transparent where the picture has alpha, else [output] background",
        default="",
    )

    def __post_init__(self) -> None:
        settle(self)
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
        return self.render(image, View.whole(image))

    def scaled_size(self, size: Size) -> Size:
        """The size that the whole picture is scaled to, before anything is cut off."""
        return self._scaled(size)

    def render(self, image: Image.Image, view: View) -> Image.Image:
        """Resizes the picture that `view` describes."""
        scaled = self._scaled(view.size)
        if self.how == "fit":
            kept = self._kept(scaled)
            return resample(image, kept, box=_middle(view.box, scaled, kept), view=view)
        done = resample(image, scaled, box=view.box, view=view)
        return self._padded(done, view) if self.how == "pad" else done

    def _scaled(self, size: Size) -> Size:
        """The size of the whole picture after scaling."""
        if self.how == "exact":
            wanted = self.size or size
            return (min(wanted[0], size[0]), min(wanted[1], size[1])) if self.never_enlarges else wanted
        times, over = self._ratio(size)
        if self.never_enlarges and times >= over:
            return size
        width, height = (max(1, round(side * times / over)) for side in size)
        return width, height

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
        if not self.background and image.mode in ("LA", "RGBA"):
            canvas = Image.new(image.mode, size)
        else:
            image, canvas = _coloured(image, size, self.background or view.background)
        canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
        return canvas


def _coloured(image: Image.Image, size: Size, background: str) -> tuple[Image.Image, Image.Image]:
    """A canvas of a colour, and the image in the canvas's mode: grey becomes RGB when the colour is not grey."""
    red, green, blue = ImageColor.getrgb(background)[:3]
    if not red == green == blue:
        image = image.convert({"L": "RGB", "LA": "RGBA"}.get(image.mode, image.mode))
    colour = (red, green, blue) if image.mode.startswith("RGB") else (red,)
    return image, Image.new(image.mode, size, (*colour, 255) if image.mode in ("LA", "RGBA") else colour)


def _middle(box: Box, scaled: Size, kept: Size) -> Box:
    """The middle part of `box` that becomes `kept` when the whole of it would become `scaled`."""
    left, top, right, bottom = box
    cut_x = (right - left) * (1 - kept[0] / scaled[0]) / 2
    cut_y = (bottom - top) * (1 - kept[1] / scaled[1]) / 2
    return left + cut_x, top + cut_y, right - cut_x, bottom - cut_y
