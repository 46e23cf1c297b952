"""Ways to make a small picture of a large JPEG, by what they cost and how near they come to the best known one.

    python -m tests.campaign.qualities FOLDER [--repeats N]

Takes every picture in a folder as a JPEG: as it is where it is one, and, apart, as a web-sized copy of 1000 to 1600 px
with quality 85. Each is made to fit 256 x 256 px by every way: decoded at a reduced scale that still has `margin` times
the pixels that are needed, and resampled by a kernel. Prints, for each way, the CPU of decode and resize (median of the
repeats, ways interleaved, by the thread's clock; mean over the pictures) and the SSIM against the picture that was
decoded whole and resampled by Pillow's LANCZOS: mean, tenth percentile, least. Ways that another one beats in all four
are marked with a minus.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cykooz_resizer as simd
import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

from batchproc.errors import StageError
from batchproc.transform import resampler
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow

TARGET = (256, 256)
WEB_SIDES = (1000, 1200, 1400, 1600)
SIGMA, RADIUS = 1.5, 5  # of the window of SSIM, as its authors have it
STABLE = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)

Resizing = Callable[[Decoded, tuple[int, int]], Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`margin`: None decodes all pixels."""

    name: str
    margin: float | None
    resize: Resizing


def by_pillow(kernel: Resampling, gap: float | None = None) -> Resizing:
    """As until recipe 2."""
    return lambda decoded, size: decoded.image.resize(size, kernel, box=decoded.box, reducing_gap=gap)


def rows_first(decoded: Decoded, size: tuple[int, int]) -> Image.Image:
    """By the engine, in Pillow's order."""
    return resampler.resize(
        decoded.image, size, Resampling.LANCZOS, box=decoded.box, rows_first=True, note=str
    )


def by_simd(kernel: str) -> Resizing:
    """By the engine, columns first."""

    def resized(decoded: Decoded, size: tuple[int, int]) -> Image.Image:
        options = simd.ResizeOptions()
        options.resize_alg = simd.ResizeAlg.convolution(simd.FilterType[kernel])
        left, top, right, bottom = decoded.box
        options.crop_box = simd.CropBox(left, top, right - left, bottom - top)
        done = Image.new(decoded.image.mode, size)
        simd.Resizer().resize_pil(decoded.image, done, options)
        return done

    return resized


REFERENCE = Way(name="Pillow lanczos", margin=None, resize=by_pillow(Resampling.LANCZOS))
WAYS = (
    REFERENCE,
    Way(name="Pillow lanczos, gap 2 (balanced, earlier)", margin=1.1, resize=by_pillow(Resampling.LANCZOS, 2.0)),
    Way(name="Pillow bicubic, gap 1.5 (fast, earlier)", margin=1.0, resize=by_pillow(Resampling.BICUBIC, 1.5)),
    *(
        Way(name=f"SIMD {kernel}", margin=margin, resize=by_simd(kernel))
        for kernel in ("bilinear", "mitchell", "catmull_rom", "lanczos3")
        for margin in (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, None)
    ),
    *(Way(name="SIMD lanczos3, rows first", margin=margin, resize=rows_first) for margin in (2.0, None)),
)


def contents(folder: Path) -> Iterator[tuple[bytes | None, bytes]]:
    """Of each picture that batchproc takes: its own bytes where they are a JPEG's, and a web-sized copy."""
    sides = 0
    for path in sorted(folder.iterdir()):
        own = path.read_bytes()
        try:
            opened = open_picture(own, formats=FORMATS, max_pixels=10**9)
            image = decode(opened, needed=None, background="#ffffff", colours=Colours()).image
        except StageError:
            continue
        if max(image.size) < 2 * max(TARGET):
            continue
        side = WEB_SIDES[sides % len(WEB_SIDES)]
        sides += 1
        image.thumbnail((side, side), Resampling.LANCZOS, reducing_gap=None)
        file = BytesIO()
        image.save(file, "JPEG", quality=85)
        yield own if opened.kind == "jpeg" else None, file.getvalue()


def make(way: Way, content: bytes, colours: Colours) -> Image.Image:
    """The small picture."""
    opened = open_picture(content, formats=FORMATS, max_pixels=10**9)
    size = ImageOps.contain(Image.new("1", opened.size), TARGET, Resampling.NEAREST).size
    needed = None if way.margin is None else (math.ceil(way.margin * size[0]), math.ceil(way.margin * size[1]))
    return way.resize(decode(opened, needed=needed, background="#ffffff", colours=colours), size)


def smoothed(plane: np.ndarray) -> np.ndarray:
    """Weighted by a Gaussian window, where that lies inside."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis=axis)
        plane = windows @ weights
    return plane


def similarity(one: Image.Image, other: Image.Image) -> float:
    """The mean structural similarity of two pictures' brightness (Wang and others, 2004)."""
    a, b = (np.asarray(image.convert("L"), dtype=np.float64) for image in (one, other))
    mean_a, mean_b = smoothed(a), smoothed(b)
    spread_a, spread_b = smoothed(a * a) - mean_a**2, smoothed(b * b) - mean_b**2
    shared = smoothed(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + STABLE[0]) * (2 * shared + STABLE[1])
    return float(np.mean(likeness / ((mean_a**2 + mean_b**2 + STABLE[0]) * (spread_a + spread_b + STABLE[1]))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one way costs, CPU in ms per picture, and gives."""

    way: Way
    cpu: float
    ssim: tuple[float, float, float]  # mean, tenth percentile, least

    def beats(self, other: "Row") -> bool:
        """Whether it is better in one figure and worse in none."""
        mine, others = (-self.cpu, *self.ssim), (-other.cpu, *other.ssim)
        return mine != others and all(a >= b for a, b in zip(mine, others, strict=True))


def measure(pictures: Sequence[bytes], repeats: int) -> list[Row]:
    """Every way on every picture."""
    colours = Colours()
    costs: dict[str, list[float]] = {}
    ssims: dict[str, list[float]] = {}
    for content in pictures:
        reference = make(REFERENCE, content, colours)
        taken: dict[str, list[float]] = {}
        for repeat in range(repeats):
            for way in WAYS if repeat % 2 else reversed(WAYS):
                begin = time.thread_time()
                done = make(way, content, colours)
                taken.setdefault(label(way), []).append(1e3 * (time.thread_time() - begin))
                if not repeat:
                    ssims.setdefault(label(way), []).append(similarity(done, reference))
        for name, times in taken.items():
            costs.setdefault(name, []).append(statistics.median(times))
    return [row(way, costs[label(way)], sorted(ssims[label(way)])) for way in WAYS]


def label(way: Way) -> str:
    return f"{'all pixels' if way.margin is None else f'{way.margin:g} times'}, {way.name}"


def row(way: Way, costs: Sequence[float], ssims: Sequence[float]) -> Row:
    """`ssims` in ascending order."""
    tenth = ssims[int(0.1 * len(ssims))]
    return Row(way=way, cpu=statistics.mean(costs), ssim=(statistics.mean(ssims), tenth, ssims[0]))


def show(title: str, rows: Sequence[Row]) -> None:
    """As a table in Markdown, the cheapest first."""
    print(f"{title}\n\n| decoded to at least, resampled by | CPU, ms | SSIM mean | p10 | least | |")
    print("|---|---|---|---|---|---|")
    for one in sorted(rows, key=lambda one: one.cpu):
        beaten = "-" if any(other.beats(one) for other in rows) else ""
        figures = " | ".join(f"{value:.4f}" for value in one.ssim)
        print(f"| {label(one.way)} | {one.cpu:.2f} | {figures} | {beaten} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    prepare_pillow()
    pairs = list(contents(arguments.folder))
    for title, pictures in (
        ("web-sized", [copy for _, copy in pairs]),
        ("as they are", [own for own, _ in pairs if own is not None]),
    ):
        sizes = sum(map(len, pictures)) / len(pictures) / 1000
        show(f"{len(pictures)} JPEGs, {title}, {sizes:.0f} KB each", measure(pictures, arguments.repeats))


if __name__ == "__main__":
    main()
