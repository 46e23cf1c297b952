"""Tiny stages, each with one known cost. Importable by name in a worker, which needs nothing but Pillow for them."""

import os
import time
from typing import Any, ClassVar

from msgspec import Struct
from PIL import Image, ImageFilter

from batchproc.model import Item
from batchproc.protocols import Lap

PRELOAD = ("batchproc.lab.tiny_stages",)
HANG, CRASH = "hang", "crash"
CRASH_EXIT_CODE = 9
BEAT_SECONDS = 0.005

changes: list[int] = []  # what `Remember` did in this process; append is atomic
beats: list[int] = []  # how often `hang` was seen alive in this process


class Small(Struct, frozen=True, kw_only=True):
    """A stage that is its own work and holds nothing."""

    name: ClassVar[str] = "small"
    preload: ClassVar[tuple[str, ...]] = PRELOAD

    def open(self) -> "Small":
        """Itself."""
        return self

    def __call__(self, item: Item[Any], lap: Lap) -> Any:
        """Does nothing and returns nothing: whatever came in stays here."""

    def abort(self) -> None:
        """Nothing to interrupt."""

    def close(self) -> None:
        """Nothing to give back."""


class Filtering(Small, frozen=True, kw_only=True):
    """One filter of an image that the worker holds, again and again. The mode is RGB."""

    image: Image.Image
    applied: ImageFilter.Filter

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One filtering."""
        self.image.filter(self.applied)


class TinyBlur(Small, frozen=True, kw_only=True):
    """GaussianBlur of one image held by the worker: Pillow releases the GIL."""

    name: ClassVar[str] = "blur"

    def open(self) -> Filtering:
        """Draws the worker's image."""
        return Filtering(image=noise(384), applied=ImageFilter.GaussianBlur(8))


class TinyMedian(Small, frozen=True, kw_only=True):
    """MedianFilter of one image held by the worker: Pillow keeps the GIL."""

    name: ClassVar[str] = "median"

    def open(self) -> Filtering:
        """Draws the worker's image."""
        return Filtering(image=noise(320), applied=ImageFilter.MedianFilter(3))


class Echo(Small, frozen=True, kw_only=True):
    """No work: what is left is the cost of handing over. The payload goes in, an empty reply comes out."""

    name: ClassVar[str] = "echo"


class PurePython(Small, frozen=True, kw_only=True):
    """A loop of pure Python: holds the GIL all the time but for the interpreter's own switches."""

    name: ClassVar[str] = "python"
    loops: int = 100_000

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One loop, a few milliseconds."""
        spin(self.loops)


class Remember(Small, frozen=True, kw_only=True):
    """Changes a list of the process that it runs in, and says how long the list is there."""

    name: ClassVar[str] = "remember"

    def __call__(self, item: Item[Any], lap: Lap) -> int:
        """One change."""
        changes.append(item.source.index)
        return len(changes)


class Fragile(Small, frozen=True, kw_only=True):
    """Hangs or crashes where the item's value says so, else takes a short while."""

    name: ClassVar[str] = "fragile"
    seconds: float = 0.002

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One item. `hang` never ends and lets other threads run; `crash` ends the whole process."""
        if item.value == HANG:
            while True:
                beats.append(0)
                time.sleep(BEAT_SECONDS)
        if item.value == CRASH:
            os._exit(CRASH_EXIT_CODE)
        time.sleep(self.seconds)


def spin(loops: int) -> int:
    """Adds and compares in pure Python."""
    total = 0
    for number in range(loops):
        total += number & 7
    return total


def noise(side_px: int) -> Image.Image:
    """An image full of detail, always the same; mode RGB, (side, side) px."""
    grey = Image.radial_gradient("L").resize((side_px, side_px))
    turned = Image.linear_gradient("L").resize((side_px, side_px))
    return Image.merge("RGB", (grey, turned, turned.transpose(Image.Transpose.ROTATE_90)))
