"""What a step is: a frozen value that is called with an image and returns one. Three kinds know more than pixels."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from PIL import Image

from batchproc.transform.view import Size, View


class Step(Protocol):
    """One image operation. Gets and returns an image of mode L, LA, RGB or RGBA; free of shared state, picklable."""

    def __call__(self, image: Image.Image, /) -> Image.Image: ...


@runtime_checkable
class SizeCheck(Protocol):
    """A step that looks at the size alone. At the head of the list it runs before anything is decoded."""

    def check_size(self, size: Size) -> None:
        """Raises `Reject` when the picture is not wanted. `size` is as displayed."""
        ...


@runtime_checkable
class Sizing(Protocol):
    """A step that scales, and so can work from pixels that were decoded at reduced scale."""

    def scaled_size(self, size: Size) -> Size | None:
        """The size that a whole picture of `size` is scaled to, before any cut; None: it is not scaled."""
        ...

    def render(self, image: Image.Image, view: View) -> Image.Image:
        """The step on pixels that stand for the picture of `view`."""
        ...


@runtime_checkable
class Pixelwise(Protocol):
    """A step that maps each pixel by itself and linearly, so that it may run on a scaled decode before a resize."""

    pixelwise: bool


def on_colours(image: Image.Image, operation: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The operation on the colours alone: alpha is set aside and put back."""
    if image.mode not in ("LA", "RGBA"):
        return operation(image)
    done = operation(image.convert(image.mode[:-1]))
    done.putalpha(image.getchannel("A"))
    return done
