"""The engine that changes the number of pixels: `cykooz-resizer`, SIMD kernels in Rust, or Pillow in its place.

Both use the same kernels. The engine filters down the columns first and then along the rows, Pillow the other way
round, and both round and clip to 8 bits in between: beside hard edges they differ by several levels, and the engine is
the closer one to the kernel in floats. With its rows first they agree to two levels, on floats to 1/100 of one. It lets
go of the GIL (`python -m tests.campaign.beside` measures it) and starts no threads; SSE4.1, AVX2 and plain code give
the same bytes.

Pillow stands in where the package cannot be imported, and for single images where the engine cannot do it.
"""

from collections.abc import Callable
from importlib import metadata

from PIL import Image
from PIL.Image import Resampling

from batchproc.transform.view import Box, Size

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
