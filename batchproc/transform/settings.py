"""What the transform stage is told. Plain, frozen, picklable; known without the decoders, which only the work needs."""

from dataclasses import dataclass

from batchproc import defaults
from batchproc.transform.steps.step import Step
from batchproc.transform.view import Quality

# What a fork server imports once for all its workers.
MODULES = (
    "batchproc.transform.stage",
    "PIL.PpmImagePlugin",  # the last of those that the first Image.save imports
    "PIL.ImageFilter",
    "batchproc.transform.steps.checks",
    "batchproc.transform.steps.geometry",
    "batchproc.transform.steps.filters",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformSettings:
    """The plan of the transform stage. All but the folders decides the pixels."""

    steps: tuple[Step, ...] = ()
    quality: Quality = "balanced"
    formats: tuple[str, ...] = defaults.FORMATS
    max_pixels: int = defaults.MAX_PIXELS
    output_format: str = "jpeg"  # jpeg | png | webp | avif | keep
    output_quality: int = defaults.OUTPUT_QUALITY
    background: str = defaults.BACKGROUND
    temporary_folder: str  # absolute
    durability: str = "process"  # process | power
    originals_root: str = ""  # absolute; the folder under which `originals` are kept; empty = they are not
    gallery_folder: str = ""  # absolute; empty = no pictures for the report
    gallery_every: int = 0  # one item in so many is shown
