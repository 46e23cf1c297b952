"""GIFs: the first frame where it stands, the background where it does not, and nothing that is no frame's own."""

import random
from itertools import product

import pytest
import pyvips
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture
from tests.transform.drawing import pixel
from tests.transform.gifs import Frame, gif

SIZE = (13, 11)
PALETTE = [(20, 30, 40), (250, 10, 20), (10, 240, 30), (40, 50, 230), (255, 255, 255)]
OTHER = [(90, 80, 70), (0, 200, 210), (200, 0, 210), (200, 210, 0), (1, 2, 3)]
GREYS = [(level, level, level) for level in range(256)]


def decoded(content: bytes, background: str | None = None) -> Image.Image:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    return decode(opened, needed=None, background=background, colours=Colours()).image


def failure(content: bytes) -> str:
    with pytest.raises(StageError) as caught:
        decoded(content)
    return caught.value.code


def random_pixels(count: int, colours: int = len(PALETTE), seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(colours), k=count)


def by_libvips(content: bytes) -> Image.Image:
    image = pyvips.Image.new_from_buffer(content, "", fail_on="warning")
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[image.bands]
    return Image.frombytes(mode, (image.width, image.height), bytes(image.write_to_memory())).convert("RGBA")


def painted(frame: Frame, palette: list[tuple[int, int, int]]) -> Image.Image:
    canvas = Image.new("RGBA", SIZE)
    left, top, width, _ = frame.box
    for at, index in enumerate(frame.pixels):
        if index != frame.transparent:
            canvas.putpixel((left + at % width, top + at // width), (*(frame.palette or palette)[index], 255))
    return canvas


def seen(image: Image.Image) -> list[tuple[int, ...]]:
    """What can be seen: the colours of invisible pixels do not count."""
    return [one if one[3] else (0, 0, 0, 0) for one in image.convert("RGBA").get_flattened_data()]


BOXES = [(0, 0, *SIZE), (0, 0, 4, 3), (5, 2, 6, 7), (12, 10, 1, 1), (0, 3, 13, 1)]


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_every_kind_of_first_frame_is_where_it_stands_on_a_transparent_canvas(box: tuple[int, int, int, int]) -> None:
    wrong = []

    for palette, transparent, disposal, is_interlaced in product(([], OTHER), (None, 3), range(4), (False, True)):
        frame = Frame(
            box=box,
            pixels=random_pixels(box[2] * box[3]),
            palette=palette,
            transparent=transparent,
            disposal=disposal,
            is_interlaced=is_interlaced,
        )
        behind = Frame(box=(0, 0, *SIZE), pixels=[1] * SIZE[0] * SIZE[1])
        for content in (gif(SIZE, PALETTE, frame), gif(SIZE, PALETTE, frame, behind, background=2)):
            expected, other = painted(frame, PALETTE), by_libvips(content)
            inside = (
                box[0],
                box[1],
                box[0] + box[2],
                box[1] + box[3],
            )  # outside libvips shows black where all is opaque
            if seen(expected) != seen(decoded(content)) or seen(expected.crop(inside)) != seen(other.crop(inside)):
                wrong.append(frame)

    assert [] == wrong


def test_the_canvas_that_no_frame_covers_is_the_background() -> None:
    content = gif((6, 4), PALETTE, Frame(box=(1, 1, 2, 2), pixels=[1, 2, 3, 1]))

    image = decoded(content, background="#0a141e")

    assert ((10, 20, 30), (250, 10, 20), (10, 20, 30)) == tuple(pixel(image, *at) for at in ((0, 0), (1, 1), (3, 1)))


@pytest.mark.parametrize("colours", [2, 3, 16, 200, 256])
def test_palettes_of_every_depth_and_long_tables_of_codes(colours: int) -> None:
    size = (90, 70)
    pixels = random_pixels(size[0] * size[1], colours)

    image = decoded(gif(size, GREYS[::-1][:colours], Frame(box=(0, 0, *size), pixels=pixels)))

    assert [(255 - index,) * 3 for index in pixels] == [tuple(one) for one in image.convert("RGB").get_flattened_data()]


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("is_ended", [False, True])
@pytest.mark.parametrize("missing", [1, 12, 70, 142])
def test_data_that_ends_before_the_frame_is_full_is_truncated(
    missing: int, is_ended: bool, is_interlaced: bool
) -> None:
    pixels = random_pixels(SIZE[0] * SIZE[1])
    short = Frame(box=(0, 0, *SIZE), pixels=pixels, missing=missing, is_ended=is_ended, is_interlaced=is_interlaced)
    behind = [Frame(box=(0, 0, *SIZE), pixels=random_pixels(len(pixels), seed=seed)) for seed in range(1, 9)]

    assert [Code.TRUNCATED] * 2 == [failure(gif(SIZE, PALETTE, short, *frames)) for frames in ([], behind)]


def test_data_that_goes_on_behind_a_full_frame_is_no_failure() -> None:
    frame = Frame(box=(0, 0, *SIZE), pixels=random_pixels(SIZE[0] * SIZE[1] + 40))

    image = decoded(gif(SIZE, PALETTE, frame))

    assert [PALETTE[index] for index in frame.pixels[:-40]] == list(image.convert("RGB").get_flattened_data())


def test_a_file_without_its_end_is_whole_where_its_first_frame_is() -> None:
    frame = Frame(box=(0, 0, *SIZE), pixels=random_pixels(SIZE[0] * SIZE[1]))
    content = gif(SIZE, PALETTE, frame)

    assert seen(painted(frame, PALETTE)) == seen(decoded(content[:-2]))
    assert Code.TRUNCATED == failure(content[:-12])
