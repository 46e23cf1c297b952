"""The built-in steps: geometry by numbers, filters against Pillow's own, every mode, every bad value."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from batchproc.errors import Code, Reject, StageError
from batchproc.transform.steps.filters import BoxBlur, Brightness, ColourStep, Contrast, Grayscale, Sharpen
from batchproc.transform.steps.geometry import Crop, MaxAspect, MinSize, Resize, Rotate
from batchproc.transform.steps.table import BUILT_IN
from batchproc.transform.view import View
from tests.transform.drawing import difference, photo, pixel


@pytest.mark.parametrize(
    ("how", "only_shrink", "size", "expected"),
    [
        ("contain", False, (400, 200), (100, 50)),
        ("contain", False, (10, 20), (50, 100)),
        ("contain", True, (10, 20), (10, 20)),
        ("contain", True, (100, 100), (100, 100)),
        ("contain", False, (5000, 1), (100, 1)),
        ("contain", False, (1, 65_500), (1, 100)),
        ("contain", False, (160, 90), (100, 56)),
        ("cover", False, (400, 200), (200, 100)),
        ("cover", False, (10, 20), (100, 200)),
        ("cover", True, (300, 50), (300, 50)),
        ("fit", False, (400, 200), (100, 100)),
        ("fit", False, (10, 20), (100, 100)),
        ("fit", True, (50, 400), (50, 100)),
        ("fit", True, (10, 20), (10, 20)),
        ("pad", False, (400, 200), (100, 100)),
        ("pad", True, (10, 20), (100, 100)),
        ("exact", False, (400, 20), (100, 100)),
        ("exact", True, (400, 20), (100, 20)),
    ],
)
def test_resize_gives_the_size_asked_for(
    how: str, only_shrink: bool, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert expected == Resize(size=(100, 100), how=how, only_shrink=only_shrink)(Image.new("RGB", size)).size


@pytest.mark.parametrize(
    ("factor", "only_shrink", "expected"),
    [(0.5, False, (20, 10)), (2, False, (80, 40)), (2, True, (40, 20)), (0.001, False, (1, 1))],
)
def test_resize_by_a_factor(factor: float, only_shrink: bool, expected: tuple[int, int]) -> None:
    assert expected == Resize(how="scale", factor=factor, only_shrink=only_shrink)(Image.new("L", (40, 20))).size


def test_fit_keeps_the_middle() -> None:
    picture = Image.new("L", (300, 100), 0)
    picture.paste(255, (100, 0, 200, 100))

    fitted = Resize(size=(50, 50), how="fit")(picture)

    assert (255, 255) == fitted.crop((4, 0, 46, 50)).getextrema()
    assert fitted.tobytes() == fitted.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()


@pytest.mark.parametrize(
    ("mode", "background", "corner"),
    [
        ("RGB", "", (0, 128, 255)),
        ("RGB", "#010203", (1, 2, 3)),
        ("RGBA", "", (0, 0, 0, 0)),
        ("RGBA", "#010203", (1, 2, 3, 255)),
    ],
)
def test_pad_fills_with_the_background(mode: str, background: str, corner: tuple[int, ...]) -> None:
    picture = Image.new(mode, (40, 20), "white")

    padded = Resize(size=(40, 40), how="pad", background=background).render(
        picture, replace(View.whole(picture), background="#0080ff")
    )

    assert (corner, 255) == (padded.getpixel((0, 0)), pixel(padded, 20, 20)[0])


def test_grey_becomes_colour_when_the_padding_has_colour() -> None:
    padded = Resize(size=(40, 40), how="pad", background="#ff0000")(Image.new("L", (40, 20), 255))

    assert ((255, 0, 0), (255, 255, 255)) == (padded.getpixel((0, 0)), padded.getpixel((20, 20)))


@pytest.mark.parametrize(
    ("gravity", "corner"), [("center", 22), ("north", 2), ("southwest", 40), ("east", 24), ("northeast", 4)]
)
def test_crop_keeps_the_part_that_gravity_names(gravity: str, corner: int) -> None:
    picture = Image.new("L", (10, 10))
    picture.putdata(range(100))

    cropped = Crop(size=(6, 6), gravity=gravity)(picture)

    assert ((6, 6), corner) == (cropped.size, cropped.getpixel((0, 0)))


def test_crop_leaves_out_what_is_beyond_the_picture() -> None:
    picture = Image.new("RGB", (50, 40))

    assert (50, 40) == Crop(size=(100, 100))(picture).size
    assert (10, 30) == Crop(box=(40, 10, 400, 400))(picture).size
    with pytest.raises(StageError, match="misses the picture") as caught:
        Crop(box=(60, 0, 70, 10))(picture)
    assert Code.STEP_ERROR == caught.value.code


def test_rotate_turns_counter_clockwise_and_fills_the_corners() -> None:
    picture = Image.new("RGB", (40, 20), "black")
    picture.putpixel((39, 0), (255, 255, 255))

    assert (255, 255, 255) == Rotate(degrees=90, expand=True)(picture).getpixel((0, 0))
    assert (40, 20) == Rotate(degrees=45)(picture).size
    assert (255, 0, 0) == Rotate(degrees=45, expand=True, background="#ff0000")(picture).getpixel((0, 0))
    assert 0 == pixel(Rotate(degrees=45, expand=True)(picture.convert("RGBA")), 0, 0)[3]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("op", list(BUILT_IN))
def test_every_step_takes_every_working_mode_and_travels(op: str, mode: str) -> None:
    step = pickle.loads(pickle.dumps(BUILT_IN[op](**BUILT_IN[op].example)))

    result = step(photo(300, 250, mode))

    assert result.mode in ("L", "LA", "RGB", "RGBA")
    assert ("A" in mode) == ("A" in result.mode)


@pytest.mark.parametrize("op", ["sharpen", "unsharp", "median", "autocontrast", "brightness", "contrast", "colour"])
def test_steps_on_colours_leave_alpha_alone(op: str) -> None:
    picture = photo(40, 30, "RGBA")
    picture.putalpha(photo(40, 30, "L"))

    result = BUILT_IN[op](**BUILT_IN[op].example)(picture)

    assert picture.getchannel("A").tobytes() == result.getchannel("A").tobytes()
    assert picture.convert("RGB").tobytes() != result.convert("RGB").tobytes()


def test_blurs_take_no_colour_from_invisible_pixels() -> None:
    picture = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (10, 0, 20, 20))

    red, _green, blue, alpha = pixel(BoxBlur(radius=3)(picture), 9, 10)

    assert 0 < alpha < 255
    assert red < 5 < 250 < blue


@pytest.mark.parametrize("factor", [0, 0.4, 1, 1.7])
@pytest.mark.parametrize(
    ("step", "enhance"),
    [(Brightness, ImageEnhance.Brightness), (Contrast, ImageEnhance.Contrast), (ColourStep, ImageEnhance.Color)],
    ids=["brightness", "contrast", "colour"],
)
def test_factors_mean_what_they_mean_in_pillow(step: Any, enhance: Any, factor: float) -> None:
    picture = photo(80, 60)

    assert difference(step(factor=factor)(picture), enhance(picture).enhance(factor)) < 1


def test_sharpen_by_one_is_pillows_sharpen_and_by_zero_is_nothing() -> None:
    picture = photo(80, 60)

    assert picture.filter(ImageFilter.SHARPEN).tobytes() == Sharpen(amount=1)(picture).tobytes()
    assert picture.tobytes() == Sharpen(amount=0)(picture).tobytes()


def test_grayscale_has_one_channel() -> None:
    assert ("L", "LA") == (Grayscale()(photo(8, 8)).mode, Grayscale()(photo(8, 8, "RGBA")).mode)


@pytest.mark.parametrize(
    ("check", "size", "code"),
    [
        (MinSize(width=64, height=64), (63, 640), Code.CHECK_MIN_SIZE),
        (MinSize(width=64, height=64), (640, 63), Code.CHECK_MIN_SIZE),
        (MaxAspect(ratio=3), (301, 100), Code.CHECK_MAX_ASPECT),
        (MaxAspect(ratio=3), (100, 301), Code.CHECK_MAX_ASPECT),
    ],
)
def test_checks_reject_beyond_their_bound_and_not_at_it(
    check: MinSize | MaxAspect, size: tuple[int, int], code: Code
) -> None:
    at_the_bound = tuple({63: 64, 301: 300}.get(side, side) for side in size)

    with pytest.raises(Reject) as caught:
        check(Image.new("L", size))

    assert code == caught.value.code
    assert at_the_bound == check(Image.new("L", at_the_bound)).size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "keys", "message"),
    [
        ("resize", {"size": [0, 10]}, "size = [0, 10]: must be two whole numbers of 1 px or more, up to 65500"),
        ("resize", {"size": [10]}, "size = [10]: must be two whole numbers of 1 px or more, up to 65500"),
        ("resize", {"size": [True, 10]}, "size = [true, 10]: must be two whole numbers of 1 px or more, up to 65500"),
        ("resize", {}, 'size is missing: how = "contain" needs it'),
        ("resize", {"how": "scale", "factor": 0}, "factor = 0: must be a number above 0 and up to 100"),
        ("resize", {"size": [9, 9], "factor": 2}, 'factor = 2.0: has no meaning with how = "contain"'),
        ("crop", {}, "size, box: exactly one of them is needed"),
        ("crop", {"box": [5, 0, 5, 9]}, "box = [5, 0, 5, 9]: right must be beyond left, and bottom beyond top"),
        ("median", {"size": 4}, "size = 4: must be an odd number from 3 to 99 px"),
        ("blur", {"radius": "2"}, 'radius = "2": must be a number from 0 to 1000 px'),
        ("blur", {"radius": float("inf")}, "radius = Infinity: must be a number from 0 to 1000 px"),
        ("max_aspect", {"ratio": 0.5}, "ratio = 0.5: must be a number from 1 to 100000"),
        ("rotate", {"degrees": 400}, "degrees = 400: must be a number from -360 to 360 degrees"),
    ],
)
def test_a_bad_value_is_quoted_with_what_is_allowed(op: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        BUILT_IN[op](**keys)

    assert message == str(caught.value)


@pytest.mark.parametrize(("how", "expected"), [("contain", (40, 20)), ("cover", (200, 100)), ("exact", (100, 100))])
def test_only_contain_leaves_small_pictures_small_by_itself(how: str, expected: tuple[int, int]) -> None:
    assert expected == Resize(size=(100, 100), how=how)(Image.new("L", (40, 20))).size
