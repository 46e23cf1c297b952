"""JPEGs of every process, kind of components, sampling and restart interval: right pixels, or `image.unsupported`."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import pyvips
from msgspec.structs import replace
from PIL import Image, ImageChops, ImageStat

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture, prepare_pillow
from batchproc.transform.plan import build_steps
from tests.transform.drawing import pixel, run
from tests.transform.jpegs import JFIF, SOF, Form, Paint, adobe, jpeg

SIZE = (37, 29)
ONE = (1, 1)
PAINTS: tuple[Paint, ...] = (
    lambda x, y: 60 + 3 * x + 30 * ((x // 7 + y // 9) % 2),
    lambda x, y: 80 + 2 * y,
    lambda x, y: 170 - 2 * x,
    lambda x, y: 200 - y,
)
SAMPLINGS = {
    1: [(ONE,), ((2, 2),), ((1, 4),)],
    3: [
        (ONE, ONE, ONE),
        ((2, 1), ONE, ONE),
        ((2, 2), ONE, ONE),
        ((1, 2), ONE, ONE),
        ((4, 1), ONE, ONE),
        ((3, 1), ONE, ONE),
        ((2, 2), (2, 1), (1, 2)),
        (ONE, (2, 2), ONE),
    ],
    4: [(ONE,) * 4, ((2, 2), ONE, ONE, (2, 2))],
}


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


def forms(process: str) -> Iterator[tuple[int, Form]]:
    """Every number of components with every sampling: plainly, with restart markers, in a scan per component."""
    is_lossless = process == "lossless"
    for count, samplings in SAMPLINGS.items():
        head = {1: b"", 3: adobe(0) if is_lossless else JFIF, 4: adobe(0)}[count]
        for sampling in [(ONE,) * count] if is_lossless else samplings:
            plain = Form(process=process, sampling=sampling, head=head)
            yield count, plain
            yield count, replace(plain, interval=SIZE[0] if is_lossless else 3)
            if count > 1 and not plain.is_arithmetic:
                yield count, replace(plain, interleaved=False)


def decoded(content: bytes, *, scaled: bool = False) -> Image.Image:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    needed = (SIZE[0] // 4, SIZE[1] // 4) if scaled else None
    return decode(opened, needed=needed, background=None, colours=Colours()).image


def failure(content: bytes) -> tuple[str, str]:
    with pytest.raises(StageError) as caught:
        decoded(content)
    return caught.value.code, caught.value.message


def shown(samples: tuple[float, ...], *, as_stored: bool = False) -> tuple[int, ...]:
    """The colour of samples as they are stored: grey, YCbCr (or RGB, `as_stored`), Adobe's inverted CMYK."""
    if len(samples) == 4:
        colour: tuple[float, ...] = tuple(ink * samples[3] / 255 for ink in samples[:3])
    elif len(samples) == 3 and not as_stored:
        y, cb, cr = samples[0], samples[1] - 128, samples[2] - 128
        colour = (y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb)
    else:
        colour = samples
    return tuple(min(max(round(value), 0), 255) for value in colour)


@lru_cache
def painted(count: int, *, as_stored: bool = False) -> Image.Image:
    image = Image.new("L" if count == 1 else "RGB", SIZE)
    places = [(x, y) for y in range(SIZE[1]) for x in range(SIZE[0])]
    for place in places:
        colour = shown(tuple(paint(*place) for paint in PAINTS[:count]), as_stored=as_stored)
        image.putpixel(place, colour if count > 1 else colour[0])
    return image


def by_libvips(content: bytes, like: Image.Image | None = None) -> Image.Image:
    """What libvips decodes, scaled as `like` is; it leaves out parts of a pixel at the edges."""
    shrink = 1 if like is None or like.width == SIZE[0] else 4
    image = pyvips.Image.new_from_buffer(content, "", fail_on="warning", shrink=shrink)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[image.bands]
    read = Image.frombytes(mode, (image.width, image.height), bytes(image.write_to_memory()))
    return read.convert("RGB") if mode == "CMYK" else read


def apart(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures in the channel in which they differ most."""
    assert one.mode == other.mode
    assert max(abs(one.width - other.width), abs(one.height - other.height)) <= 1
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.mark.parametrize("process", SOF)
def test_every_form_of_a_process_has_the_pixels_that_were_painted(process: str) -> None:
    wrong = []

    for count, form in forms(process):
        content = jpeg(PAINTS[:count], SIZE, form)
        expected = painted(count, as_stored=process == "lossless")
        seen, small = decoded(content), decoded(content, scaled=True)
        replicated = form.sampling[0][0] > 2 or form.sampling[:2] == (ONE, (2, 2))  # not interpolated
        if apart(seen, expected) > (15 if replicated else 0.3) or apart(seen, by_libvips(content)):
            wrong.append(form)
        if apart(small, by_libvips(content, like=small)):
            wrong.append(form)

    assert [] == wrong


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_of_lossless_jpeg_gives_every_sample_back(predictor: int) -> None:
    content = jpeg(PAINTS[:1], SIZE, Form(process="lossless", predictor=predictor, interval=2 * SIZE[0]))

    assert painted(1).tobytes() == decoded(content).tobytes()


def test_a_lossless_jpeg_is_resized_without_a_scaled_decode(tmp_path: Path) -> None:
    content = jpeg(PAINTS[:1], (96, 64), Form(process="lossless"))
    steps = build_steps([{"op": "resize", "size": [24, 24]}])

    assert (24, 16) == run(tmp_path, content, steps=steps, quality="fast").size


@pytest.mark.parametrize(
    ("head", "identifiers", "is_rgb"),
    [
        (b"", (1, 2, 3), False),
        (b"", (0, 1, 2), False),
        (b"", (82, 71, 66), True),
        (JFIF, (82, 71, 66), False),
        (adobe(0), (1, 2, 3), True),
        (adobe(1), (82, 71, 66), False),
        (JFIF + adobe(0), (1, 2, 3), False),
    ],
    ids=["nothing", "from-zero", "ids-RGB", "JFIF", "Adobe-0", "Adobe-1", "JFIF-Adobe-0"],
)
def test_three_components_are_what_markers_or_else_identifiers_say(
    head: bytes, identifiers: tuple[int, ...], is_rgb: bool
) -> None:
    content = jpeg(PAINTS[:3], SIZE, Form(sampling=(ONE,) * 3, head=head, identifiers=identifiers))

    assert apart(painted(3, as_stored=is_rgb), decoded(content)) < 0.3


def test_ycck_is_transformed_and_inverted_as_adobe_writes_it() -> None:
    content = jpeg(PAINTS, SIZE, Form(sampling=(ONE,) * 4, head=adobe(2)))
    *colour, black = (paint(20, 10) for paint in PAINTS)
    inks = (255 - level for level in shown(tuple(colour)))

    assert all(
        abs(seen - ink * black / 255) < 3 for seen, ink in zip(pixel(decoded(content), 20, 10), inks, strict=True)
    )


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (Form(process="extended", precision=12), "a JPEG of 12 bits per sample"),
        (Form(process="progressive", precision=12), "a JPEG of 12 bits per sample"),
        (Form(process="arithmetic", precision=12), "a JPEG of 12 bits per sample"),
        (Form(process="lossless", precision=2), "a JPEG of 2 bits per sample"),
        (Form(process="lossless", precision=16), "a JPEG of 16 bits per sample"),
        (Form(process="lossless", sampling=((2, 2),)), "a lossless JPEG with subsampled components"),
        (Form(process="lossless", sampling=(ONE,) * 3, head=JFIF), "a lossless JPEG in YCbCr or YCCK"),
        (Form(process="lossless", sampling=(ONE,) * 3, head=adobe(1)), "a lossless JPEG in YCbCr or YCCK"),
        (Form(process="lossless", sampling=(ONE,) * 4, head=adobe(2)), "a lossless JPEG in YCbCr or YCCK"),
        (Form(sampling=(ONE,) * 2), "a JPEG of 2 components"),
        (Form(sampling=((3, 1), (2, 1), ONE)), "a JPEG whose components are sampled at no whole ratios"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else value.process,
)
def test_what_has_no_right_pixels_here_is_unsupported_and_named(form: Form, name: str) -> None:
    levels = [lambda x, y, paint=paint: paint(x, y) * (1 << form.precision) / 256 for paint in PAINTS]
    content = jpeg(levels[: len(form.sampling)], SIZE, form)

    assert (Code.IMAGE_UNSUPPORTED, f"{name} is not supported") == failure(content)


@pytest.mark.parametrize(
    ("marker", "name"),
    [
        (0xC5, "a hierarchical JPEG"),
        (0xC7, "a hierarchical JPEG"),
        (0xCB, "a lossless JPEG with arithmetic coding"),
        (0xCE, "a hierarchical JPEG"),
    ],
)
def test_processes_without_a_decoder_are_unsupported_and_named(marker: int, name: str) -> None:
    content = jpeg(PAINTS[:1], SIZE, Form()).replace(b"\xff\xc0", bytes([0xFF, marker]), 1)

    assert (Code.IMAGE_UNSUPPORTED, f"{name} is not supported") == failure(content)


def test_a_hierarchical_file_is_known_by_its_first_header() -> None:
    content = jpeg(PAINTS[:1], SIZE, Form())
    at = content.index(b"\xff\xc0")
    whole = bytes([0xFF, 0xDE]) + content[at + 2 : content.index(b"\xff\xc4")]

    assert (Code.IMAGE_UNSUPPORTED, "a hierarchical JPEG is not supported") == failure(
        content[:at] + whole + content[at:]
    )


def test_a_height_behind_the_pixels_is_unsupported_and_a_repeated_one_is_not() -> None:
    content = jpeg(PAINTS[:1], SIZE, Form())
    height, at = SIZE[1].to_bytes(2), content.index(b"\xff\xc0") + 5
    late = content[:-2] + b"\xff\xdc\x00\x04" + height + content[-2:]

    assert apart(painted(1), decoded(late)) < 0.3
    assert (Code.IMAGE_UNSUPPORTED, "a JPEG that tells its height behind its pixels is not supported") == failure(
        late[:at] + b"\x00\x00" + late[at + 2 :]
    )
