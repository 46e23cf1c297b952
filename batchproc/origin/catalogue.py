"""Which URLs the origin has, and which of them misbehave: decided by index and seed alone, before any picture is made.

The faults, as they are dealt out in turn to the share of URLs that misbehave (`FAULT_CYCLE`; with the default share of
5 % the 240 pictures of the demo have exactly one turn, and 8 of them, 3.3 %, can never succeed):

| fault         | of 12 | on the wire                                                            | succeeds          |
|---------------|-------|------------------------------------------------------------------------|-------------------|
| `not_found`   | 3     | 404                                                                    | never             |
| `truncated`   | 2     | Content-Length of the whole, 60 % of the body, then the end            | never             |
| `html`        | 2     | 200 and `image/jpeg`, but the body is a web page                       | never             |
| `corrupt`     | 1     | 200, whole, but a table inside the picture is overwritten              | never             |
| `slow`        | 2     | the right reply, one second late                                       | yes               |
| `unavailable` | 2     | 503 to every odd request, the right reply to every even one            | on the second try |
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from batchproc.defaults import ORIGIN_SEED
from batchproc.errors import Problem, UsageError
from batchproc.origin.settings import OriginSettings

SLOW_SECONDS = 1.0
TRUNCATED_SHARE = 0.6
PHOTO_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".avif", ".tif", ".tiff", ".bmp", ".mpo", ".jp2")
)


class Fault(StrEnum):
    """How a URL misbehaves."""

    NOT_FOUND = "not_found"
    TRUNCATED = "truncated"
    HTML = "html"
    CORRUPT = "corrupt"
    SLOW = "slow"
    UNAVAILABLE = "unavailable"


FAULT_CYCLE = (
    Fault.NOT_FOUND,
    Fault.TRUNCATED,
    Fault.HTML,
    Fault.SLOW,
    Fault.UNAVAILABLE,
    Fault.CORRUPT,
    Fault.NOT_FOUND,
    Fault.TRUNCATED,
    Fault.HTML,
    Fault.SLOW,
    Fault.UNAVAILABLE,
    Fault.NOT_FOUND,
)


class Form(StrEnum):
    """How a generated picture is stored. Rotated ones are stored turned, with the EXIF orientation that undoes it."""

    JPEG = "jpeg"
    PROGRESSIVE = "progressive"
    PANORAMA = "panorama"
    GREY = "grey"
    CMYK = "cmyk"
    ROTATED_2 = "rotated_2"
    ROTATED_3 = "rotated_3"
    ROTATED_4 = "rotated_4"
    ROTATED_5 = "rotated_5"
    ROTATED_6 = "rotated_6"
    ROTATED_7 = "rotated_7"
    ROTATED_8 = "rotated_8"
    PNG = "png"
    PNG_ALPHA = "png_alpha"
    PNG_PALETTE = "png_palette"
    WEBP = "webp"

    @property
    def suffix(self) -> str:
        """The real extension, as ".jpg"."""
        if self is Form.WEBP:
            return ".webp"
        return ".png" if self.startswith("png") else ".jpg"

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return int(self[-1]) if self.startswith("rotated") else 1


# Every 40 pictures in a row hold exactly these, in an order of their own.
KINDS_OF_40 = (
    (Form.JPEG,) * 21
    + (Form.PROGRESSIVE,) * 3
    + (Form.ROTATED_2, Form.ROTATED_3, Form.ROTATED_4, Form.ROTATED_5, Form.ROTATED_6, Form.ROTATED_7, Form.ROTATED_8)
    + (Form.PANORAMA, Form.GREY, Form.CMYK)
    + (Form.PNG, Form.PNG_ALPHA, Form.PNG_PALETTE)
    + (Form.WEBP,) * 3
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One URL of the origin: its path, and how it misbehaves, if it does."""

    index: int
    path: str  # as `/img/0007.jpg`
    fault: Fault | None = None


def digest(*words: object) -> int:
    """A number of 64 bits decided by the words: the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest(), "big")


def kinds(images: int, seed: int) -> list[Form]:
    """How each of the pictures is stored, by index."""
    shuffled: list[Form] = []
    for block in range(-(-images // len(KINDS_OF_40))):
        order = sorted(range(len(KINDS_OF_40)), key=lambda place: digest(seed, "kind", block, place))
        shuffled.extend(KINDS_OF_40[place] for place in order)
    return shuffled[:images]


def demo_paths(images: int, seed: int = ORIGIN_SEED) -> list[str]:
    """The relative URLs of the generated pictures, as `/img/0007.webp`, without making them."""
    return [f"/img/{index:04d}{kind.suffix}" for index, kind in enumerate(kinds(images, seed))]


def demo_list(images: int, seed: int = ORIGIN_SEED) -> str:
    """The text of a URL list of the generated pictures, as in inputs/demo.txt."""
    header = (
        f"# The {images} pictures of batchproc's embedded image server, seed {seed}: relative URLs, one per line.\n"
        "# The server is started by [origin] in a config, or by itself with `batchproc origin`.\n"
    )
    return header + "".join(f"{path}\n" for path in demo_paths(images, seed))


def photo_files(folder: Path) -> list[Path]:
    """The files of a folder that are named like images, in order of name. Raises `UsageError` when there is none."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())
    if not files:
        allowed = " ".join(sorted(PHOTO_SUFFIXES))
        raise UsageError([Problem(where=f'[origin] photos = "{folder}"', message=f"holds no file named {allowed}")])
    return files


def listing(settings: OriginSettings) -> tuple[Entry, ...]:
    """Every URL of the origin in order, with its fault. Reads the folder's names when `photos` is set."""
    if settings.photos:
        paths = [f"/{quote(file.name)}" for file in photo_files(Path(settings.photos))]
    else:
        paths = demo_paths(settings.images, settings.seed)
    faults = dict(_faulty(len(paths), settings.fault_share, settings.seed))
    return tuple(Entry(index=index, path=path, fault=faults.get(index)) for index, path in enumerate(paths))


def _faulty(count: int, share: float, seed: int) -> Iterator[tuple[int, Fault]]:
    """Spreads the faults evenly: one somewhere in each of as many equal stretches of the list as there are faults."""
    wanted = round(count * share)
    for number in range(wanted):
        first, end = count * number // wanted, count * (number + 1) // wanted
        place = first + digest(seed, "fault", number) % (end - first)
        yield place, FAULT_CYCLE[number % len(FAULT_CYCLE)]
