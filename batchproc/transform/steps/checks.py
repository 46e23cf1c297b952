"""The checks: steps that change nothing and reject what is not wanted, each with the code `check.<step>`.

`min_size`, `max_size`, `max_aspect` and `format` need the header alone: at the head of the list, `format` anywhere,
they run before anything is decoded. `not_blank` and `sharpness` look at the pixels, at their place in the list.

Of `unique` a worker only makes each image's difference hash (N. Krawetz, "Kind of Like That", 2013): whether each of 8
x 8 parts of the image, in grey, is lighter than the one to its right. Which images are alike is decided over the whole
job, in the order of the list, when a run ends: so it is the same in every mode, and whatever came between.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar

from PIL import Image, ImageFilter, ImageStat

from batchproc import defaults
from batchproc.errors import Code, Reject
from batchproc.record.run_parts import Cost
from batchproc.transform.modes import Size, has_alpha, on_neighbours, visible
from batchproc.transform.steps.step import BuiltIn, Float, FormatCheck, Int, SizeCheck, Some, StepCost, Unlike

_PX = Int(at_least=1, at_most=1_000_000)


class MinSize(SizeCheck, frozen=True, kw_only=True):
    """Rejects pictures smaller than so many pixels.

    The size is that of the picture as displayed, at this place in the list. The code is `check.min_size`.
    """

    op = "min_size"
    example: ClassVar = {"width": 64, "height": 64}

    width: Annotated[int, _PX, "least width, px"] = 1
    height: Annotated[int, _PX, "least height, px"] = 1

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when a side is too short."""
        if size[0] < self.width or size[1] < self.height:
            reason = f"{size[0]} x {size[1]} px is smaller than {self.width} x {self.height} px"
            raise Reject(reason, code=Code.CHECK_MIN_SIZE)


class MaxSize(SizeCheck, frozen=True, kw_only=True):
    """Rejects pictures larger than so many pixels: wide, high, or in all.

    The size is that of the picture as displayed, at this place in the list. The code is `check.max_size`.
    """

    op = "max_size"
    example: ClassVar = {"width": 8000, "height": 8000, "pixels": 40_000_000}

    width: Annotated[int | None, _PX, "most width, px"] = None
    height: Annotated[int | None, _PX, "most height, px"] = None
    pixels: Annotated[int | None, Int(at_least=1, at_most=10**12), "most of width times height"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width is None and self.height is None and self.pixels is None:
            raise ValueError("width, height, pixels: at least one of them is needed")

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when a side is too long, or both together."""
        width, height = size
        limits = {"wide": (width, self.width), "high": (height, self.height), "in all": (width * height, self.pixels)}
        for how, (found, most) in limits.items():
            if most is not None and found > most:
                reason = f"{width} x {height} px are {found} px {how}, more than {most}"
                raise Reject(reason, code=Code.CHECK_MAX_SIZE)


class MaxAspect(SizeCheck, frozen=True, kw_only=True):
    """Rejects pictures whose longer side is more than so many times the shorter one.

    The code is `check.max_aspect`.
    """

    op = "max_aspect"
    example: ClassVar = {"ratio": 3.0}

    ratio: Annotated[float, Float(at_least=1, at_most=100_000), "the most, longer side divided by shorter side"]

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when the picture is too long or too tall."""
        if max(size) > self.ratio * min(size):
            reason = f"{size[0]} x {size[1]} px has an aspect of {max(size) / min(size):.4g}, more than {self.ratio:g}"
            raise Reject(reason, code=Code.CHECK_MAX_ASPECT)


class Format(FormatCheck, frozen=True, kw_only=True):
    """Rejects pictures whose source has another format than those listed.

    The format is that of the content, whatever the URL or the server says. Runs before anything is decoded, wherever it
    stands in the list. What `[transform] formats` refuses is a failure, what this refuses is not. The code is
    `check.format`.
    """

    op = "format"
    work = StepCost(holds_gil=True, cost=Cost.NONE, overhead_us=2)
    example: ClassVar = {"formats": ["jpeg", "png"]}

    formats: Annotated[tuple[str, ...], Some(choices=defaults.FORMATS), "those that are kept"]

    def __call__(self, image: Image.Image) -> Image.Image:
        return image

    def check_format(self, kind: str) -> None:
        """Raises `Reject` when the source's format is not listed."""
        if kind not in self.formats:
            raise Reject(f"{kind} is not among {', '.join(self.formats)}", code=Code.CHECK_FORMAT)


class NotBlank(BuiltIn, frozen=True, kw_only=True):
    """Rejects pictures without content: of one colour, or nearly so.

    Content are the pixels that differ from the commonest level of a channel by more than `tolerance` levels; the
    channel with most of them counts, alpha is one too, and colours that cannot be seen do not count. Fewer than
    `content` percent is blank. After a `resize` it costs less. The code is `check.not_blank`.
    """

    op = "not_blank"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=60)
    example: ClassVar = {"content": 0.5, "tolerance": 8}

    content: Annotated[float, Float(above=0, at_most=100, unit="percent"), "least share of pixels that differ"] = 0.1
    tolerance: Annotated[int, Int(at_least=0, at_most=254), "levels up to which a pixel is as the commonest"] = 8

    def __call__(self, image: Image.Image) -> Image.Image:
        found = 100 * max(self._shares(image))
        if found < self.content:
            reason = f"{found:.3g}% of its pixels differ by more than {self.tolerance} levels"
            raise Reject(f"{reason}, less than {self.content:g}%", code=Code.CHECK_NOT_BLANK)
        return image

    def _shares(self, image: Image.Image) -> Iterator[float]:
        """For each channel, the share of pixels that are content."""
        counts = image.histogram()
        if has_alpha(image):
            counts = image.convert(image.mode[:-1]).histogram(visible(image)) + counts[-256:]
        for start in range(0, len(counts), 256):
            levels = counts[start : start + 256]
            commonest, pixels = levels.index(max(levels)), sum(levels)
            near = sum(levels[max(0, commonest - self.tolerance) : commonest + self.tolerance + 1])
            yield (pixels - near) / pixels if pixels else 0.0


_LAPLACE = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=2, offset=128)  # halved, to clip the less
_LAPLACE_SIDE = 3


class Sharpness(BuiltIn, frozen=True, kw_only=True):
    """Rejects blurred pictures: those whose Laplacian varies too little.

    Measured in grey levels from 0 to 255: the variance of each pixel's four neighbours minus four times itself (J. L.
    Pech-Pacheco and others, 2000). It depends on the size, so put it behind a `resize`: shrunk to 256 px, 58
    photographs measured 200 and more, blurred by 2 px there 26 and less. Of pictures with alpha the colours that can be
    seen count, or alpha if it varies more. A side under 3 px has no sharpness, 0. The code is `check.sharpness`.
    """

    op = "sharpness"
    work = StepCost(holds_gil=False, cost=Cost.MEDIUM, overhead_us=180)
    example: ClassVar = {"min": 100}

    min: Annotated[float, Float(above=0, at_most=10_000), "least variance of the Laplacian"]

    def __call__(self, image: Image.Image) -> Image.Image:
        found = self.measure(image)
        if found < self.min:
            raise Reject(f"its sharpness of {found:.4g} is less than {self.min:g}", code=Code.CHECK_SHARPNESS)
        return image

    @staticmethod
    def measure(image: Image.Image) -> float:
        """The sharpness of an image of any mode that steps get."""
        if not has_alpha(image):
            return _variance(image.convert("L").filter(_LAPLACE), None)
        edges = on_neighbours(image.convert("LA"), lambda grey: grey.filter(_LAPLACE))
        alpha = image.getchannel("A").filter(_LAPLACE)
        return max(_variance(edges.getchannel("L"), visible(image)), _variance(alpha, None))


def _variance(edges: Image.Image, mask: Image.Image | None) -> float:
    """Of a halved Laplacian; the outermost pixels have none."""
    if min(edges.size) < _LAPLACE_SIDE:
        return 0.0
    inside = (1, 1, edges.width - 1, edges.height - 1)
    seen = ImageStat.Stat(edges.crop(inside), mask.crop(inside) if mask else None)
    return 4 * seen.var[0] if seen.count[0] else 0.0


SIDE = 8


class Unique(Unlike, frozen=True, kw_only=True):
    """Keeps, of images that look alike, the one that the list names first.

    Alike are images whose difference hashes, of 64 bits, differ in at most `bits`. It looks at the finished image,
    wherever it stands among the steps. Decided when a run ends; the code is `check.unique`.
    """

    op = "unique"
    work = StepCost(holds_gil=False, cost=Cost.LOW, overhead_us=12)
    example: ClassVar = {"bits": 4}

    bits: Annotated[int, Int(at_least=0, at_most=16, unit="bits"), "largest difference of what counts as alike"] = 4

    def __call__(self, image: Image.Image) -> Image.Image:
        return image

    @staticmethod
    def hash_of(image: Image.Image) -> str:
        """The difference hash of an image of any mode that steps get: 16 hexadecimal digits. Invisible is white."""
        grey = image.convert("L")
        if has_alpha(image):
            seen = Image.new("L", image.size, 255)
            seen.paste(grey, mask=image.getchannel("A"))
            grey = seen
        levels = grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX).tobytes()
        rows = (levels[start : start + SIDE + 1] for start in range(0, len(levels), SIDE + 1))
        bits = (left > right for row in rows for left, right in pairwise(row))
        return f"{sum(bit << place for place, bit in enumerate(bits)):016x}"
