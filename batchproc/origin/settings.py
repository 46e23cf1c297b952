"""What the embedded origin is asked to be, all that can be wrong with that, and which URLs it then has.

Which of them misbehave is decided by index and seed alone, before any picture is made.

The faults, as they are dealt out in turn to the share of URLs that misbehave (`FAULT_CYCLE`; with the default share of
5% the 240 pictures of the demo have exactly one turn, and 8 of them, 3.3%, can never succeed):

| fault         | of 12 | on the wire                                                            | succeeds          |
|---------------|-------|------------------------------------------------------------------------|-------------------|
| `not_found`   | 3     | 404                                                                    | never             |
| `truncated`   | 2     | Content-Length of the whole, 60% of the body, then the end             | never             |
| `html`        | 2     | 200 and `image/jpeg`, but the body is a web page                       | never             |
| `corrupt`     | 1     | 200, whole, but a table inside the picture is overwritten              | never             |
| `slow`        | 2     | the right reply, one second late                                       | yes               |
| `unavailable` | 2     | 503 to every odd request, the right reply to every even one            | on the second try |
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from batchproc import defaults
from batchproc.errors import Problem, UsageError
from batchproc.sniff import IMAGE_SUFFIXES, is_image_name

DEFAULT_FAULT_SHARE = 0.05
MAX_IMAGES = 2000  # they are held in memory, about 150 KB each
LONGEST_LATENCY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSettings:
    """One origin. Times in seconds, sizes in bytes.

    `latency_seconds` is the median time before the first byte of a reply; each reply's own is that times a log-normal
    factor whose sigma is `jitter` (0 = none), decided by the seed, the URL and how often it was asked for before.
    `bandwidth_bytes_per_second` holds per connection, 0 = unlimited. `faults` is the share of URLs that misbehave on
    purpose: True is 0.05, None is 0.05 for the origin's own pictures and 0 for the user's. `photos` is a folder whose
    pictures are served in place of the origin's own. `port` 0 lets the system choose one. `latencies` holds the waits
    of single paths, as `/img/0007.jpg`: always the same, without jitter; other paths have `latency_seconds`.
    """

    images: int = defaults.ORIGIN_IMAGES
    seed: int = defaults.ORIGIN_SEED
    latency_seconds: float = defaults.ORIGIN_LATENCY_SECONDS
    jitter: float = defaults.ORIGIN_JITTER
    bandwidth_bytes_per_second: int = 0
    faults: bool | float | None = None
    photos: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    idle_seconds: float = 60.0
    max_connections: int = 1000
    latencies: Mapping[str, float] = field(default_factory=dict)

    @property
    def fault_share(self) -> float:
        """The share of URLs that misbehave, 0 to 1."""
        if self.faults is None:
            return 0.0 if self.photos else DEFAULT_FAULT_SHARE
        return DEFAULT_FAULT_SHARE if self.faults is True else float(self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginTotals:
    """What an origin did from the moment it was ready to its end."""

    requests: int
    connections: int
    bytes: int  # sent, heads included
    cpu_seconds: float  # of its process, without the making of the pictures


def check_settings(settings: OriginSettings) -> None:
    """Raises `UsageError` with every problem at once."""
    limits = {
        "images": (1, MAX_IMAGES),
        "latency_seconds": (0, LONGEST_LATENCY_SECONDS),
        "jitter": (0, 2),
        "bandwidth_bytes_per_second": (0, math.inf),
        "faults": (0, 1),
        "port": (0, 65535),
        "idle_seconds": (0.01, 86400),
        "max_connections": (1, 100_000),
    }
    problems = []
    for name, (low, high) in limits.items():
        value = settings.fault_share if name == "faults" else getattr(settings, name)
        if not low <= value <= high:
            allowed = f"from {low} to {high}" if math.isfinite(high) else f"{low} or more"
            problems.append(Problem(where=f"[origin] {name} = {value:g}", message=f"must be {allowed}"))
    wrong = [path for path, wait in settings.latencies.items() if not 0 <= wait <= LONGEST_LATENCY_SECONDS]
    if wrong:
        where = f"[origin] latencies {wrong[0]} = {settings.latencies[wrong[0]]:g}"
        problems.append(Problem(where=where, message=f"must be from 0 to {LONGEST_LATENCY_SECONDS}"))
    if settings.photos and not Path(settings.photos).is_dir():
        problems.append(Problem(where=f'[origin] photos = "{settings.photos}"', message="is not a folder"))
    if problems:
        raise UsageError(problems)


def base_url_of(host: str, port: int) -> str:
    """As `http://127.0.0.1:40123`, without a slash at its end."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


SLOW_SECONDS = 1.0
TRUNCATED_SHARE = 0.6


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


def demo_paths(images: int, seed: int = defaults.ORIGIN_SEED) -> list[str]:
    """The relative URLs of the generated pictures, as `/img/0007.webp`, without making them."""
    return [f"/img/{index:04d}{kind.suffix}" for index, kind in enumerate(kinds(images, seed))]


def demo_list(images: int, seed: int = defaults.ORIGIN_SEED) -> str:
    """The text of a URL list of the generated pictures, as in inputs/demo.txt."""
    header = (
        f"# The {images} pictures of batchproc's embedded image server, seed {seed}: relative URLs, one per line.\n"
        "# The server is started by [origin] in a config, or by itself with `batchproc origin`.\n"
    )
    return header + "".join(f"{path}\n" for path in demo_paths(images, seed))


def photo_files(folder: Path) -> list[Path]:
    """The files of a folder that are named like images, in order of name. Raises `UsageError` when there is none."""
    files = sorted(path for path in folder.iterdir() if is_image_name(path.name) and path.is_file())
    if not files:
        allowed = " ".join(sorted(IMAGE_SUFFIXES))
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
