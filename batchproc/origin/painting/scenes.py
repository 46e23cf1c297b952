"""The landscapes of the demo: each painter fills one canvas, with the sky above and the ground below.

A painter is a function `(Random, size) -> RGB canvas`; `PAINTERS` is the list of them. Colours are chosen from a few
moods, so that two canvases by one painter look like two places.
"""

from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from batchproc.origin.painting.brushes import (
    BILINEAR,
    Colour,
    Picture,
    Size,
    crest_line,
    curve,
    fade,
    fractal,
    glow,
    gradient,
    grained,
    laid_flat,
    mix,
    polygon,
    relief,
    ridge,
    tinted,
)
from batchproc.origin.painting.objects import balloon, disc, fruit, sail_boat, tower
from batchproc.origin.painting.scenery import MOODS, NIGHT, conifers, dimmed, leafy_tree, range_of_hills, ripples, sky

ROCKS: tuple[tuple[Colour, ...], ...] = (
    ((118, 122, 132), (96, 104, 96), (64, 92, 58)),
    ((140, 118, 104), (122, 104, 78), (78, 96, 52)),
    ((126, 132, 142), (88, 112, 96), (52, 84, 62)),
)


def mountains(rng: Random, size: Size) -> Picture:
    """Ranges in the haze behind a wood."""
    mood = rng.choice(MOODS)
    canvas = sky(rng, size, mood, horizon=0.62, cover=rng.uniform(0.35, 0.8))
    range_of_hills(rng, canvas, mood, rng.choice(ROCKS), top=0.3, bottom=0.74, roughness=0.56)
    conifers(rng, canvas, dimmed((34, 58, 38), mood), ground=0.86, tallest=0.2, count=46)
    return canvas


def lake(rng: Random, size: Size) -> Picture:
    """Mountains mirrored in water."""
    width, height = size
    mood = rng.choice(MOODS)
    shore = round(height * rng.uniform(0.55, 0.64))
    upper = sky(rng, (width, shore), mood, horizon=0.9, cover=rng.uniform(0.3, 0.7))
    range_of_hills(rng, upper, mood, rng.choice(ROCKS), top=0.28, bottom=0.86, roughness=0.54)
    conifers(rng, upper, dimmed((30, 52, 36), mood), ground=0.93, tallest=0.13, count=90)
    mirror = ImageOps.flip(upper).resize((width, height - shore), BILINEAR).filter(ImageFilter.BoxBlur((1, 7)))
    canvas = Image.new("RGB", size)
    canvas.paste(upper, (0, 0))
    canvas.paste(Image.blend(mirror, Image.new("RGB", mirror.size, dimmed((26, 58, 74), mood)), 0.3), (0, shore))
    ripples(rng, canvas, shore, mix(mood.horizon, (255, 255, 255), 0.3), 90)
    return canvas


def sea(rng: Random, size: Size) -> Picture:
    """Open water under clouds, with a sail."""
    width, height = size
    mood = rng.choice(MOODS)
    horizon = round(height * rng.uniform(0.48, 0.62))
    canvas = sky(rng, size, mood, horizon=horizon / height, cover=rng.uniform(0.35, 0.85))
    far, near = mix(mood.horizon, (40, 96, 120), 0.55), dimmed((14, 56, 82), mood)
    canvas.paste(
        gradient((width, height - horizon), [(0.0, far), (0.35, mix(far, near, 0.7)), (1.01, near)]), (0, horizon)
    )
    ripples(rng, canvas, horizon, mix(mood.sun, mood.horizon, 0.4), 170)
    for _ in range(rng.randint(1, 3)):
        sail_boat(canvas, (width * rng.uniform(0.15, 0.85), horizon), height * rng.uniform(0.06, 0.16), mood)
    return canvas


def dunes(rng: Random, size: Size) -> Picture:
    """Sand, with ripples of the wind, each crest lit on one side."""
    width, height = size
    mood = rng.choice(MOODS[:3])
    canvas = sky(rng, size, mood, horizon=0.5, cover=rng.uniform(0.1, 0.4))
    sand = rng.choice(((222, 170, 108), (206, 144, 92), (226, 190, 140)))
    wind = relief(laid_flat(fractal(rng, (2048, 512), (24, 64), octaves=3, gain=0.6), size, 0.2), 1.4)
    for layer in range(5):
        near = layer / 4
        colour = mix(mood.shade, sand, 0.45 + 0.55 * near)
        sunlit = [dimmed(mix(colour, (96, 50, 30), 0.25), mood), dimmed(mix(colour, (255, 238, 206), 0.4), mood)]
        crest = 0.4 + 0.42 * near
        aside = round(width * 0.1)
        wide = ridge(rng, (width + aside, height), crest, crest + 0.2, 0.4)
        mask = wide.crop((0, 0, width, height))
        lee = wide.crop((aside, -round(height * (0.015 + 0.02 * near)), width + aside, height)).crop(
            (0, 0, width, height)
        )
        shadow = ImageChops.subtract(mask, lee).filter(ImageFilter.BoxBlur(5)).point([v * 3 // 5 for v in range(256)])
        texture = tinted(wind, sunlit)
        texture.paste(dimmed(mix(colour, (54, 26, 34), 0.62), mood), (0, 0), shadow)
        canvas.paste(texture, (0, 0), mask)
    return canvas


def night(rng: Random, size: Size) -> Picture:
    """Stars and northern lights over a dark wood."""
    width, height = size
    canvas = gradient(size, [(0.0, (4, 8, 26)), (0.6, (14, 34, 62)), (1.0, (38, 66, 84))])
    fading = fade(size, [(0.0, 50), (0.4, 225), (1.0, 225)])
    for colour in rng.sample([(64, 226, 150), (110, 240, 190), (150, 96, 220), (60, 160, 220)], 3):
        rays = fractal(rng, (width, 8), (14, 1), octaves=3, gain=0.5).resize(size, BILINEAR).point(curve(60, 215, 205))
        line = [(x, height * (0.52 - 0.3 * value)) for x, value in crest_line(rng, width, 0.4)]
        above = polygon(size, [*line, (width, 0), (0, 0)]).resize((width // 4, height // 4), BILINEAR)
        veil = above.filter(ImageFilter.BoxBlur((2, 22))).resize(size, BILINEAR)
        canvas.paste(colour, (0, 0), ImageChops.multiply(ImageChops.multiply(veil, rays), fading))
    draw = ImageDraw.Draw(canvas)
    for _ in range(700):
        x, y, bright = rng.random() * width, rng.random() ** 1.3 * height * 0.8, rng.randint(110, 255)
        reach = 0.6 if rng.random() < 0.9 else 1.6
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(bright, bright, min(255, bright + 20)))
    range_of_hills(rng, canvas, NIGHT, ((40, 50, 72), (22, 34, 46)), top=0.62, bottom=0.85, roughness=0.55)
    conifers(rng, canvas, (10, 18, 20), ground=0.9, tallest=0.26, count=36)
    return canvas


def city(rng: Random, size: Size) -> Picture:
    """Towers at dusk, some windows lit."""
    width, height = size
    mood = rng.choice((MOODS[1], MOODS[4], MOODS[2], MOODS[0]))
    canvas = sky(rng, size, mood, horizon=0.86, cover=rng.uniform(0.3, 0.6))
    draw = ImageDraw.Draw(canvas)
    for layer in range(3):
        wall = mix(mood.shade, dimmed(rng.choice(((62, 66, 82), (86, 74, 72), (70, 80, 84))), mood), 0.3 + 0.35 * layer)
        x = -rng.random() * 60
        while x < width:
            wide = width * rng.uniform(0.045, 0.1)
            roof = height * (rng.uniform(0.2, 0.55) + 0.11 * layer)
            tower(rng, draw, (x, roof, x + wide, height), mix(wall, (20, 20, 30), rng.random() * 0.3), mood)
            x += wide + rng.choice((0, 0, width * 0.02))
    street = gradient((width, height // 9), [(0.0, mix(mood.horizon, (40, 40, 52), 0.72)), (1.0, (24, 24, 32))])
    canvas.paste(street, (0, height - height // 9))
    for _ in range(60):
        place = (round(rng.random() * width), round(height * rng.uniform(0.9, 0.97)))
        glow(canvas, place, rng.randint(14, 40), rng.choice(((255, 206, 120), (255, 240, 210), (255, 90, 70))), 230)
    return canvas


def meadow(rng: Random, size: Size) -> Picture:
    """A field of flowers with trees on the rise."""
    width, height = size
    mood = rng.choice(MOODS[:3])
    canvas = sky(rng, size, mood, horizon=0.55, cover=rng.uniform(0.4, 0.75))
    range_of_hills(rng, canvas, mood, ((96, 118, 92), (92, 128, 66)), top=0.42, bottom=0.55, roughness=0.4)
    field = relief(laid_flat(fractal(rng, (2048, 512), (128, 24), octaves=4, gain=0.9), size), 0.9)
    grass = tinted(field, [dimmed(shade, mood) for shade in ((24, 46, 14), (92, 130, 42), (190, 198, 104))])
    canvas.paste(grass, (0, 0), ridge(rng, size, 0.56, 0.64, 0.3))
    for _ in range(rng.randint(2, 4)):
        leafy_tree(rng, canvas, (width * rng.random(), height * 0.66), height * rng.uniform(0.12, 0.24), mood)
    draw = ImageDraw.Draw(canvas)
    petals = rng.choice(
        (((206, 40, 42), (230, 84, 60)), ((236, 200, 60), (250, 240, 236)), ((132, 84, 178), (190, 130, 200)))
    )
    for number in range(1500):
        near = (number / 1500) ** 2
        x, y, reach = rng.random() * width, height * (0.67 + 0.36 * near * rng.uniform(0.9, 1.1)), 1.2 + 8 * near
        draw.ellipse((x - reach, y - reach * 0.7, x + reach, y + reach * 0.7), fill=dimmed(rng.choice(petals), mood))
    return canvas


def forest(rng: Random, size: Size) -> Picture:
    """Trunks in the mist, the light from above."""
    width, height = size
    fog, dark, floor = rng.choice((
        ((206, 222, 208), (28, 40, 32), (92, 104, 48)),
        ((236, 214, 176), (46, 34, 26), (148, 92, 40)),
        ((190, 206, 220), (26, 34, 44), (74, 88, 70)),
    ))  # fmt: skip
    canvas = gradient(size, [(0.0, mix(fog, (255, 255, 240), 0.5)), (0.6, fog), (1.0, mix(fog, floor, 0.6))])
    glow(canvas, (round(width * rng.uniform(0.3, 0.7)), round(height * 0.15)), width // 2, (255, 252, 226), 220)
    bark = fractal(rng, size, (160, 10), octaves=3, gain=0.9)
    leaves = fractal(rng, size, (36, 27), octaves=4, gain=0.85)
    ground = laid_flat(fractal(rng, (2048, 512), (96, 24), octaves=4, gain=0.9), size)
    for layer in range(4):
        near = layer / 3
        tone = mix(mix(fog, dark, 0.3), dark, near)
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        base = height * (0.66 + 0.16 * near)
        for _ in range(15 - 3 * layer):
            x, thick, lean = (
                rng.random() * width,
                width * (0.006 + 0.014 * near) * rng.uniform(0.7, 1.4),
                rng.uniform(-20, 20),
            )
            draw.polygon(
                [(x + lean - thick * 0.6, 0), (x + lean + thick * 0.6, 0), (x + thick, base), (x - thick, base)],
                fill=255,
            )
        canvas.paste(
            tinted(bark, [mix(tone, (0, 0, 0), 0.35), mix(tone, fog, 0.3)]), (0, 0), mask.filter(ImageFilter.BoxBlur(1))
        )
        crown = fade(size, [(0.0, 255), (0.5 - 0.1 * near, 0), (1.0, 0)])
        foliage = ImageChops.multiply(
            ImageChops.offset(leaves, rng.randrange(width), 0).point(curve(118, 150)), crown.point(curve(30, 160))
        )
        canvas.paste(mix(mix(floor, dark, 0.35 + 0.3 * near), fog, 0.55 * (1 - near)), (0, 0), foliage)
        soil = tinted(
            ground,
            [
                mix(dark, fog, 0.5 * (1 - near)),
                mix(floor, fog, 0.5 * (1 - near)),
                mix(mix(floor, (255, 240, 180), 0.3), fog, 0.5 * (1 - near)),
            ],
        )
        canvas.paste(soil, (0, 0), ridge(rng, size, base / height - 0.03, base / height + 0.02, 0.4))
    return canvas


def still_life(rng: Random, size: Size) -> Picture:
    """Fruit on a table before lights out of focus."""
    width, height = size
    wall = rng.choice(((40, 54, 64), (70, 48, 44), (48, 62, 48)))
    canvas = gradient(size, [(0.0, mix(wall, (0, 0, 0), 0.35)), (0.7, mix(wall, (255, 236, 200), 0.25)), (1.01, wall)])
    for _ in range(38):
        place = (round(rng.random() * width), round(rng.random() * height * 0.6))
        disc(
            canvas,
            place,
            rng.randint(18, 74),
            rng.choice(((255, 196, 104), (255, 232, 190), (222, 120, 96), (150, 190, 200))),
            rng.randint(28, 90),
        )
    table = round(height * 0.62)
    wood = laid_flat(fractal(rng, (2048, 256), (192, 4), octaves=3, gain=0.8), (width, height - table), 0.4)
    brown = rng.choice(((150, 98, 58), (110, 76, 52), (186, 148, 108)))
    canvas.paste(tinted(wood, [mix(brown, (0, 0, 0), 0.5), brown, mix(brown, (255, 226, 180), 0.35)]), (0, table))
    places = sorted((rng.uniform(0.7, 0.9), rng.uniform(0.1, 0.9)) for _ in range(rng.randint(5, 8)))
    for low, across in places:
        reach = round(height * rng.uniform(0.08, 0.12) * (0.6 + low * 0.6))
        fruit(rng, canvas, (round(width * across), round(height * low) - reach), reach)
    return canvas


def balloons(rng: Random, size: Size) -> Picture:
    """Hot-air balloons over hills."""
    width, height = size
    mood = rng.choice(MOODS[:3])
    canvas = sky(rng, size, mood, horizon=0.75, cover=rng.uniform(0.25, 0.55))
    range_of_hills(
        rng, canvas, mood, ((120, 128, 120), (150, 132, 84), (108, 124, 58)), top=0.62, bottom=0.86, roughness=0.44
    )
    for far in sorted(rng.uniform(0.03, 0.13) for _ in range(rng.randint(5, 8))):
        place = (round(width * rng.uniform(0.06, 0.94)), round(height * rng.uniform(0.12, 0.56)))
        balloon(rng, canvas, place, round(height * far), mood)
    return canvas


PAINTERS: tuple[Callable[[Random, Size], Picture], ...] = (
    mountains, sea, balloons, still_life, lake, meadow, city, forest, dunes, night,
)  # fmt: skip


def paint(seed: int, number: int, size: Size) -> Picture:
    """Canvas `number`, the same for the same seed: painters take turns."""
    rng = Random(f"{seed}/scene/{number}")
    return grained(rng, PAINTERS[number % len(PAINTERS)](rng, size), 6)
