"""Paints the landscapes from which the demo's pictures are cut: noise, gradients and soft masks, in Pillow alone.

Fields and masks are images of mode "L", canvases of mode "RGB", all (width, height) px; heights are shares of a canvas,
0 at its top. All is decided by the `random.Random` handed in.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import TypeAlias

from msgspec import Struct
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour: TypeAlias = tuple[int, int, int]
Size: TypeAlias = tuple[int, int]

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
RELIEF = ImageFilter.Kernel((3, 3), (-2, -1, 0, -1, 0, 1, 0, 1, 2), scale=1, offset=128)
BLACK, WHITE = (8, 10, 16), (255, 250, 236)
ROCKS = (((118, 122, 132), (96, 104, 96), (64, 92, 58)), ((140, 118, 104), (122, 104, 78), (78, 96, 52)))
SILKS = (((202, 44, 40), (240, 196, 70)), ((34, 78, 146), (238, 240, 240)), ((60, 122, 62), (226, 214, 120)))
PETALS = ((206, 40, 42), (236, 200, 60), (250, 240, 236), (132, 84, 178))
RAYS = ((64, 226, 150), (110, 240, 190), (150, 96, 220), (60, 160, 220))


class Mood(Struct, frozen=True, kw_only=True):
    """The light of a time of day: the sky from zenith to horizon, the clouds, and the shade of what is far."""

    sky: tuple[Colour, Colour, Colour]
    cloud: Colour
    shade: Colour
    light: float = 1.0  # of the ground, 0 to 1

    def lit(self, colour: Colour) -> Colour:
        """A colour of the ground in this light."""
        return mix(BLACK, colour, self.light)


NIGHT = Mood(sky=((4, 8, 26), (14, 34, 62), (38, 66, 84)), cloud=(60, 70, 90), shade=(34, 58, 80), light=0.4)
DAYS = (
    Mood(sky=((38, 92, 168), (104, 156, 212), (196, 218, 234)), cloud=(250, 250, 250), shade=(112, 142, 176)),
    Mood(
        sky=((44, 58, 110), (196, 122, 112), (252, 196, 124)), cloud=(255, 172, 120), shade=(146, 104, 116), light=0.7
    ),
    Mood(
        sky=((96, 108, 122), (142, 154, 166), (204, 210, 212)), cloud=(226, 230, 232), shade=(128, 140, 150), light=0.8
    ),
    Mood(sky=((42, 40, 92), (124, 76, 132), (242, 132, 104)), cloud=(214, 110, 128), shade=(84, 66, 104), light=0.6),
)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def noise(rng: Random, size: Size) -> Image.Image:
    """A field of even noise."""
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def fractal(rng: Random, size: Size, cells: Size, *, octaves: int = 4, gain: float = 0.85) -> Image.Image:
    """Fractal noise: `cells` lumps across and down, then `octaves` times twice as many, each `gain` times as strong."""
    field, grid, strength = noise(rng, cells), cells, 1.0
    for _ in range(octaves):
        grid, strength = (grid[0] * 2, grid[1] * 2), strength * gain
        field = Image.blend(field.resize(grid, BICUBIC), noise(rng, grid), strength / (1 + strength))
    return field.resize(size, BILINEAR)


def curve(low: float, high: float, top: int = 255) -> list[int]:
    """A table for `Image.point`: 0 below `low`, `top` above `high` (0 to 255), smooth between."""
    shares = [min(1.0, max(0.0, (value - low) / (high - low))) for value in range(256)]
    return [round(top * share * share * (3 - 2 * share)) for share in shares]


def tinted(field: Image.Image, colours: Sequence[Colour]) -> Image.Image:
    """A field as a canvas: its values from 0 to 255 go evenly through the colours."""
    palette: list[int] = []
    for value in range(256):
        at = value / 255 * (len(colours) - 1)
        first = min(int(at), len(colours) - 2)
        palette.extend(mix(colours[first], colours[first + 1], at - first))
    indexed = field.copy()
    indexed.putpalette(palette)
    return indexed.convert("RGB")


def downwards(size: Size, low: int = 0, high: int = 255) -> Image.Image:
    """A field that goes evenly from `low` at its top to `high` at its bottom."""
    return Image.linear_gradient("L").point([round(low + (high - low) * v / 255) for v in range(256)]).resize(size)


def laid_flat(field: Image.Image, size: Size, nearness: float = 0.14) -> Image.Image:
    """Lays a field down as ground: all of its width at the horizon on top, the share `nearness` of it at the bottom."""
    steep, scale = (1 / nearness - 1) / size[1], field.width / size[0]
    columns = (scale, field.width / 2 * steep, 0.0)
    rows = (0.0, -field.height * nearness * steep / (1 - nearness), field.height - 1.0)
    return field.transform(size, Image.Transform.PERSPECTIVE, (*columns, *rows, 0.0, steep), BILINEAR)


def glow(canvas: Image.Image, centre: Size, radius: int, colour: Colour, strength: int = 255) -> None:
    """Adds a round light that fades outwards."""
    mask = Image.radial_gradient("L").point([round(strength * ((255 - v) / 255) ** 2.2) for v in range(256)])
    mask = mask.resize((radius * 2, radius * 2), BILINEAR)
    canvas.paste(colour, (centre[0] - radius, centre[1] - radius), mask)


def ridge(rng: Random, size: Size, top: float, bottom: float, roughness: float) -> Image.Image:
    """The mask of all below a crest between two heights, made by halving: each level `roughness` times as rough."""
    line, strength = [rng.random(), rng.random()], 0.5
    while len(line) < 257:
        middles = [(a + b) / 2 + rng.uniform(-strength, strength) for a, b in pairwise(line)]
        line = [value for pair in zip(line, middles, strict=False) for value in pair] + [line[-1]]
        strength *= roughness
    low, high = min(line), max(line)
    heights = [bottom - (bottom - top) * (value - low) / (high - low) for value in line]
    crest = [(size[0] * at / 256, size[1] * height) for at, height in enumerate(heights)]
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([*crest, size, (0, size[1])], fill=255)
    return mask.filter(ImageFilter.BoxBlur(0.7))


def sky(rng: Random, size: Size, mood: Mood, horizon: float) -> Image.Image:
    """A sky down to the horizon, with clouds and a low sun."""
    width, bottom = size[0], max(2, round(size[1] * horizon))
    canvas = Image.new("RGB", size, mood.sky[2])
    canvas.paste(tinted(downwards((width, bottom)), mood.sky), (0, 0))
    sun = (round(width * rng.uniform(0.15, 0.85)), round(bottom * rng.uniform(0.55, 0.9)))
    glow(canvas, sun, round(width * 0.55), WHITE, 190)
    glow(canvas, sun, round(width * 0.07), WHITE)
    flat = laid_flat(fractal(rng, (1536, 512), (24, 8), octaves=5, gain=0.62), (width // 2, max(1, bottom // 2)))
    field, edge = ImageOps.flip(flat).resize((width, bottom), BILINEAR), rng.randint(100, 140)
    shaded = tinted(field.point(curve(edge, 255)), [mood.cloud, mood.cloud, mix(mood.cloud, mood.shade, 0.75)])
    canvas.paste(shaded, (0, 0), field.point(curve(edge, edge + 62, 232)))
    return canvas


def hills(rng: Random, canvas: Image.Image, mood: Mood, top: float, bottom: float, roughness: float) -> None:
    """Ridge before ridge, from far (the colour of the haze) to near."""
    field = fractal(rng, canvas.size, (20, 15), octaves=5, gain=0.56)
    lit = Image.blend(field, field.filter(RELIEF).point([min(255, max(0, 4 * v - 384)) for v in range(256)]), 0.6)
    for layer, base in enumerate((rocks := rng.choice(ROCKS))[:1] + rocks):
        crest, haze = top + (bottom - top) * layer / 3, 0.75 * (1 - layer / 3)
        ends = [mood.lit(mix(base, end, 0.45)) for end in (BLACK, WHITE)]
        mask = ridge(rng, canvas.size, crest, crest + (bottom - top) * 0.4, roughness)
        canvas.paste(tinted(lit, [mix(end, mood.shade, haze) for end in ends]), (0, 0), mask)


def firs(rng: Random, canvas: Image.Image, mood: Mood, ground: float) -> None:
    """A dark edge of firs along the height `ground`."""
    width, height = canvas.size
    mask = ridge(rng, canvas.size, ground, ground + 0.05, 0.5)
    draw = ImageDraw.Draw(mask)
    for _ in range(56):
        x, foot, tall = width * rng.random(), height * (ground + 0.05), height * rng.uniform(0.08, 0.22)
        for tier in range(6):
            high, reach = foot - tall * (1 - tier / 6.4), tall * 0.035 * (tier + 1.2) * rng.uniform(0.85, 1.1)
            draw.polygon([(x, high), (x + reach, high + tall * 0.3), (x - reach, high + tall * 0.3)], fill=255)
    needles = fractal(rng, canvas.size, (64, 48), octaves=3)
    canvas.paste(tinted(needles, [mood.lit((12, 22, 16)), mood.lit((66, 90, 62))]), (0, 0), mask)


def ground(
    rng: Random, canvas: Image.Image, mood: Mood, horizon: float, cells: Size, colours: Sequence[Colour]
) -> None:
    """Water, grass or sand below the horizon: flat noise in the colours given, hazy where it is far."""
    top = round(canvas.height * horizon)
    size = (canvas.width, canvas.height - top)
    field = laid_flat(fractal(rng, (2048, 512), cells), size)
    near = tinted(field.point(curve(64, 192)), [mood.lit(colour) for colour in colours])
    far = Image.new("RGB", size, mix(mood.sky[2], mood.lit(colours[1]), 0.5))
    canvas.paste(Image.composite(near, far, downwards(size, 60, 400).point(lambda v: min(255, v))), (0, top))


def mountains(rng: Random, size: Size, mood: Mood) -> Image.Image:
    """Ranges in the haze behind a wood."""
    canvas = sky(rng, size, mood, 0.62)
    hills(rng, canvas, mood, 0.3, 0.74, 0.56)
    firs(rng, canvas, mood, 0.86)
    return canvas


def sea(rng: Random, size: Size, mood: Mood) -> Image.Image:
    """Open water under clouds."""
    horizon = rng.uniform(0.5, 0.6)
    canvas = sky(rng, size, mood, horizon)
    ground(rng, canvas, mood, horizon, (32, 48), ((8, 30, 52), (22, 66, 92), mix(mood.sky[2], (40, 96, 120), 0.5)))
    return canvas


def meadow(rng: Random, size: Size, mood: Mood) -> Image.Image:
    """Flowers before hills."""
    canvas = sky(rng, size, mood, 0.55)
    hills(rng, canvas, mood, 0.4, 0.52, 0.4)
    ground(rng, canvas, mood, 0.58, (128, 24), ((24, 46, 14), (92, 130, 42), (190, 198, 104)))
    draw, petals = ImageDraw.Draw(canvas), rng.sample(PETALS, 2)
    for near in sorted(rng.random() ** 2 for _ in range(1500)):
        x, y, reach = size[0] * rng.random(), size[1] * (0.62 + 0.4 * near), 1 + 0.008 * size[1] * near
        draw.ellipse((x - reach, y - reach * 0.7, x + reach, y + reach * 0.7), fill=mood.lit(rng.choice(petals)))
    return canvas


def balloons(rng: Random, size: Size, mood: Mood) -> Image.Image:
    """Hot-air balloons over hills."""
    canvas = sky(rng, size, mood, 0.75)
    hills(rng, canvas, mood, 0.62, 0.86, 0.44)
    draw = ImageDraw.Draw(canvas)
    for reach in sorted(size[1] * rng.uniform(0.03, 0.13) for _ in range(6)):
        x, y, silk = size[0] * rng.random(), size[1] * rng.uniform(0.12, 0.55), rng.choice(SILKS)
        draw.polygon(
            [(x - reach * 0.7, y + reach * 0.7), (x + reach * 0.7, y + reach * 0.7), (x, y + reach * 1.5)], silk[0]
        )
        for strip in range(7):
            across = reach * math.cos(strip * math.pi / 14)
            draw.ellipse((x - across, y - reach, x + across, y + reach), fill=mood.lit(silk[strip % 2]))
        draw.rectangle((x - reach * 0.15, y + reach * 1.4, x + reach * 0.15, y + reach * 1.6), fill=(70, 48, 30))
    return canvas


def night(rng: Random, size: Size, _mood: Mood) -> Image.Image:
    """Stars and northern lights over a dark wood."""
    canvas = tinted(downwards(size), NIGHT.sky)
    for colour in rng.sample(RAYS, 3):
        rays = (
            fractal(rng, (size[0], 8), (14, 1), octaves=3, gain=0.5).resize(size, BILINEAR).point(curve(60, 215, 205))
        )
        veil = ImageOps.invert(
            ridge(rng, (size[0] // 4, size[1] // 4), 0.2, 0.55, 0.4).filter(ImageFilter.BoxBlur((2, 22)))
        )
        canvas.paste(colour, (0, 0), ImageChops.multiply(veil.resize(size, BILINEAR), rays))
    draw = ImageDraw.Draw(canvas)
    for _ in range(700):
        x, y, bright = rng.random() * size[0], rng.random() * size[1] * 0.8, rng.randint(110, 255)
        draw.ellipse((x - 0.7, y - 0.7, x + 0.7, y + 0.7), fill=(bright, bright, bright))
    hills(rng, canvas, NIGHT, 0.62, 0.85, 0.55)
    firs(rng, canvas, NIGHT, 0.9)
    return canvas


PAINTERS: tuple[Callable[[Random, Size, Mood], Image.Image], ...] = (mountains, sea, balloons, meadow, night)


def paint(seed: int, number: int, size: Size) -> Image.Image:
    """Canvas `number`, the same for the same seed: painters take turns, and each leaves the grain of a film."""
    rng = Random(f"{seed}/scene/{number}")
    canvas = PAINTERS[number % len(PAINTERS)](rng, size, rng.choice(DAYS))
    grain = noise(rng, size).point([round(122 + 12 * value / 255) for value in range(256)])
    return ImageChops.add(canvas, Image.merge("RGB", (grain, grain, grain)), offset=-128)
