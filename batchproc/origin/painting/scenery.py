"""What the landscapes are made of: the light of the day, skies, hills, water and trees.

All paint on a canvas of mode "RGB" whose top is sky; heights are shares of the canvas, 0 at its top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageOps

from batchproc.origin.painting.brushes import (
    BILINEAR,
    Colour,
    Picture,
    Size,
    curve,
    fade,
    fractal,
    glow,
    gradient,
    laid_flat,
    mix,
    profile,
    relief,
    ridge,
    soft_shadow,
    tinted,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """The light of a time of day: the sky from zenith to horizon, the clouds, the sun, and the shade of far things."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    cloud: Colour
    sun: Colour
    shade: Colour
    light: float  # of the ground, 0 to 1


MOODS = (
    Mood(
        zenith=(38, 92, 168), middle=(104, 156, 212), horizon=(196, 218, 234), cloud=(250, 250, 250),
        sun=(255, 250, 232), shade=(112, 142, 176), light=1.0,
    ),
    Mood(
        zenith=(44, 58, 110), middle=(196, 122, 112), horizon=(252, 196, 124), cloud=(255, 172, 120),
        sun=(255, 226, 160), shade=(146, 104, 116), light=0.72,
    ),
    Mood(
        zenith=(92, 128, 168), middle=(196, 190, 204), horizon=(248, 220, 204), cloud=(255, 236, 224),
        sun=(255, 238, 214), shade=(150, 152, 178), light=0.88,
    ),
    Mood(
        zenith=(96, 108, 122), middle=(142, 154, 166), horizon=(204, 210, 212), cloud=(226, 230, 232),
        sun=(240, 242, 240), shade=(128, 140, 150), light=0.78,
    ),
    Mood(
        zenith=(22, 30, 72), middle=(104, 66, 122), horizon=(242, 132, 104), cloud=(214, 110, 128),
        sun=(255, 190, 140), shade=(84, 66, 104), light=0.5,
    ),
)  # fmt: skip


NIGHT = Mood(
    zenith=(4, 8, 26), middle=(14, 34, 62), horizon=(38, 66, 84), cloud=(60, 70, 90),
    sun=(120, 140, 160), shade=(34, 58, 80), light=0.4,
)  # fmt: skip


def dimmed(colour: Colour, mood: Mood) -> Colour:
    """A colour of the ground in the light of the mood."""
    return mix(mix((10, 12, 26), colour, mood.light), mood.sun, 0.08 * (1 - mood.light))


def sky(rng: Random, size: Size, mood: Mood, *, horizon: float, cover: float) -> Picture:
    """A sky down to `horizon` (share of the height), `cover` (0 to 1) of it in clouds, with a sun low in it."""
    width, height = size
    bottom = max(2, round(height * horizon))
    stops = [(0.0, mood.zenith), (horizon * 0.62, mood.middle), (horizon, mood.horizon), (1.001, mood.horizon)]
    canvas = gradient(size, stops)
    sun = (round(width * rng.uniform(0.15, 0.85)), round(bottom * rng.uniform(0.55, 0.9)))
    glow(canvas, sun, round(width * 0.55), mood.sun, 190)
    glow(canvas, sun, round(width * 0.07), (255, 255, 250), 255)
    clouds = fractal(rng, (1536, 512), (24, 8), octaves=5, gain=0.62)
    field = ImageOps.flip(laid_flat(clouds, (width // 2, bottom // 2))).resize((width, bottom), BILINEAR)
    edge = 176 - 96 * cover
    body = field.point([min(255, max(0, 128 + (value - round(edge) - 40) * 3)) for value in range(256)])
    shaded = tinted(body, [mood.cloud, mood.cloud, mix(mood.cloud, mood.shade, 0.75)])
    canvas.paste(shaded, (0, 0), field.point(curve(edge, edge + 62, 232)))
    return canvas


def range_of_hills(
    rng: Random, canvas: Picture, mood: Mood, colours: Sequence[Colour], *, top: float, bottom: float, roughness: float
) -> None:
    """Paints ridge before ridge, from far (the colour of the haze) to near (the last of the colours)."""
    width, height = canvas.size
    field = relief(fractal(rng, (width, height), (20, 15), octaves=5, gain=0.56), 3.2)
    layers = 5
    for layer in range(layers):
        near = layer / (layers - 1)
        base = colours[min(len(colours) - 1, int(near * len(colours)))]
        dark, bright = dimmed(mix(base, (0, 0, 0), 0.55), mood), dimmed(mix(base, (255, 244, 214), 0.3), mood)
        haze = 0.84 * (1 - near) ** 1.2
        crest, depth = top + (bottom - top) * near, (bottom - top) / layers * (2.2 - near)
        upper = round(height * max(0.0, crest - 0.01))
        mask = ridge(rng, canvas.size, crest, crest + depth, roughness).crop((0, upper, width, height))
        ground = tinted(
            field.crop((0, upper, width, height)), [mix(dark, mood.shade, haze), mix(bright, mood.shade, haze)]
        )
        mist = fade(
            ground.size, [(0.0, 0), (min(0.99, 2 * depth), round(150 * (1 - near))), (1.0, round(150 * (1 - near)))]
        )
        ground.paste(mix(mood.horizon, mood.shade, 0.35), (0, 0), mist)
        canvas.paste(ground, (0, upper), mask)


def ripples(rng: Random, canvas: Picture, horizon: int, colour: Colour, strength: int) -> None:
    """Light on the waves below the line `horizon` px."""
    size = (canvas.width, canvas.height - horizon)
    waves = laid_flat(fractal(rng, (2048, 512), (32, 48), octaves=4, gain=0.8), size)
    canvas.paste(colour, (0, horizon), waves.point(curve(128, 205, strength)))
    canvas.paste((8, 18, 30), (0, horizon), waves.point([255 - v for v in range(256)]).point(curve(128, 205, strength)))


def conifers(rng: Random, canvas: Picture, colour: Colour, *, ground: float, tallest: float, count: int) -> None:
    """A dark edge of firs along the height `ground`."""
    width, height = canvas.size
    mask = Image.new("L", canvas.size)
    draw = ImageDraw.Draw(mask)
    line = profile(rng, 65, 0.5)
    for number in range(count):
        x = width * (number + rng.random()) / count
        foot = height * (ground + 0.05 * line[int(64 * x / width) % 65])
        tall = height * tallest * rng.uniform(0.45, 1.0)
        for tier in range(6):
            high, low = foot - tall * (1 - tier / 6.4), foot - tall * (1 - (tier + 1.9) / 6.4)
            reach = tall * 0.035 * (tier + 1.2) * rng.uniform(0.85, 1.1)
            draw.polygon([(x, high), (x + reach, low), (x - reach, low)], fill=255)
        draw.rectangle((x - 2, foot - tall * 0.2, x + 2, height), fill=255)
    crest = [(width * i / 64, height * (ground + 0.05 * value)) for i, value in enumerate(line)]
    draw.polygon([*crest, (width, height), (0, height)], fill=255)
    field = fractal(rng, canvas.size, (64, 48), octaves=3, gain=0.9)
    canvas.paste(tinted(field, [mix(colour, (0, 0, 0), 0.6), mix(colour, (200, 210, 150), 0.16)]), (0, 0), mask)


def leafy_tree(rng: Random, canvas: Picture, foot: tuple[float, float], tall: float, mood: Mood) -> None:
    """A round tree with its shadow on the ground."""
    x, y = foot
    soft_shadow(
        canvas, (round(x - tall * 0.5), round(y - tall * 0.06), round(x + tall * 0.6), round(y + tall * 0.08)), 10, 120
    )
    draw = ImageDraw.Draw(canvas)
    draw.polygon(
        [
            (x - tall * 0.04, y),
            (x + tall * 0.04, y),
            (x + tall * 0.02, y - tall * 0.5),
            (x - tall * 0.02, y - tall * 0.5),
        ],
        fill=dimmed((64, 46, 32), mood),
    )
    leaf = rng.choice(((46, 84, 32), (70, 98, 36), (150, 104, 34)))
    for number in range(160):
        high = number / 160
        angle, away = rng.random() * math.tau, math.sqrt(rng.random()) * tall * 0.34
        px, py = x + math.cos(angle) * away, y - tall * 0.62 + math.sin(angle) * away * 0.9
        reach = tall * rng.uniform(0.03, 0.075)
        light = 0.5 - 0.9 * (py - (y - tall * 0.62)) / tall + 0.25 * high
        fill = dimmed(mix(mix(leaf, (0, 0, 0), 0.5), mix(leaf, (240, 240, 150), 0.35), min(1.0, max(0.0, light))), mood)
        draw.ellipse((px - reach, py - reach, px + reach, py + reach), fill=fill)
