"""Makes the demo's pictures from a seed: crops of painted landscapes, developed and stored as by many cameras.

A few landscapes are painted, then cut, mirrored and toned again and again: a picture costs a few milliseconds. Byte for
byte the same for the same seed and Pillow.

The drawn pictures are kept between runs: drawing those of the demo takes seconds, reading them a tenth of one. A file
per seed and number of pictures in `$XDG_CACHE_HOME/batchproc` (`~/.cache/batchproc`), named by all that decides its
bytes: the code that draws and the libraries it draws with. A file that is damaged, cut short or not one of ours is made
again, and where nothing can be kept the pictures are drawn as if there were no cache. It may be deleted any time.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeAlias

from msgspec import DecodeError, Struct, msgpack
from PIL import Image, ImageChops, ImageDraw, ImageFilter, features

from batchproc.defaults import cache_folder
from batchproc.measure.processes import usable_cores
from batchproc.origin.site import Form, kinds

Colour: TypeAlias = tuple[int, int, int]
Size: TypeAlias = tuple[int, int]

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
BLACK, WHITE = (8, 10, 16), (255, 250, 236)
RELIEF = ImageFilter.Kernel((3, 3), (-2, -1, 0, -1, 0, 1, 0, 1, 2), scale=1, offset=128)
SKIES: tuple[tuple[Colour, Colour, Colour], ...] = (  # from zenith to horizon
    ((38, 92, 168), (104, 156, 212), (196, 218, 234)),
    ((44, 58, 110), (196, 122, 112), (252, 196, 124)),
    ((96, 108, 122), (142, 154, 166), (204, 210, 212)),
    ((42, 40, 92), (124, 76, 132), (242, 132, 104)),
)
ROCKS = ((118, 122, 132), (140, 118, 104), (96, 104, 96), (122, 104, 78), (64, 92, 58))
GROUNDS = (((8, 30, 52), (22, 66, 92), (80, 140, 160)), ((24, 46, 14), (92, 130, 42), (190, 198, 104)))


def fractal(rng: Random, size: Size, cells: Size, *, octaves: int, gain: float) -> Image.Image:
    """Fractal noise: `cells` lumps across and down, then `octaves` times twice as many, each `gain` times as strong."""
    field, grid, strength = _noise(rng, cells), cells, 1.0
    for _ in range(octaves):
        grid, strength = (grid[0] * 2, grid[1] * 2), strength * gain
        field = Image.blend(field.resize(grid, BICUBIC), _noise(rng, grid), strength / (1 + strength))
    return field.resize(size, BILINEAR)


def _noise(rng: Random, size: Size) -> Image.Image:
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _tinted(field: Image.Image, colours: Sequence[Colour]) -> Image.Image:
    """A field in colours: its values from 0 to 255 go evenly through them."""
    places = [value / 255 * (len(colours) - 1) for value in range(256)]
    firsts = [min(int(place), len(colours) - 2) for place in places]
    levels = (_mix(colours[at], colours[at + 1], place - at) for at, place in zip(firsts, places, strict=True))
    indexed = field.copy()
    indexed.putpalette([level for colour in levels for level in colour])
    return indexed.convert("RGB")


def _stretched(field: Image.Image, low: int, high: int) -> Image.Image:
    """A field whose values from `low` to `high` become all from 0 to 255."""
    return field.point([min(255, max(0, round(255 * (value - low) / (high - low)))) for value in range(256)])


def _ridge(rng: Random, size: Size, top: float, bottom: float) -> Image.Image:
    """The mask of all below a crest between two heights (shares of the size), made by halving."""
    line, strength = [rng.random(), rng.random()], 0.5
    while len(line) < 257:
        middles = [(a + b) / 2 + rng.uniform(-strength, strength) for a, b in pairwise(line)]
        line = [value for pair in zip(line, middles, strict=False) for value in pair] + [line[-1]]
        strength *= 0.52
    low, high = min(line), max(line)
    heights = (bottom - (bottom - top) * (value - low) / (high - low) for value in line)
    crest = [(size[0] * at / 256, size[1] * height) for at, height in enumerate(heights)]
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([*crest, size, (0, size[1])], fill=255)
    return mask.filter(ImageFilter.BoxBlur(0.7))


def paint(seed: int, number: int, size: Size) -> Image.Image:
    """Landscape `number`: clouds and a low sun, ranges in the haze, water or grass, and the grain of a film. RGB."""
    rng = Random(f"{seed}/scene/{number}")
    sky, (width, height) = rng.choice(SKIES), size
    canvas = _tinted(Image.linear_gradient("L").resize(size), sky)
    sun, reach = (round(width * rng.choice((0.2, 0.8))), round(height * 0.4)), round(width * 0.4)
    glow = Image.radial_gradient("L").point([round(255 * ((255 - v) / 255) ** 2.2) for v in range(256)])
    canvas.paste(WHITE, (sun[0] - reach, sun[1] - reach), glow.resize((2 * reach, 2 * reach)))
    clouds = fractal(rng, size, (6, 14), octaves=5, gain=0.62)
    canvas.paste(_tinted(clouds, [WHITE, WHITE, sky[1]]), (0, 0), _stretched(clouds, 120, 190))
    rocks = fractal(rng, size, (20, 15), octaves=4, gain=0.6)
    rocks = Image.blend(rocks, _stretched(rocks.filter(RELIEF), 64, 192), 0.6)
    for layer in range(4):
        base, haze, crest = rng.choice(ROCKS), 0.7 * (1 - layer / 3), 0.36 + 0.09 * layer
        ends = [_mix(_mix(base, end, 0.45), sky[2], haze) for end in (BLACK, WHITE)]
        canvas.paste(_tinted(rocks, ends), (0, 0), _ridge(rng, size, crest, crest + 0.2))
    field = _stretched(fractal(rng, size, (12, 48), octaves=4, gain=0.8), 48, 208)
    canvas.paste(_tinted(field, GROUNDS[number % 2]), (0, 0), _ridge(rng, size, 0.8, 0.82))
    grain = _noise(rng, size).point([round(122 + 12 * value / 255) for value in range(256)])
    return ImageChops.add(canvas, Image.merge("RGB", (grain, grain, grain)), offset=-128)


CANVASES = 20
CANVAS_SIZE = (1280, 960)
ORIENTATION = 0x0112  # the EXIF tag

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
    return PictureRecipe(
        kind=kind,
        size=(long_edge, round(long_edge / aspect)) if aspect >= 1 else (round(long_edge * aspect), long_edge),
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
    step = 8 if wanted.kind.startswith("png") else 1  # PNGs lose two bits per sample, or they would be too large
    gains = (1 + wanted.warmth, 1.0, 1 - wanted.warmth)
    toned = (255 * (value / 255) ** wanted.gamma * gain for gain in gains for value in range(256))
    return picture.point([min(255, round(level / step) * step) for level in toned])


def store(picture: Image.Image, wanted: PictureRecipe) -> bytes:
    """Encodes an upright RGB picture as its kind asks."""
    kind = wanted.kind
    if kind is Form.WEBP:
        return _encoded(picture, "WEBP", quality=wanted.quality, method=1)
    if kind is Form.PNG_PALETTE:
        return _encoded(picture.quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE), "PNG")
    if kind is Form.PNG_ALPHA:  # opaque in the middle, transparent in the corners
        edge = [max(0, min(255, (232 - value) * 6)) for value in range(256)]
        picture.putalpha(Image.radial_gradient("L").point(edge).resize(picture.size, BILINEAR))
    if kind.startswith("png"):
        return _encoded(picture, "PNG", compress_level=3)
    exif = Image.Exif()
    if kind.orientation > 1:
        exif[ORIENTATION] = kind.orientation
        picture = picture.transpose(STORED_AS[kind.orientation])
    mode = {Form.GREY: "L", Form.CMYK: "CMYK"}.get(kind, "RGB")
    progressive = kind is Form.PROGRESSIVE
    return _encoded(picture.convert(mode), "JPEG", quality=wanted.quality, progressive=progressive, exif=exif)


def _encoded(picture: Image.Image, format_name: str, **options: object) -> bytes:
    """Through a file with a descriptor: without one Pillow's encoders hold the GIL."""
    with tempfile.TemporaryFile(buffering=0) as file:
        picture.save(file, format_name, **options)
        file.seek(0)
        return file.read()


def make_pictures(images: int, seed: int, *, workers: int = 0) -> list[bytes]:
    """Makes the pictures, in order of index. So many threads share the work, 0 = one per usable core."""
    wanted = [recipe(seed, index, kind) for index, kind in enumerate(kinds(images, seed))]
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        cut = list(pool.map(partial(_cut_from, seed, wanted), range(min(CANVASES, images))))
    return [cut[index % CANVASES][index // CANVASES] for index in range(images)]


def _cut_from(seed: int, wanted: Sequence[PictureRecipe], number: int) -> list[bytes]:
    """Paints one canvas, and all pictures that are cut out of it."""
    canvas = paint(seed, number, CANVAS_SIZE)
    half = canvas.reduce(2)
    return [store(develop(canvas, half, one), one) for one in wanted[number::CANVASES]]


MAX_CACHE_BYTES = 300_000_000  # the demo's pictures are 34 MB; the oldest file goes first
LOCK_SECONDS = 30.0  # another process that draws the same is waited for, as it would take the cores anyway
LOCK_PAUSE_SECONDS = 0.05
ABANDONED_SECONDS = 3600.0
SUFFIX, TEMPORARY_SUFFIX = ".pictures", ".pictures.tmp"
DRAWN_BY = ("pictures.py", "site.py")
LIBRARIES = ("pil", "jpg", "libjpeg_turbo", "zlib", "webp")
DIGEST_BYTES = 16


def load_pictures(images: int, seed: int) -> list[bytes]:
    """The pictures of a seed in order of index: read where they were kept, else drawn and, if possible, kept."""
    path = cache_path(images, seed)
    if path is None:
        return make_pictures(images, seed)
    if (found := read_pictures(path, images)) is not None:
        return found
    with _one_at_a_time(path.parent):
        if (found := read_pictures(path, images)) is not None:  # another process has drawn them meanwhile
            return found
        found = make_pictures(images, seed)
        with contextlib.suppress(OSError):  # a full or read-only disk: they are drawn again next time
            _write(path, found)
            _shrink(path.parent)
        return found


def cache_path(images: int, seed: int) -> Path | None:
    """Where the pictures are kept. None: there is no home, or the code that draws cannot be read."""
    versions = [(name, features.version(name)) for name in LIBRARIES]
    decisive = repr((images, seed, versions, sys.version_info[:2], platform.machine())).encode()
    folder = cache_folder()
    try:
        code = b"".join((files("batchproc.origin") / name).read_bytes() for name in DRAWN_BY)
    except OSError:
        return None
    return folder / f"{_digest(code + decisive).hex()}{SUFFIX}" if folder else None


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def read_pictures(path: Path, images: int) -> list[bytes] | None:
    """The pictures in a file of the cache; None when it is missing, damaged, or no file of ours."""
    try:
        # O_NONBLOCK: a pipe of this name must not be waited for. O_NOFOLLOW: nor may a link lead elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_size > MAX_CACHE_BYTES:
                return None
            content = memoryview(file.read(MAX_CACHE_BYTES))
        if _digest(content[DIGEST_BYTES:]) != content[:DIGEST_BYTES]:
            return None
        found = msgpack.decode(content[DIGEST_BYTES:], type=list[bytes])
        with contextlib.suppress(OSError):
            os.utime(path)  # it was used: others go first
    except (OSError, DecodeError):
        return None
    return found if len(found) == images else None


def _write(path: Path, pictures: Sequence[bytes]) -> None:
    """Under a temporary name first: a reader sees all of it or nothing. What is larger than the cache is not kept."""
    packed = msgpack.encode(pictures)
    if DIGEST_BYTES + len(packed) > MAX_CACHE_BYTES:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=TEMPORARY_SUFFIX, delete=False) as file:
        try:
            file.writelines((_digest(packed), packed))
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
    found = [(path.lstat(), path) for path in folder.glob(f"*{SUFFIX}")]
    for facts, path in sorted(found, key=lambda entry: -entry[0].st_mtime):
        kept += facts.st_size
        if kept > MAX_CACHE_BYTES and stat.S_ISREG(facts.st_mode):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process draw while the others wait for what it keeps; after a while, or without a lock, all draw."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(folder / "lock", flags, 0o600)
            stack.callback(os.close, descriptor)
            deadline = time.monotonic() + LOCK_SECONDS
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(LOCK_PAUSE_SECONDS)
        yield
