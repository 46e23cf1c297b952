"""How pictures change size: how far a JPEG is decoded at reduced scale, and which filter does the rest.

Measured by `python -m tests.campaign.qualities` on 43 web-sized photographs (1000 to 1600 px, 135 KB each) made to fit
256 px: CPU of decode and resize per image; SSIM against a full decode with Pillow's LANCZOS: mean, tenth percentile,
least. README has more ways.

    fast      3.7 ms  0.9913  0.9820  0.9732    scaled to 1 time the target or more, bicubic
    balanced  4.0 ms  0.9948  0.9862  0.9694    scaled to 1.1 times or more, LANCZOS
    exact     7.1 ms  1.0000  1.0000  0.9999    full decode, LANCZOS, rows first as Pillow does
    Pillow   16.9 ms  1       1       1         the reference itself
"""

import math
from dataclasses import dataclass

from PIL import Image
from PIL.Image import Resampling

from batchproc.transform.alpha import on_weighted
from batchproc.transform.modes import has_alpha
from batchproc.transform.resampler import resize
from batchproc.transform.view import Box, Quality, Size, View

DRAFT_SCALES = (8, 4, 2)  # what libjpeg decodes to as 1/8, 1/4, 1/2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One quality.

    `margin` is how many times the target a JPEG decoded at reduced scale must still measure, None: decode all of it.
    `rows_first` keeps to Pillow's order. `reducing_gap` is for Pillow where it stands in: large pictures are first
    reduced by whole numbers.
    """

    margin: float | None
    kernel: Resampling
    rows_first: bool
    reducing_gap: float | None


RECIPES: dict[Quality, Recipe] = {
    "fast": Recipe(margin=1.0, kernel=Resampling.BICUBIC, rows_first=False, reducing_gap=1.5),
    "balanced": Recipe(margin=1.1, kernel=Resampling.LANCZOS, rows_first=False, reducing_gap=2.0),
    "exact": Recipe(margin=None, kernel=Resampling.LANCZOS, rows_first=True, reducing_gap=None),
}


def draft_scale(size: Size, needed: Size) -> int:
    """The largest of 8, 4, 2, 1 by which `size` may be divided and still hold `needed` pixels in both directions."""
    for scale in DRAFT_SCALES:
        if math.ceil(size[0] / scale) >= needed[0] and math.ceil(size[1] / scale) >= needed[1]:
            return scale
    return 1


def pixels_for(target: Size, quality: Quality) -> Size | None:
    """How many pixels of the picture to decode for this target; None: all of them."""
    margin = RECIPES[quality].margin
    return None if margin is None else (math.ceil(target[0] * margin), math.ceil(target[1] * margin))


def resample(image: Image.Image, size: Size, *, box: Box, view: View) -> Image.Image:
    """The part `box` of `image` at `size` px, colours weighted by alpha. Releases the GIL, but for those products.

    A scaled decode that has the size asked for already is taken as it is, a fraction of a pixel at its edges included.
    """
    if image.size == size and _is_whole(image, box):
        return image
    recipe = RECIPES[view.quality]

    def scaled(bands: Image.Image, _fill: object = None) -> Image.Image:
        return resize(
            bands, size, recipe.kernel, box=box, rows_first=recipe.rows_first, reducing_gap=recipe.reducing_gap,
            note=view.note,
        )  # fmt: skip

    return on_weighted(image, scaled) if has_alpha(image) else scaled(image)


def _is_whole(image: Image.Image, box: Box) -> bool:
    """Whether `box` is the image but for the fraction of a pixel that a scaled decode leaves at its edges."""
    left, top, right, bottom = box
    return left < 1 and top < 1 and image.width - right < 1 and image.height - bottom < 1
