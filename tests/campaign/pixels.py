"""Odd but valid headers against a second decoder: `python -m tests.campaign.pixels --cases 3000 --seed 1`.

Files of TIFF, BMP and WebP are written at random, then fields of their headers get other values that the format has,
whatever that does to the rest. Each file is decoded here and by another decoder: tifffile with imagecodecs, the BMP of
imagecodecs, libvips for WebP. Each kind of disagreement is told once, with the number of its files.

Not told: what is refused here by name, and what both refuse. What only one of them decodes is told with `--all`: the
other mostly makes up what is missing, or is stricter.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture, prepare_pillow
from tests.campaign.odd_headers import MAKERS
from tests.transform import bmps
from tests.transform.tiff_meaning import COLOUR_SAMPLES, YCBCR, meant

Pixels: TypeAlias = NDArray[Any]  # (height, width, bands)
DIFFERS = "DIFFERS"
ONE_SIDED = ("only here", "only there")
MOST_PIXELS = 1_000_000
ORIENTATION, COLOUR_MAP = 274, 320
WITHIN = {"tiff": 1, "bmp": 0, "webp": 1}  # levels: YCbCr, and lossy frames, are rounded in other ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the two decoders make of a file: `DIFFERS` is the only disagreement."""

    kind: str
    detail: str = ""


class NotComparableError(Exception):
    """The second decoder gives samples whose colours it does not tell."""


def seen_here(content: bytes) -> Pixels:
    """The pixels as stored in the output. Raises `StageError`."""
    opened = open_picture(content, formats=FORMATS, max_pixels=MOST_PIXELS)
    image = decode(opened, needed=None, background=None, colours=Colours()).image
    return np.asarray(image).reshape(image.height, image.width, -1)


def seen_in_tiff(content: bytes) -> Pixels:
    """tifffile's samples of the first page, and their meaning worked out in `tiff_meaning`."""
    with tifffile.TiffFile(BytesIO(content)) as file:
        page = file.pages.first
        colours, bits = int(page.photometric), int(page.bitspersample)
        samples = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
        tag = page.tags.get(COLOUR_MAP)
        turn = page.tags.valueof(ORIENTATION, default=1)
        extra = [int(kind) for kind in page.extrasamples]
    if colours not in COLOUR_SAMPLES or samples.dtype.kind not in "ub":
        raise NotComparableError
    if colours == YCBCR and samples.shape[2] != 3:
        raise NotComparableError
    extra = extra[: samples.shape[2] - COLOUR_SAMPLES[colours]]
    extra = [2] if (colours, samples.shape[2], extra) == (2, 4, []) else [2 if kind == 999 else kind for kind in extra]
    return turned(meant(samples, colours, extra, bits, tag.value if tag else ()), turn)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """The picture upright, by the rows and columns that tag 274 names first (TIFF 6.0, section 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def seen_in_bmp(content: bytes) -> Pixels:
    """By the decoder of imagecodecs, which takes the first pixel for a mask of alpha behind a header of 40 bytes."""
    if content[14] == bmps.INFO and content[30] == bmps.FIELDS:
        raise NotComparableError
    pixels = imagecodecs.bmp_decode(content)
    return pixels.reshape(*pixels.shape[:2], -1)


def seen_in_webp(content: bytes) -> Pixels:
    """By libvips, the first page."""
    image = pyvips.Image.new_from_buffer(content, "", fail_on="error")
    return np.asarray(image.numpy()).reshape(image.height, image.width, -1)


SECOND: dict[str, Callable[[bytes], Pixels]] = {"tiff": seen_in_tiff, "bmp": seen_in_bmp, "webp": seen_in_webp}


def compared(content: bytes, form: str) -> Finding:
    """Decodes a file twice."""
    try:
        here = seen_here(content)
    except StageError as error:
        if error.code == Code.IMAGE_UNSUPPORTED:
            return Finding(kind="refused")
        there = _there(content, form)
        return Finding(kind="both fail") if isinstance(there, str) else Finding(kind="only there", detail=error.message)
    there = _there(content, form)
    if isinstance(there, str):
        return Finding(kind="not comparable" if there == NotComparableError.__name__ else "only here", detail=there)
    here, there = _same_bands(here), _same_bands(there)
    if here.shape != there.shape:
        return Finding(kind=DIFFERS, detail="in size")
    apart = np.abs(here.astype(int) - there)
    if form == "webp":
        apart = apart * (there[..., 3:] > 0)  # invisible colours are nobody's business
    worst = int(apart.max(initial=0))
    return Finding(kind="agreed") if worst <= WITHIN[form] else Finding(kind=DIFFERS, detail="in pixels")


def _there(content: bytes, form: str) -> Pixels | str:
    """The pixels of the second decoder, or the name of its error."""
    try:
        return SECOND[form](content)
    except (NotImplementedError, NotComparableError):  # the former for subsampling
        return NotComparableError.__name__
    except Exception as error:  # noqa: BLE001 - decoders raise anything
        return type(error).__name__


def _same_bands(pixels: Pixels) -> Pixels:
    """As RGBA, so that an opaque picture is the same with and without alpha."""
    height, width, bands = pixels.shape
    alpha = pixels[..., -1:] if bands in (2, 4) else np.full((height, width, 1), 255)
    colours = pixels[..., : bands - 1] if bands in (2, 4) else pixels
    return np.concatenate([colours if colours.shape[2] == 3 else colours.repeat(3, axis=2), alpha], axis=2)


def run(form: str, *, cases: int, seed: int, keep: Path | None = None, tell_all: bool = False) -> list[str]:
    """Compares so many files of a format. Returns the disagreements, one line for each kind."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for number, (changed, content) in enumerate(islice(MAKERS[form](Random(seed)), cases)):
        finding = compared(content, form)
        key = (finding.kind, changed, finding.detail)
        is_told = finding.kind == DIFFERS or (tell_all and finding.kind in ONE_SIDED)
        counts[key if is_told else (finding.kind, "", "")] += 1
        if keep is not None and is_told and counts[key] == 1:
            (keep / f"{seed}-{number}.{form}").write_bytes(content)
    quiet = ", ".join(f"{count} {kind}" for (kind, changed, _), count in counts.items() if not changed)
    print(f"{form}: {cases} files: {quiet}", flush=True)
    told = [(kind, changed, detail, count) for (kind, changed, detail), count in counts.items() if changed]
    return [f"{kind}, {count} files: {changed}: {detail}" for kind, changed, detail, count in sorted(told)]


def main() -> int:
    """The command line; returns 1 when there was a disagreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=3000, help="of each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=sorted(MAKERS), action="append")
    parser.add_argument("--keep", type=Path, help="a folder for the first file of each disagreement")
    parser.add_argument("--all", action="store_true", help="tell also what one decoder alone decodes")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # tifffile's remarks on odd tags
    prepare_pillow()
    told = []
    for form in options.format or sorted(MAKERS):
        told += run(form, cases=options.cases, seed=options.seed, keep=options.keep, tell_all=options.all)
    print("\n".join(told))
    return 1 if any(line.startswith(DIFFERS) for line in told) else 0


if __name__ == "__main__":
    sys.exit(main())
