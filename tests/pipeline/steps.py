"""Steps of a user's own, for the tests of whole jobs."""

import os
import select
import shutil
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Vanish:
    """Removes a folder in the middle of a run."""

    folder: str

    def __call__(self, image: Image.Image) -> Image.Image:
        shutil.rmtree(self.folder, ignore_errors=True)
        return image


vanish = Vanish


@dataclass(frozen=True)
class Waits:
    """Says in a pipe that it works, and goes on when the reader is gone."""

    marker: str

    def __call__(self, image: Image.Image) -> Image.Image:
        try:
            pipe = os.open(self.marker, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads any more
            return image
        os.write(pipe, b"x")
        gone = select.poll()
        gone.register(pipe, 0)  # POLLERR comes when the last reader closes
        gone.poll()
        os.close(pipe)
        return image


def die(image: Image.Image) -> Image.Image:
    """Takes its worker with it."""
    os._exit(1)


def interrupt(image: Image.Image) -> Image.Image:
    """Raises what a signal would raise."""
    raise KeyboardInterrupt


def print_loudly(image: Image.Image) -> Image.Image:
    """Prints to wherever stdout is."""
    print("LOUD", flush=True)
    return image
