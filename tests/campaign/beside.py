"""Does a call let go of the GIL? `python -m tests.campaign.beside`: a thread that only counts runs beside each of them.

Prints how much CPU the counting thread got for each second of CPU of the call: about 1 where both run all the time,
about 0.2 where the call keeps the GIL (what is left is the time that handing it over takes; the last row shows it).
Clocks of threads, so that other programs on the machine slow down both alike. Needs two cores.
"""

import random
import statistics
import sys
import threading
import time
from collections.abc import Callable

from PIL import Image, ImageFilter
from PIL.Image import Resampling

from batchproc.transform import resampler
from batchproc.transform.steps.geometry import Resize

SIZE, TARGET = (3000, 2000), (256, 171)
CALLS = 15
SWITCH_SECONDS = 1e-4  # how long the counting thread may keep the GIL when the call wants it back


def calls() -> dict[str, Callable[[], object]]:
    """What is tried, by name; the last one is known to hold the GIL."""
    picture = Image.effect_noise(SIZE, 90).convert("RGB")
    alpha = picture.copy()
    alpha.putalpha(Image.radial_gradient("L").resize(SIZE))
    small, numbers = picture.resize((400, 300)), [random.random() for _ in range(200_000)]
    floats = picture.convert("L").convert("F")
    box = (0, 0, *SIZE)

    def resized(image: Image.Image, *, rows_first: bool = False) -> Callable[[], object]:
        return lambda: resampler.resize(
            image, TARGET, Resampling.LANCZOS, box=box, rows_first=rows_first, note=sys.exit
        )

    return {
        f"{resampler.engine()}, RGB": resized(picture),
        f"{resampler.engine()}, RGB, rows first": resized(picture, rows_first=True),
        f"{resampler.engine()}, F": resized(floats),
        "the step resize, RGBA": lambda: Resize(size=TARGET)(alpha),
        "Pillow's resize, RGB": lambda: picture.resize(TARGET, Resampling.LANCZOS),
        "Pillow's median, RGB": lambda: small.filter(ImageFilter.MedianFilter(5)),
        "sorting numbers": lambda: sorted(numbers),
    }


def share_beside(call: Callable[[], object]) -> float:
    """CPU of a thread that counts, for each second of CPU of the call."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    counting = threading.Thread(target=count)
    counting.start()
    clock = time.pthread_getcpuclockid(counting.ident or 0)
    shares = []
    try:
        for _ in range(CALLS):
            own, other = time.thread_time(), time.clock_gettime(clock)
            call()
            own, other = time.thread_time() - own, time.clock_gettime(clock) - other
            shares.append(other / own)
    finally:
        stop.set()
        counting.join()
    return statistics.median(shares)


def main() -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    for name, call in calls().items():
        print(f"{share_beside(call):5.2f}  {name}")


if __name__ == "__main__":
    main()
