"""The check `unique`: of images that look alike, the one that the list names first is kept.

A worker only makes each image's difference hash (N. Krawetz, "Kind of Like That", 2013): whether each of 8 x 8 parts of
the image, in grey, is lighter than the one to its right. Which images are alike is decided over the whole job, in
the order of the list, when a run ends: so it is the same in every mode, and whatever came between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from PIL import Image

from batchproc.record.run_parts import Cost
from batchproc.transform.modes import has_alpha
from batchproc.transform.steps.step import BuiltIn, Int, Step, Work, key

SIDE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique(BuiltIn):
    """Keeps, of images that look alike, the one that the list names first.

    Alike are images whose difference hashes, of 64 bits, differ in at most `bits`. It looks at the finished image,
    wherever it stands among the steps. Decided when a run ends; the code is `check.unique`.
    """

    op = "unique"
    work = Work(holds_gil=False, cost=Cost.LOW, overhead_us=12)
    example: ClassVar = {"bits": 4}

    bits: int = key(Int(at_least=0, at_most=16, unit="bits"), "largest difference of what counts as alike", default=4)

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


def unique_bits(steps: Sequence[Step]) -> int | None:
    """Up to which difference images are alike, in the strictest of these steps; None where none of them asks."""
    return max((step.bits for step in steps if isinstance(step, Unique)), default=None)
