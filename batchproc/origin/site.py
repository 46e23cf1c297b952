"""What the embedded origin is asked to be, which URLs it then has, and what each of them answers.

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
from email.utils import formatdate
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc import defaults
from batchproc.errors import Problem, UsageError
from batchproc.sniff import IMAGE_SUFFIXES, Nature, identify, is_image_name

DEFAULT_FAULT_SHARE = 0.05
MAX_IMAGES = 2000  # they are held in memory, about 150 KB each
LONGEST_LATENCY_SECONDS = 60


class OriginSettings(Struct, frozen=True, kw_only=True):
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


class OriginTotals(Struct, frozen=True, kw_only=True):
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


_TURN = (Fault.NOT_FOUND, Fault.TRUNCATED, Fault.HTML, Fault.SLOW, Fault.UNAVAILABLE)
FAULT_CYCLE = (*_TURN, Fault.CORRUPT, *_TURN, Fault.NOT_FOUND)


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
    + tuple(kind for kind in Form if kind.orientation > 1)
    + (Form.PANORAMA, Form.GREY, Form.CMYK)
    + (Form.PNG, Form.PNG_ALPHA, Form.PNG_PALETTE)
    + (Form.WEBP,) * 3
)


class ServedUrl(Struct, frozen=True, kw_only=True):
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


def listing(settings: OriginSettings) -> tuple[ServedUrl, ...]:
    """Every URL of the origin in order, with its fault. Reads the folder's names when `photos` is set."""
    if settings.photos:
        paths = [f"/{quote(file.name)}" for file in photo_files(Path(settings.photos))]
    else:
        paths = demo_paths(settings.images, settings.seed)
    faults = dict(_faulty(len(paths), settings.fault_share, settings.seed))
    return tuple(ServedUrl(index=index, path=path, fault=faults.get(index)) for index, path in enumerate(paths))


def _faulty(count: int, share: float, seed: int) -> Iterator[tuple[int, Fault]]:
    """Spreads the faults evenly: one somewhere in each of as many equal stretches of the list as there are faults."""
    wanted = round(count * share)
    for number in range(wanted):
        first, end = count * number // wanted, count * (number + 1) // wanted
        place = first + digest(seed, "fault", number) % (end - first)
        yield place, FAULT_CYCLE[number % len(FAULT_CYCLE)]


MADE_AT = 1_760_000_000  # Last-Modified of the generated pictures, always the same: October 2025
MAX_PHOTOS_BYTES = 2_000_000_000

OTHER_TYPES = {"JPEG 2000": "image/jp2", "HEIC": "image/heic"}

LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Please sign in</title></head>\n"
    b"<body><h1>Please sign in to see this picture</h1></body></html>\n"
)


class Response(Struct, frozen=True, kw_only=True):
    """One answer. The head stops where the Date is put in; `body` is what is sent, however long the head says it is."""

    head: bytes
    body: bytes = b""
    etag: bytes = b""
    unchanged_head: bytes = b""  # of a 304; empty = it has none
    delay_seconds: float = 0.0  # on top of the latency
    latency_seconds: float | None = None  # its own, in place of the origin's with its jitter
    closes: bool = False
    index: int = -1  # of its URL: decides the jitter; -1 = shared by many
    every_odd: "Response | None" = None  # stands in for this one at the first, third, fifth ... request


def plain(status: str, text: str, *, closes: bool = False, fields: str = "") -> Response:
    """A short answer in plain text."""
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n{fields}"
    return Response(head=head.encode() + (b"Connection: close\r\n" if closes else b""), body=body, closes=closes)


def content_type(content: bytes) -> str:
    """The type of a picture by its first bytes."""
    found = identify(content)
    other = OTHER_TYPES.get(found.name, "application/octet-stream")
    return f"image/{found.name}" if found.nature is Nature.ACCEPTED else other


def picture(content: bytes, *, modified: float = MADE_AT, type_name: str = "") -> Response:
    """A picture as it should be sent; its type is told by its first bytes unless `type_name` says otherwise."""
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    validators = f"ETag: {etag}\r\nLast-Modified: {formatdate(modified, usegmt=True)}\r\n"
    type_name = type_name or content_type(content)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {type_name}\r\nContent-Length: {len(content)}\r\n{validators}"
    unchanged = f"HTTP/1.1 304 Not Modified\r\n{validators}"
    return Response(head=head.encode(), body=content, etag=etag.encode(), unchanged_head=unchanged.encode())


def corrupted(content: bytes) -> bytes:
    """Overwrites a part of a picture that its decoder cannot do without; its head still looks right.

    In a JPEG the first Huffman table: a decoder only warns of damage in the scan itself. In others a stretch of the
    middle, or for WebP the head of the first partition.
    """
    damaged = bytearray(content)
    if content.startswith(b"\xff\xd8"):
        start = content.find(b"\xff\xc4") + 4
    elif content[8:12] == b"WEBP":
        start = 23
    else:
        start = len(content) // 2
    damaged[start : start + 64] = b"\xff" * len(damaged[start : start + 64])
    return bytes(damaged)


def faulty(good: Response, fault: Fault | None) -> Response:
    """The answer of a URL that misbehaves in this way."""
    if fault is Fault.NOT_FOUND:
        return plain("404 Not Found", "no such picture\n")
    if fault is Fault.TRUNCATED:
        return replace(good, body=good.body[: int(len(good.body) * TRUNCATED_SHARE)], closes=True)
    if fault is Fault.HTML:
        return picture(LOGIN_PAGE, type_name="image/jpeg")
    if fault is Fault.CORRUPT:
        return picture(corrupted(good.body))
    if fault is Fault.SLOW:
        return replace(good, delay_seconds=SLOW_SECONDS)
    if fault is Fault.UNAVAILABLE:
        return replace(good, every_odd=plain("503 Service Unavailable", "try again\n"))
    return good


def prepare(settings: OriginSettings, entries: tuple[ServedUrl, ...]) -> dict[str, Response]:
    """Makes or reads every picture: the answer of each path, unquoted.

    Raises `UsageError` when the user's pictures cannot be read or do not fit in memory.
    """
    if settings.photos:
        pictures = _photos(Path(settings.photos), entries)
    else:
        from batchproc.origin.pictures import load_pictures  # Pillow is of no use to whoever serves photos

        pictures = [picture(content) for content in load_pictures(settings.images, settings.seed)]
    return {
        unquote(entry.path): replace(
            faulty(good, entry.fault), index=entry.index, latency_seconds=settings.latencies.get(entry.path)
        )
        for entry, good in zip(entries, pictures, strict=True)
    }


def _photos(folder: Path, entries: tuple[ServedUrl, ...]) -> list[Response]:
    where = f'[origin] photos = "{folder}"'
    files = [folder / unquote(entry.path[1:]) for entry in entries]
    try:
        total = sum(file.stat().st_size for file in files)
        if total > MAX_PHOTOS_BYTES:
            most = MAX_PHOTOS_BYTES / 1e9
            message = f"holds {total / 1e9:.1f} GB of pictures; they are held in memory, {most:.0f} GB at most"
            raise UsageError([Problem(where=where, message=message)])
        return [picture(file.read_bytes(), modified=file.stat().st_mtime) for file in files]
    except OSError as error:
        message = f"cannot be read: {error.filename}: {error.strerror}"
        raise UsageError([Problem(where=where, message=message)]) from None


def index_page(base_url: str, entries: tuple[ServedUrl, ...]) -> Response:
    """The list of all URLs as text, fit to be the input of a job; the faults stand in its comments."""
    lines = [f"# {len(entries)} pictures"]
    lines += [f"# misbehaves: {entry.path} {entry.fault}" for entry in entries if entry.fault]
    lines += [base_url + entry.path for entry in entries]
    return plain("200 OK", "\n".join(lines) + "\n")
