"""The pictures: their kinds, their sizes, their right way up."""

import io
import statistics

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from batchproc.origin.pictures import (
    GROUNDS,
    ORIENTATION,
    SKIES,
    PictureRecipe,
    develop,
    make_pictures,
    paint,
    recipe,
    store,
)
from batchproc.origin.site import Fault, Form, content_type, corrupted, faulty, kinds, picture

SEED = 7
SMALL = (320, 240)


@pytest.fixture(scope="module")
def forty() -> list[bytes]:
    """Forty pictures cut from five canvases, as painting takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchproc.origin.pictures.CANVASES", 5)
        return make_pictures(40, SEED, workers=1)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def difference(first: Image.Image, second: Image.Image) -> float:
    return statistics.fmean(ImageStat.Stat(ImageChops.difference(first, second)).mean)


def stored(kind: Form) -> tuple[PictureRecipe, Image.Image, bytes]:
    wanted = recipe(SEED, 3, kind)
    canvas = paint(SEED, 3, SMALL)
    upright = develop(canvas, canvas.reduce(2), wanted)
    return wanted, upright, store(upright.copy(), wanted)


def test_every_picture_opens_and_none_is_twice_there(forty: list[bytes]) -> None:
    expected = [
        "WEBP" if kind is Form.WEBP else "PNG" if kind.startswith("png") else "JPEG" for kind in kinds(40, SEED)
    ]

    assert 40 == len(set(forty))
    assert expected == [opened(content).format for content in forty]


def test_long_edges_lie_between_640_and_2400_px(forty: list[bytes]) -> None:
    edges = [max(opened(content).size) for content in forty]

    assert min(edges) == 640
    assert max(edges) == 2400


def test_the_mean_jpeg_weighs_as_much_as_a_photo_on_the_web(forty: list[bytes]) -> None:
    jpegs = [len(content) for content in forty if content_type(content) == "image/jpeg"]

    assert 120_000 < statistics.fmean(jpegs) < 200_000


def test_the_same_seed_makes_the_same_bytes(forty: list[bytes]) -> None:
    assert forty[:2] == make_pictures(2, SEED, workers=1)


def test_another_seed_makes_other_bytes(forty: list[bytes]) -> None:
    assert forty[0] != make_pictures(1, SEED + 1, workers=1)[0]


@pytest.mark.parametrize("kind", [kind for kind in Form if kind.orientation > 1])
def test_a_rotated_picture_is_upright_once_its_orientation_is_applied(kind: Form) -> None:
    wanted, upright, content = stored(kind)
    image = opened(content)

    shown = ImageOps.exif_transpose(image)

    assert kind.orientation == image.getexif()[ORIENTATION]
    assert wanted.size == shown.size
    assert difference(upright, shown) < 6
    assert image.size != shown.size or difference(upright, image) > 12


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (Form.GREY, "L"),
        (Form.CMYK, "CMYK"),
        (Form.PNG, "RGB"),
        (Form.PNG_ALPHA, "RGBA"),
        (Form.PNG_PALETTE, "P"),
        (Form.WEBP, "RGB"),
    ],
    ids=str,
)
def test_unusual_kinds_are_stored_in_their_mode(kind: Form, mode: str) -> None:
    _, _, content = stored(kind)

    assert mode == opened(content).mode


def test_a_progressive_jpeg_is_progressive() -> None:
    _, _, content = stored(Form.PROGRESSIVE)

    assert opened(content).info["progressive"]


def test_a_picture_with_alpha_has_clear_and_solid_parts() -> None:
    _, _, content = stored(Form.PNG_ALPHA)

    assert (0, 255) == opened(content).getchannel("A").getextrema()


@pytest.mark.parametrize("number", range(len(GROUNDS) * len(SKIES)))
def test_a_landscape_has_something_to_see_and_a_bright_sky(number: int) -> None:
    canvas = paint(SEED, number, SMALL)
    grey, (width, height) = canvas.convert("L"), SMALL

    sky, ground = grey.crop((0, 0, width, height // 2)), grey.crop((0, height * 7 // 8, width, height))

    assert ("RGB", SMALL) == (canvas.mode, canvas.size)
    assert all(deviation > 15 for deviation in ImageStat.Stat(canvas).stddev)
    assert ImageStat.Stat(sky).mean[0] > ImageStat.Stat(ground).mean[0]


def test_no_two_landscapes_are_alike() -> None:
    assert difference(paint(SEED, 0, SMALL), paint(SEED, 2, SMALL)) > 12


@pytest.mark.parametrize("kind", [Form.JPEG, Form.PROGRESSIVE, Form.PNG, Form.PNG_PALETTE, Form.WEBP])
def test_a_corrupt_picture_is_recognised_but_does_not_decode(kind: Form) -> None:
    _, _, content = stored(kind)
    damaged = corrupted(content)

    assert content_type(content) == content_type(damaged)
    assert len(content) == len(damaged)
    with pytest.raises((OSError, SyntaxError)):
        opened(damaged)


def test_a_truncated_picture_promises_all_and_sends_three_fifths() -> None:
    reply = faulty(picture(b"\xff\xd8\xff" + b"x" * 997), Fault.TRUNCATED)

    assert b"Content-Length: 1000\r\n" in reply.head
    assert 600 == len(reply.body)
    assert reply.closes
