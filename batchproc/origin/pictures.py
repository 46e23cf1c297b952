"""Makes the demo's pictures from a seed: crops of painted canvases, developed and stored in the manner of many cameras.

A few canvases are painted, then cut, mirrored and toned again and again: a picture costs a few milliseconds. Byte for
byte the same for the same seed and Pillow.

The drawn pictures are kept between runs: drawing those of the demo takes seconds, reading them a tenth of one. A file
per seed and number of pictures in `$XDG_CACHE_HOME/batchproc` (`~/.cache/batchproc`), named by all that decides its
bytes: the code that draws and the libraries it draws with. A file that is damaged, cut short or not one of ours is made
again, and where nothing can be kept the pictures are drawn as if there were no cache. It may be deleted any time.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import platform
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from msgspec import Struct
from PIL import Image, features

from batchproc.defaults import cache_folder
from batchproc.measure.hardware import usable_cores
from batchproc.origin.painting import Size, paint
from batchproc.origin.site import Form, kinds

CANVASES = 20
CANVAS_SIZE = (1280, 960)
ORIENTATION = 0x0112  # the EXIF tag
BILINEAR = Image.Resampling.BILINEAR

# The long edge in px and how often it is met. Sizes above the canvas cost most: they are enlarged.
LONG_EDGES = {640: 14, 800: 14, 960: 12, 1024: 16, 1200: 15, 1280: 18, 1440: 3, 1600: 4, 2048: 2, 2400: 2}
ASPECTS = {3 / 2: 40, 4 / 3: 30, 16 / 9: 10, 1.0: 6, 3 / 4: 8, 2 / 3: 6}

# What undoes each EXIF orientation is done by the viewer; the stored pixels have the reverse of it.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class PictureRecipe(Struct, frozen=True, kw_only=True):
    """How one picture is made from its canvas: what part, at which size (upright, px), stored how."""

    index: int
    kind: Form
    size: Size
    zoom: float  # share of the canvas that is seen, along the edge that binds
    across: float  # place of the part, 0 (left) to 1
    down: float
    mirrored: bool
    gamma: float
    warmth: float  # red over blue
    quality: int


def recipe(seed: int, index: int, kind: Form) -> PictureRecipe:
    """The recipe of one picture: decided by seed, index and kind."""
    rng = Random(f"{seed}/picture/{index}")
    long_edge = rng.choices(list(LONG_EDGES), list(LONG_EDGES.values()))[0]
    aspect = rng.choices(list(ASPECTS), list(ASPECTS.values()))[0]
    if kind is Form.PANORAMA:
        long_edge, aspect = 2400, 3.4
    elif kind.startswith("png"):
        long_edge = 640
    elif kind is Form.WEBP:
        long_edge = min(long_edge, 1024)
    if aspect <= 1:  # not taller than the canvas: enlarging costs more than all the rest
        long_edge = min(long_edge, CANVAS_SIZE[1])
    size = (long_edge, round(long_edge / aspect)) if aspect >= 1 else (round(long_edge * aspect), long_edge)
    return PictureRecipe(
        index=index,
        kind=kind,
        size=size,
        zoom=rng.uniform(0.8, 1.0),
        across=rng.random(),
        down=rng.uniform(0.3, 0.8),
        mirrored=rng.random() < 0.5,
        gamma=rng.uniform(0.82, 1.2),
        warmth=rng.uniform(-0.06, 0.06),
        quality=rng.choice((78, 80, 82, 85, 88)),
    )


def develop(canvas: Image.Image, half: Image.Image, wanted: PictureRecipe) -> Image.Image:
    """Cuts, mirrors and tones one picture out of a canvas, upright, in RGB. `half` is the canvas at half its size."""
    source = half if max(wanted.size) <= half.width else canvas
    width, height = wanted.size
    scale = min(source.width / width, source.height / height)
    if scale > 1:  # cut as it is when that shows most of the canvas, else shrink by little
        scale = max(1.0, scale * wanted.zoom)
    scale = 1.0 if 1.0 <= scale < 1.5 else scale
    seen = (width * scale, height * scale)
    left, upper = (source.width - seen[0]) * wanted.across, (source.height - seen[1]) * wanted.down
    if scale == 1.0:
        left, upper = int(left), int(upper)
        picture = source.crop((left, upper, left + width, upper + height))
    else:
        picture = source.resize(wanted.size, BILINEAR, (left, upper, left + seen[0], upper + seen[1]))
    if wanted.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture.point(_tones(wanted))


def _tones(wanted: PictureRecipe) -> list[int]:
    """The tables of the three bands, one after the other. PNGs lose two bits per sample, or they would be too large."""
    step = 8 if wanted.kind.startswith("png") else 1
    table = []
    for gain in (1 + wanted.warmth, 1.0, 1 - wanted.warmth):
        for value in range(256):
            toned = 255 * (value / 255) ** wanted.gamma * gain
            table.append(min(255, round(toned / step) * step))
    return table


def store(picture: Image.Image, wanted: PictureRecipe) -> bytes:
    """Encodes an upright RGB picture as its kind asks."""
    kind = wanted.kind
    if kind is Form.WEBP:
        return _encoded(picture, "WEBP", quality=wanted.quality, method=1)
    if kind is Form.PNG:
        return _encoded(picture, "PNG", compress_level=3)
    if kind is Form.PNG_PALETTE:
        return _encoded(picture.quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE), "PNG")
    if kind is Form.PNG_ALPHA:
        picture.putalpha(_vignette(picture.size))
        return _encoded(picture, "PNG", compress_level=3)
    if kind is Form.GREY:
        picture = picture.convert("L")
    elif kind is Form.CMYK:
        picture = picture.convert("CMYK")
    if kind.orientation == 1:
        return _encoded(picture, "JPEG", quality=wanted.quality, progressive=kind is Form.PROGRESSIVE)
    exif = Image.Exif()
    exif[ORIENTATION] = kind.orientation
    return _encoded(picture.transpose(STORED_AS[kind.orientation]), "JPEG", quality=wanted.quality, exif=exif)


def _encoded(picture: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def _vignette(size: Size) -> Image.Image:
    """Opaque in the middle, transparent in the corners."""
    edge = [max(0, min(255, (232 - value) * 6)) for value in range(256)]
    return Image.radial_gradient("L").point(edge).resize(size, BILINEAR)


class CanvasJob(Struct, frozen=True, kw_only=True):
    """One canvas and the pictures that are cut out of it."""

    seed: int
    canvas: int
    recipes: tuple[PictureRecipe, ...]

    def make(self) -> list[tuple[int, bytes]]:
        """Paints, cuts and encodes: index and content of each picture."""
        canvas = paint(self.seed, self.canvas, CANVAS_SIZE)
        half = canvas.reduce(2)
        return [(wanted.index, store(develop(canvas, half, wanted), wanted)) for wanted in self.recipes]


def make_pictures(images: int, seed: int, *, workers: int = 0) -> list[bytes]:
    """Makes the pictures, in order of index. `workers` processes share the work, 0 = one per usable core.

    Threads would not do: Pillow holds the GIL while it encodes a JPEG into memory. Call it before starting any.
    """
    recipes = [recipe(seed, index, kind) for index, kind in enumerate(kinds(images, seed))]
    jobs = [CanvasJob(seed=seed, canvas=number, recipes=tuple(recipes[number::CANVASES])) for number in range(CANVASES)]
    jobs = [job for job in jobs if job.recipes]
    workers = min(workers or usable_cores(), len(jobs))
    made = [pair for job in jobs for pair in job.make()] if workers == 1 else _made_by_processes(jobs, workers)
    if len(made) != images:
        raise RuntimeError(f"made {len(made)} pictures of {images}: a process that makes them died")
    return [content for _, content in sorted(made)]


def _made_by_processes(jobs: Sequence[CanvasJob], workers: int) -> list[tuple[int, bytes]]:
    """Each worker takes the next job from a pipe that holds their numbers, a byte each: no lock to be left held.

    A worker whose parent is gone fails at its next result, so none is left behind.
    """
    context = get_context("fork") if sys.platform == "linux" else get_context("spawn")
    tokens, fill = context.Pipe(duplex=False)
    os.write(fill.fileno(), bytes(range(len(jobs))))
    fill.close()
    running = []
    for _ in range(workers):
        results, answer = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(tokens, answer, jobs), daemon=True)
        process.start()
        answer.close()
        running.append((process, results))
    tokens.close()
    made: list[tuple[int, bytes]] = []
    open_pipes = [results for _, results in running]
    while open_pipes:
        spoken = wait(open_pipes)
        for results in [pipe for pipe in open_pipes if pipe in spoken]:
            try:
                made.extend(results.recv())
            except EOFError:
                open_pipes.remove(results)
    for process, results in running:
        process.join()
        results.close()
    return made


def _work(tokens: Connection, answer: Connection, jobs: Sequence[CanvasJob]) -> None:
    signal.set_wakeup_fd(-1)  # the parent's
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(BrokenPipeError):
        while token := os.read(tokens.fileno(), 1):
            answer.send(jobs[token[0]].make())


MAX_CACHE_BYTES = 300_000_000  # the demo's pictures are 34 MB; the oldest file goes first
MAX_HEAD_BYTES = 100_000
LOCK_SECONDS = 30.0  # another process that draws the same is waited for, as it would take the cores anyway
LOCK_PAUSE_SECONDS = 0.05
ABANDONED_SECONDS = 3600.0
SUFFIX, TEMPORARY_SUFFIX = ".pictures", ".pictures.tmp"
DRAWN_BY = ("painting.py", "pictures.py", "site.py")
LIBRARIES = ("pil", "jpg", "libjpeg_turbo", "zlib", "webp")


def load_pictures(images: int, seed: int) -> list[bytes]:
    """The pictures of a seed in order of index: read where they were kept, else drawn and, if possible, kept."""
    path = cache_path(images, seed)
    if path is None:
        return make_pictures(images, seed)
    found = read_pictures(path, images)
    if found is None:
        with _one_at_a_time(path.parent):
            found = read_pictures(path, images)  # another process may have drawn them meanwhile
            if found is None:
                found = make_pictures(images, seed)
                with contextlib.suppress(OSError):  # a full or read-only disk: they are drawn again next time
                    _write(path, found)
                    _shrink(path.parent)
    return found


def cache_path(images: int, seed: int) -> Path | None:
    """Where the pictures are kept. None: there is no home, or the code that draws cannot be read."""
    folder = cache_folder()
    try:
        return folder / f"{_fingerprint(images, seed)}{SUFFIX}" if folder else None
    except OSError:
        return None


def _fingerprint(images: int, seed: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in DRAWN_BY:
        digest.update((files("batchproc.origin") / name).read_bytes())
    versions = [(name, features.version(name)) for name in LIBRARIES]
    digest.update(repr((images, seed, versions, sys.version_info[:2], platform.machine())).encode())
    return digest.hexdigest()


def read_pictures(path: Path, images: int) -> list[bytes] | None:
    """The pictures in a file of the cache; None when it is missing, damaged, or no file of ours."""
    try:
        # O_NONBLOCK: a pipe of this name must not be waited for. O_NOFOLLOW: nor may a link lead elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_size > MAX_CACHE_BYTES:
                return None
            head = json.loads(file.readline(MAX_HEAD_BYTES))
            sizes = [size for size in head["sizes"] if 0 <= size <= facts.st_size]  # or memory runs out
            found = [file.read(size) for size in sizes]
            if len(found) != images or file.read(1) or _digest(found) != head["digest"]:
                return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it was used: others go first
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    return found


def _digest(pictures: Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for content in pictures:
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def _write(path: Path, pictures: Sequence[bytes]) -> None:
    """Under a temporary name first: a reader sees all of it or nothing. What is larger than the cache is not kept."""
    head = json.dumps({"sizes": [len(content) for content in pictures], "digest": _digest(pictures)}).encode()
    if sum(map(len, pictures)) + len(head) + 1 > MAX_CACHE_BYTES or len(head) >= MAX_HEAD_BYTES:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=TEMPORARY_SUFFIX, delete=False) as file:
        try:
            file.writelines((head, b"\n", *pictures))
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _shrink(folder: Path) -> None:
    """Removes what was used longest ago until the rest is small enough, and what killed processes left."""
    now, kept = time.time(), 0
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        if now - path.lstat().st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)
    for facts, path in sorted(((path.lstat(), path) for path in folder.glob(f"*{SUFFIX}")), key=_age):
        kept += facts.st_size
        if kept > MAX_CACHE_BYTES and stat.S_ISREG(facts.st_mode):
            path.unlink(missing_ok=True)


def _age(entry: tuple[os.stat_result, Path]) -> float:
    return -entry[0].st_mtime


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process draw while the others wait for what it keeps; after a while, or without a lock, all draw."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(folder / "lock", flags, 0o600)
            stack.callback(os.close, descriptor)
            _lock(descriptor)
        yield


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_PAUSE_SECONDS)
