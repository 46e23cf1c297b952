"""Single things that stand in a landscape: towers, boats, fruit, balloons, lights out of focus."""

import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from batchproc.origin.painting.brushes import BILINEAR, Colour, Picture, Size, glow, mix, polygon, soft_shadow, tinted
from batchproc.origin.painting.scenery import Mood, dimmed


def tower(
    rng: Random, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], wall: Colour, mood: Mood
) -> None:
    """A tower of windows; the right side lies in shade. `box` is left, roof, right, foot in px."""
    left, roof, right, foot = box
    draw.rectangle(box, fill=wall)
    draw.rectangle((left + (right - left) * 0.72, roof, right, foot), fill=mix(wall, (0, 0, 10), 0.3))
    pitch = rng.choice((11, 14, 17))
    bright = 0.55 - 0.4 * mood.light
    for row in range(round(roof) + 8, round(foot), pitch + 4):
        for column in range(round(left) + 5, round(right) - pitch // 2, pitch):
            fill = (
                rng.choice(((255, 214, 130), (255, 236, 190)))
                if rng.random() < bright
                else mix(wall, mood.horizon, 0.22)
            )
            draw.rectangle((column, row, column + pitch * 0.45, row + pitch * 0.7), fill=fill)


def disc(canvas: Picture, centre: Size, radius: int, colour: Colour, strength: int) -> None:
    """A light out of focus: a disc a little brighter at its rim; `strength` 0 to 255."""
    mask = Image.radial_gradient("L").point(
        [round(strength * (0.6 + 0.4 * v / 180)) if v < 180 else 0 for v in range(256)]
    )
    mask = mask.filter(ImageFilter.BoxBlur(4)).resize((radius * 2, radius * 2), BILINEAR)
    canvas.paste(colour, (centre[0] - radius, centre[1] - radius), mask)


def fruit(rng: Random, canvas: Picture, centre: Size, radius: int) -> None:
    """A round fruit, lit from the upper left, with its shadow on the table."""
    x, y = centre
    soft_shadow(
        canvas,
        (x - radius, y + round(radius * 0.62), x + round(radius * 1.5), y + round(radius * 1.15)),
        radius // 5,
        190,
    )
    colour = rng.choice(((216, 52, 38), (238, 150, 34), (240, 206, 70), (118, 158, 46), (142, 28, 52)))
    side = radius * 2
    ball = Image.radial_gradient("L").transform(
        (256, 256), Image.Transform.AFFINE, (0.72, 0, 58, 0, 0.72, 66), BILINEAR
    )
    skin = tinted(
        ball.resize((side, side), BILINEAR),
        [mix(colour, (255, 250, 230), 0.45), colour, mix(colour, (30, 6, 10), 0.5), mix(colour, (20, 4, 8), 0.85)],
    )
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((2, 2, side - 3, side - 3), fill=255)
    canvas.paste(skin, (x - radius, y - radius), mask.filter(ImageFilter.BoxBlur(1.2)))
    glow(canvas, (x - radius // 3, y - round(radius * 0.42)), radius // 3, (255, 255, 250), 220)
    ImageDraw.Draw(canvas).line(
        (x, y - round(radius * 0.9), x + radius // 8, y - round(radius * 1.2)),
        fill=(62, 44, 26),
        width=max(2, radius // 14),
    )


def balloon(rng: Random, canvas: Picture, centre: Size, radius: int, mood: Mood) -> None:
    """A hot-air balloon; the smaller, the further into the haze."""
    x, y = centre
    first, second = rng.sample(
        [(206, 44, 40), (244, 190, 48), (36, 110, 168), (250, 246, 236), (62, 142, 84), (228, 112, 40)], 2
    )
    side = radius * 2
    stripes = Image.new("RGB", (side, side), first)
    draw = ImageDraw.Draw(stripes)
    for number in range(0, 12, 2):  # gores seen from the side: narrow at the edges
        left, right = (radius * (1 - math.cos(math.pi * edge / 12)) for edge in (number, number + 1))
        draw.rectangle((left, 0, right, side), fill=second)
    shade = Image.radial_gradient("L").transform((256, 256), Image.Transform.AFFINE, (0.8, 0, 60, 0, 0.8, 70), BILINEAR)
    light = tinted(shade.resize((side, side), BILINEAR), [(255, 252, 240), (206, 200, 200), (120, 110, 124)])
    mask = Image.new("L", (side, side))
    outline = ImageDraw.Draw(mask)
    outline.ellipse((1, 1, side - 2, round(side * 0.84)), fill=255)
    outline.polygon(
        [(side * 0.07, side * 0.56), (side * 0.93, side * 0.56), (side * 0.6, side * 0.98), (side * 0.4, side * 0.98)],
        fill=255,
    )
    hazed = Image.blend(
        ImageChops.multiply(stripes, light),
        Image.new("RGB", (side, side), mood.horizon),
        max(0.0, 0.45 - radius / canvas.height * 4),
    )
    canvas.paste(hazed, (x - radius, y - radius), mask.filter(ImageFilter.BoxBlur(0.8)))
    basket = max(2, radius // 7)
    draw = ImageDraw.Draw(canvas)
    for edge in (-1, 1):
        draw.line(
            (x + edge * radius * 0.18, y + radius * 0.96, x + edge * basket, y + radius * 1.25), fill=(60, 48, 40)
        )
    draw.rectangle(
        (x - basket, y + round(radius * 1.25), x + basket, y + round(radius * 1.25) + basket * 1.4), fill=(104, 70, 40)
    )


def sail_boat(canvas: Picture, place: tuple[float, float], tall: float, mood: Mood) -> None:
    """A boat with two sails, near below the horizon that `place` lies on."""
    size, x, foot = canvas.size, place[0], place[1] + tall * 0.35
    low = foot - 4
    main_sail = [(x, foot - tall), (x, low), (x + tall * 0.5, low)]
    jib = [(x - 3, foot - tall * 0.9), (x - 3, low), (x - tall * 0.33, low)]
    deck, keel = foot, foot + tall * 0.1
    hull = [(x - tall * 0.4, deck), (x + tall * 0.55, deck), (x + tall * 0.4, keel), (x - tall * 0.3, keel)]
    for colour, corners in (((248, 244, 236), main_sail), ((226, 222, 216), jib), ((120, 40, 34), hull)):
        canvas.paste(dimmed(colour, mood) if corners is hull else colour, (0, 0), polygon(size, corners))
