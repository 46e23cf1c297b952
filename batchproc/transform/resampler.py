"""How images change size: `cykooz-resizer`, SIMD kernels in Rust, or Pillow in its place; and how carefully.

Both use the same kernels. The engine filters down the columns first and then along the rows, Pillow the other way
round, and both round and clip to 8 bits in between: beside hard edges they differ by several levels, and the engine is
the closer one to the kernel in floats. With its rows first they agree to two levels, on floats to 1/100 of one. It lets
go of the GIL (`python -m tests.campaign.beside` measures it) and starts no threads; SSE4.1, AVX2 and plain code give
the same bytes.

Pillow stands in where the package cannot be imported, and for single images where the engine cannot do it.

Measured by `python -m tests.campaign.qualities` on 43 web-sized photographs (1000 to 1600 px, 135 KB each) made to fit
256 px: CPU of decode and resize per image; SSIM against a full decode with Pillow's LANCZOS: mean, tenth percentile,
least. docs/formats.md has more ways.

    fast      3.7 ms  0.9913  0.9820  0.9732    scaled to 1 time the target or more, bicubic
    balanced  4.0 ms  0.9948  0.9862  0.9694    scaled to 1.1 times or more, LANCZOS
    exact     7.1 ms  1.0000  1.0000  0.9999    full decode, LANCZOS, rows first as Pillow does
    Pillow   16.9 ms  1       1       1         the reference itself
"""

import math
from collections.abc import Callable

from msgspec import Struct
from PIL import Image
from PIL.Image import Resampling

from batchproc.transform.modes import Box, Quality, Size, View, has_alpha, on_weighted

_problem = ""
try:  # not its classes in Python, which would cost 40 µs per image with the GIL held
    from cykooz_resizer import Algorithm, FilterType
    from cykooz_resizer.rust_lib import PilImageWrapper, RustResizeOptions, RustResizer
except ImportError as error:  # no wheel for this machine, or one that does not fit its libraries
    _problem = f"cykooz-resizer cannot be imported ({type(error).__name__})"
else:
    _FILTERS = {Resampling.BICUBIC: FilterType.catmull_rom, Resampling.LANCZOS: FilterType.lanczos3}
    _OPTIONS = {  # never changed: their setters make new ones
        kernel: RustResizeOptions().set_resize_alg(Algorithm.convolution.value, one.value, 1).set_use_alpha(False)
        for kernel, one in _FILTERS.items()
    }

MODES = frozenset({"L", "RGB", "CMYK", "I", "F"})  # it takes RGBA too, but would weight the colours in 8 bits
_PANIC = "PanicException"  # what a Rust panic is in Python: no Exception, and in no module to import it from
_PROBED_BYTES = 8_000_000
DRAFT_SCALES = (8, 4, 2)  # what libjpeg decodes to as 1/8, 1/4, 1/2


class Recipe(Struct, frozen=True, kw_only=True):
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


def engine() -> str:
    """Name and version of what resizes in this process."""
    from importlib import metadata  # half as slow to import as Pillow, and no worker needs it

    name = "pillow" if _problem else "cykooz-resizer"
    return f"{name} {metadata.version(name)}"


def problem() -> str:
    """Why Pillow resizes in the engine's place; empty where it does not."""
    return _problem


def resize(
    image: Image.Image,
    size: Size,
    kernel: Resampling,
    *,
    box: Box,
    rows_first: bool = False,
    reducing_gap: float | None = None,
    note: Callable[[str], None],
) -> Image.Image:
    """The part `box` of an image of any mode at `size` px, each channel by itself.

    `rows_first`: in Pillow's order, for a little more. `reducing_gap` is for Pillow. `note` gets the reason when Pillow
    did it for this image alone.
    """
    if not _problem:
        reason = f"the resampler does not take mode {image.mode}"
        if image.mode in MODES:
            try:
                return _resize(image, size, kernel, box, rows_first=rows_first)
            except (ValueError, TypeError, RuntimeError) as error:
                reason = f"the resampler failed ({type(error).__name__})"
            except BaseException as error:
                if type(error).__name__ != _PANIC:
                    raise
                reason = f"the resampler failed ({_PANIC})"
        note(f"resized by Pillow: {reason}")
    return image.resize(size, kernel, box=box, reducing_gap=reducing_gap)


def _resize(image: Image.Image, size: Size, kernel: Resampling, box: Box, *, rows_first: bool) -> Image.Image:
    left, top, right, bottom = box
    if not rows_first:
        return _filter(image, size, kernel, box)
    narrow = _filter(image, (size[0], image.height), kernel, (left, 0, right, image.height))
    return _filter(narrow, size, kernel, (0, top, size[0], bottom))


def _filter(image: Image.Image, size: Size, kernel: Resampling, box: Box) -> Image.Image:
    """By the engine. A resizer of its own for each call: it must not be shared, and keeps its buffers."""
    between_bytes = image.width * size[1] * 4
    if between_bytes > _PROBED_BYTES:
        bytes(between_bytes)  # where Rust gets no memory it ends the process; this is a MemoryError, and touches none
    left, top, right, bottom = box
    options = _OPTIONS[kernel].set_crop_box(left, top, right - left, bottom - top)
    image.load()
    done = Image.new(image.mode, size)
    RustResizer().resize_pil(PilImageWrapper(image), PilImageWrapper(done), options)
    return done


def draft_scale(size: Size, needed: Size) -> int:
    """The largest of 8, 4, 2, 1 by which `size` may be divided and still hold `needed` pixels in both directions."""
    for scale in DRAFT_SCALES:
        if scale <= min(size) and math.ceil(size[0] / scale) >= needed[0] and math.ceil(size[1] / scale) >= needed[1]:
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
