"""What a worker spends on an image, part by part: `python -m tests.campaign.image_costs FOLDER [--against CHECKOUT]`.

Every JPEG of a folder goes through the transform stage in one process: made to fit 256 x 256 px, JPEG of quality 85.
Printed are ms of CPU per image, the median of the rounds: of the whole call (user and system time of the process), of
the parts that its laps tell, and what there is beside them. Below the line, measured apart: what of the decoding goes
into the header, into the same pixels by Pillow alone, which proves nothing of the file, and into the digest of the
original. With another checkout (its `.venv` included) its rounds take turns with ours.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image

from batchproc.model import Item, Reply, Source, SourceImage
from batchproc.transform.decode import FORMATS, open_picture
from batchproc.transform.plan import build_steps
from batchproc.transform.resampler import draft_scale, pixels_for
from batchproc.transform.stage import Transform  # earlier checkouts have it there alone

TARGET = 256
STEP = {"op": "resize", "size": [TARGET, TARGET], "how": "contain", "only_shrink": True}
MOST_PIXELS = 10**9
WHOLE, REST = "the whole call", "beside the parts"
APART = ("header alone", "Pillow's decoder alone", "digest of the original")
ROOT = Path(__file__).parents[2]


def process_cpu() -> float:
    """User and system time of this process, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def round_of(contents: Sequence[bytes], quality: str) -> dict[str, float]:
    """Each part once over all images: ms per image."""
    seconds = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        plan = Transform(steps=build_steps([STEP]), temporary_folder=folder, quality=quality)
        work = plan.open()
        work(_item(contents[0], "warm"), lambda part: None)
        before = process_cpu()
        for number, content in enumerate(contents):
            at = time.thread_time()

            def lap(part: str) -> None:
                nonlocal at
                now = time.thread_time()
                seconds[part] += now - at
                at = now

            work(_item(content, str(number)), lap)
        whole = process_cpu() - before
    rest = whole - sum(seconds.values())
    seconds.update({REST: rest, WHOLE: whole})
    for name, call in zip(APART, (_header, lambda content: _bare(content, quality), sha256), strict=True):
        seconds[name] = _cpu_of(call, contents)
    return {part: 1e3 * spent / len(contents) for part, spent in seconds.items()}


def _item(content: bytes, name: str) -> Item[SourceImage]:
    source = Source(index=0, line=1, url=f"http://images.test/{name}", key=name.encode().ljust(16, b"\x00"))
    return Item(source=source, value=SourceImage(content=content, reply=Reply(status_code=200)))


def _cpu_of(call: Callable[[bytes], object], contents: Sequence[bytes]) -> float:
    before = process_cpu()
    for content in contents:
        call(content)
    return process_cpu() - before


def _header(content: bytes) -> None:
    open_picture(content, formats=FORMATS, max_pixels=MOST_PIXELS)


def _bare(content: bytes, quality: str) -> None:
    """By Pillow, at the scale that the stage would take."""
    with Image.open(BytesIO(content)) as image:
        over = max(image.size) / TARGET
        target = max(1, round(image.width / over)), max(1, round(image.height / over))
        needed = pixels_for(target, quality)
        if needed is not None:
            scale = draft_scale(image.size, needed)
            image.draft(None, (math.ceil(image.width / scale), math.ceil(image.height / scale)))
        image.load()


def round_in(checkout: Path, folder: Path, quality: str) -> dict[str, float]:
    """A round by a process of a checkout's own Python."""
    command = [checkout / ".venv" / "bin" / "python", __file__, folder, "--quality", quality, "--rounds", "0"]
    done = subprocess.run(command, cwd=checkout, env={"PYTHONPATH": str(checkout)}, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def show(rounds: Sequence[Sequence[dict[str, float]]], names: Sequence[str]) -> None:
    """A row for each part, a column for each checkout: median, and the least and most of the whole call."""
    print(f"{'ms of CPU per image':26}" + "".join(f"{name[-12:]:>14}" for name in names))
    for part in [WHOLE, *(part for part in rounds[0][0] if part not in (WHOLE, *APART)), *APART]:
        medians = [statistics.median(one[part] for one in column) for column in rounds]
        print(f"{part:26}" + "".join(f"{median:14.3f}" for median in medians))
    spreads = [sorted(one[WHOLE] for one in column) for column in rounds]
    print(f"{'whole call, from to':26}" + "".join(f"{f'{spread[0]:.2f}-{spread[-1]:.2f}':>14}" for spread in spreads))


def main() -> None:
    """The command line; with `--rounds 0` one round of this process, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="of JPEGs")
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout")
    parser.add_argument("--quality", choices=("fast", "balanced", "exact"), default="balanced")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.rounds:
        contents = [path.read_bytes() for path in sorted(options.folder.glob("*.jp*g"))]
        json.dump(round_of(contents, options.quality), sys.stdout)
        return
    checkouts = [*options.against, ROOT]
    rounds: list[list[dict[str, float]]] = [[] for _ in checkouts]
    for number in range(options.rounds):
        turn = list(enumerate(checkouts))
        for at, checkout in turn if number % 2 else reversed(turn):
            rounds[at].append(round_in(checkout.absolute(), options.folder.absolute(), options.quality))
    show(rounds, [checkout.name for checkout in checkouts])


if __name__ == "__main__":
    main()
