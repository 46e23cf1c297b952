"""The engine that changes the number of pixels: `cykooz-resizer`, SIMD kernels in Rust, or Pillow in its place.

Both use the same kernels. The engine filters down the columns first and then along the rows, Pillow the other way
round, and both round and clip to 8 bits in between: beside hard edges they differ by a few levels, and the engine is
the closer one to the kernel in floats. On floats they agree to 1/1000 of a level. SSE4.1, AVX2 and plain code give the
same bytes. It lets go of the GIL and starts no threads.

Pillow stands in where the package cannot be imported, and for single images where the engine cannot do it.
"""

from collections.abc import Callable
from importlib import metadata

from PIL import Image
from PIL.Image import Resampling

from batchproc.transform.view import Box, Size

_problem = ""
try:
    import cykooz_resizer as simd
except ImportError as error:  # no wheel for this machine, or one that does not fit its libraries
    _problem = f"cykooz-resizer cannot be imported ({type(error).__name__})"

MODES = frozenset({"L", "RGB", "CMYK", "I", "F"})  # it takes RGBA too, but would weight the colours in 8 bits
_KERNELS = {Resampling.BICUBIC: "catmull_rom", Resampling.LANCZOS: "lanczos3"}  # its words for them
_PANIC = "PanicException"  # what a Rust panic is in Python: no Exception, and in no module to import it from
_PROBED_BYTES = 8_000_000


def engine() -> str:
    """Name and version of what resizes in this process."""
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
    reducing_gap: float | None = None,
    note: Callable[[str], None],
) -> Image.Image:
    """The part `box` of an image of any mode at `size` px, each channel by itself.

    `note` gets the reason when Pillow did it for this image alone. `reducing_gap` is for Pillow.
    """
    if not _problem:
        reason = f"the resampler does not take mode {image.mode}"
        if image.mode in MODES:
            try:
                return _resize(image, size, kernel, box)
            except (ValueError, TypeError, RuntimeError) as error:
                reason = f"the resampler failed ({type(error).__name__})"
            except BaseException as error:
                if type(error).__name__ != _PANIC:
                    raise
                reason = f"the resampler failed ({_PANIC})"
        note(f"resized by Pillow: {reason}")
    return image.resize(size, kernel, box=box, reducing_gap=reducing_gap)


def _resize(image: Image.Image, size: Size, kernel: Resampling, box: Box) -> Image.Image:
    """By the engine. A `Resizer` of its own for each image: it must not be shared, and keeps its buffers."""
    between_bytes = image.width * size[1] * 4
    if between_bytes > _PROBED_BYTES:
        bytes(between_bytes)  # where Rust gets no memory it ends the process; this is a MemoryError, and touches none
    options = simd.ResizeOptions()
    options.resize_alg = simd.ResizeAlg.convolution(simd.FilterType[_KERNELS[kernel]])
    left, top, right, bottom = box
    options.crop_box = simd.CropBox(left, top, right - left, bottom - top)
    done = Image.new(image.mode, size)
    simd.Resizer().resize_pil(image, done, options)
    return done
