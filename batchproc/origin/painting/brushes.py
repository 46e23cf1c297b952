"""What the painter of the demo pictures has in hand: noise, gradients, ridges and soft masks, all in Pillow alone.

Fields and masks are images of mode "L", canvases of mode "RGB", all (width, height) px. Everything is decided by the
`random.Random` that is handed in. Safe to use from several threads, each with its own generator.
"""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour: TypeAlias = tuple[int, int, int]
Size: TypeAlias = tuple[int, int]
Picture: TypeAlias = Image.Image

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
RELIEF = ImageFilter.Kernel((3, 3), (-2, -1, 0, -1, 0, 1, 0, 1, 2), scale=1, offset=128)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def white_noise(rng: Random, size: Size) -> Picture:
    """A grid of even noise."""
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def fractal(rng: Random, size: Size, cells: Size, *, octaves: int = 6, gain: float = 0.5) -> Picture:
    """Fractal noise: `cells` lumps across and down, then `octaves` times twice as many, each `gain` times as strong.

    Each octave is made at its own resolution, so that all together cost a third more than the last one.
    """
    field, grid, strength = white_noise(rng, cells), cells, 1.0
    for _ in range(octaves):
        grid = (grid[0] * 2, grid[1] * 2)
        strength *= gain
        field = Image.blend(field.resize(grid, BICUBIC), white_noise(rng, grid), strength / (1 + strength))
    return field.resize(size, BILINEAR)


def curve(low: float, high: float, top: int = 255) -> list[int]:
    """A table for `Image.point`: 0 below `low`, `top` above `high` (0 to 255), smooth between."""
    table = []
    for value in range(256):
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        table.append(round(top * share * share * (3 - 2 * share)))
    return table


def gradient(size: Size, colours: Sequence[tuple[float, Colour]]) -> Picture:
    """A canvas that goes from colour to colour down its height; places from 0 (top) to 1, in order."""
    stops, steps = list(pairwise(colours)), 256
    column = bytearray()
    for step in range(steps):
        place = step / (steps - 1)
        start, end = next((pair for pair in stops if place <= pair[1][0]), stops[-1])
        share = min(1.0, max(0.0, (place - start[0]) / (end[0] - start[0])))
        column.extend(mix(start[1], end[1], share))
    line = Image.frombytes("RGB", (1, steps), bytes(column)).resize((1, size[1]), BILINEAR)
    return line.resize(size, Image.Resampling.NEAREST)


def tinted(field: Picture, colours: Sequence[Colour]) -> Picture:
    """A field as a canvas: its values from 0 to 255 go evenly through the colours."""
    palette: list[int] = []
    for value in range(256):
        place = value / 255 * (len(colours) - 1)
        index = min(int(place), len(colours) - 2)
        palette.extend(mix(colours[index], colours[index + 1], place - index))
    indexed = field.copy()
    indexed.putpalette(palette)
    return indexed.convert("RGB")


def fade(size: Size, stops: Sequence[tuple[float, int]]) -> Picture:
    """A mask that goes from value to value down its height; places from 0 (top) to 1, in order."""
    column = gradient((1, size[1]), [(place, (value, value, value)) for place, value in stops])
    return column.getchannel("R").resize(size, Image.Resampling.NEAREST)


def laid_flat(field: Picture, size: Size, nearness: float = 0.14) -> Picture:
    """Lays a field down as ground: all of its width at the horizon on top, the share `nearness` of it at the bottom."""
    (width, height), (across, deep) = size, field.size
    steep = (1 / nearness - 1) / height
    scale = across / width
    columns = (scale, across / 2 * steep, (across - scale * width) / 2)
    rows = (0.0, -deep * nearness * steep / (1 - nearness), deep - 1.0)
    return field.transform(size, Image.Transform.PERSPECTIVE, (*columns, *rows, 0.0, steep), BILINEAR)


def glow(canvas: Picture, centre: Size, radius: int, colour: Colour, strength: int = 255) -> None:
    """Adds a round light that fades outwards; `strength` 0 to 255."""
    falloff = [round(strength * ((255 - value) / 255) ** 2.2) for value in range(256)]
    mask = Image.radial_gradient("L").point(falloff).resize((radius * 2, radius * 2), BILINEAR)
    canvas.paste(colour, (centre[0] - radius, centre[1] - radius), mask)


def profile(rng: Random, points: int, roughness: float) -> list[float]:
    """A rugged line of heights, 0 to 1, by halving: each level is `roughness` times as rough as the one before."""
    line, strength = [rng.random(), rng.random()], 0.5
    while len(line) < points:
        middles = [(a + b) / 2 + rng.uniform(-strength, strength) for a, b in pairwise(line)]
        line = [value for pair in zip(line, middles, strict=False) for value in pair] + [line[-1]]
        strength *= roughness
    low, high = min(line), max(line)
    return [(value - low) / (high - low) for value in line]


def crest_line(rng: Random, width: int, roughness: float) -> list[tuple[float, float]]:
    """A crest from the left edge to the right: x in px, heights from 0 to 1. Rounded when the roughness is low."""
    heights = profile(rng, 257 if roughness > 0.4 else 9, roughness)
    if roughness <= 0.4:
        few = Image.frombytes("L", (len(heights), 1), bytes(round(255 * value) for value in heights))
        heights = [value / 255 for value in few.resize((257, 1), BICUBIC).tobytes()]
    return [(width * place / 256, value) for place, value in enumerate(heights)]


def ridge(rng: Random, size: Size, top: float, bottom: float, roughness: float) -> Picture:
    """The mask of a mountain range whose crest lies between the heights `top` and `bottom` (0 = top edge, 1)."""
    width, height = size
    line = crest_line(rng, width, roughness)
    crest = [(x, height * (bottom - (bottom - top) * value)) for x, value in line]
    return polygon(size, [*crest, (width, height), (0, height)])


def polygon(size: Size, corners: Sequence[tuple[float, float]]) -> Picture:
    """The mask of a polygon, its edge smoothed by a slight blur of the rows that hold its corners."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon(list(corners), fill=255)
    rows = [y for _, y in corners if y < size[1]] or [0.0]
    band = (0, max(0, int(min(rows)) - 3), size[0], min(size[1], int(max(rows)) + 4))
    mask.paste(mask.crop(band).filter(ImageFilter.BoxBlur(0.7)), band)
    return mask


def soft_shadow(canvas: Picture, box: tuple[int, int, int, int], blur: int, strength: int) -> None:
    """Darkens an ellipse with a soft edge; `strength` 0 to 255."""
    size = (box[2] - box[0] + 4 * blur, box[3] - box[1] + 4 * blur)
    small = (max(1, size[0] // 4), max(1, size[1] // 4))
    mask = Image.new("L", small)
    edge = blur // 2
    ImageDraw.Draw(mask).ellipse((edge, edge, small[0] - edge, small[1] - edge), fill=strength)
    mask = mask.filter(ImageFilter.BoxBlur(blur / 6)).filter(ImageFilter.BoxBlur(blur / 6))
    canvas.paste((12, 10, 14), (box[0] - 2 * blur, box[1] - 2 * blur), mask.resize(size, BILINEAR))


def relief(field: Picture, strength: float) -> Picture:
    """The field as a landscape of its own, lit from the upper left, mixed with what it was."""
    lit = field.filter(RELIEF).point([min(255, max(0, round(128 + (v - 128) * strength))) for v in range(256)])
    return Image.blend(field, lit, 0.6)


def grained(rng: Random, canvas: Picture, strength: float) -> Picture:
    """Adds the grain of a film, up to `strength` levels up and down."""
    table = [round(128 + (value - 127.5) / 127.5 * strength) for value in range(256)]
    grain = white_noise(rng, canvas.size).point(table)
    return ImageChops.add(canvas, Image.merge("RGB", (grain, grain, grain)), offset=-128)
