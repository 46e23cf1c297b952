"""The built-in steps: geometry by numbers, filters against Pillow's own, every mode, every bad value."""

import pickle
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from batchproc.errors import Code, Reject, StageError
from batchproc.transform.modes import View
from batchproc.transform.plan import BUILT_IN, built_in
from batchproc.transform.steps.checks import MaxAspect, MinSize
from batchproc.transform.steps.filters import BoxBlur, Brightness, ColourStep, Contrast, Gamma, Grayscale, Sharpen
from batchproc.transform.steps.geometry import Crop, Flip, Resize, Rotate, Trim
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

    padded, _ = Resize(size=(40, 40), how="pad", background=background).apply(
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
    step = pickle.loads(pickle.dumps(built_in(op)(**built_in(op).example)))

    # Edges enough for every check, over the whole picture.
    result = step(ImageChops.invert(photo(300, 250).filter(ImageFilter.CONTOUR)).convert(mode))

    assert result.mode in ("L", "LA", "RGB", "RGBA")
    assert ("A" in mode) == ("A" in result.mode)


@pytest.mark.parametrize("op", ["sharpen", "unsharp", "median", "autocontrast", "brightness", "contrast", "colour"])
def test_steps_on_colours_leave_alpha_alone(op: str) -> None:
    picture = photo(40, 30, "RGBA")
    picture.putalpha(photo(40, 30, "L"))

    result = built_in(op)(**built_in(op).example)(picture)

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
        built_in(op)(**keys)

    assert message == str(caught.value)


@pytest.mark.parametrize(("how", "expected"), [("contain", (40, 20)), ("cover", (200, 100)), ("exact", (100, 100))])
def test_only_contain_leaves_small_pictures_small_by_itself(how: str, expected: tuple[int, int]) -> None:
    assert expected == Resize(size=(100, 100), how=how)(Image.new("L", (40, 20))).size


@pytest.mark.parametrize(
    ("direction", "expected"), [("horizontal", (180, 12, 200, 20)), ("vertical", (0, 120, 20, 138))]
)
def test_flip_swaps_two_sides(direction: str, expected: tuple[int, int, int, int]) -> None:
    picture = Image.new("L", (200, 150), 0)
    picture.paste(255, (0, 12, 20, 30))

    flipped = Flip(direction=direction)(picture)

    assert expected[0] == (flipped.getbbox() or ())[0]
    assert flipped.tobytes() != picture.tobytes() == Flip(direction=direction)(flipped).tobytes()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_gamma_keeps_black_white_and_alpha(mode: str) -> None:
    picture = Image.linear_gradient("L").convert(mode)
    if mode.endswith("A"):
        picture.putalpha(77)

    brighter = Gamma(gamma=2.0)(picture)

    assert [0, 128, 255] == [pixel(brighter, 9, y)[0] for y in (0, 64, 255)]
    assert pixel(picture, 9, 64)[-1] == pixel(brighter, 9, 64)[-1] or not mode.endswith("A")
    assert 2 > difference(Gamma(gamma=0.5)(brighter).convert("RGB"), picture.convert("RGB"))


def bordered(mode: str, border: Any, box: tuple[int, int, int, int] = (10, 20, 60, 50)) -> Image.Image:
    picture = Image.new(mode, (100, 80), border)
    picture.paste(photo(box[2] - box[0], box[3] - box[1]).convert(mode), box[:2])
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        bordered("L", 255),
        bordered("RGB", (0, 90, 0)),
        bordered("LA", (3, 255)),
        bordered("RGBA", (0, 0, 0, 0)),
        bordered("RGBA", (255, 255, 255, 128)),
    ],
    ids=["white", "green", "grey with alpha", "transparent", "half-transparent"],
)
def test_trim_cuts_off_the_border(picture: Image.Image) -> None:
    assert (50, 30) == Trim()(picture).size


def test_trim_takes_what_is_invisible_as_one_colour() -> None:
    picture = photo(100, 80).convert("RGBA")
    alpha = Image.new("L", (100, 80), 0)
    alpha.paste(255, (40, 30, 50, 70))
    picture.putalpha(alpha)

    assert (10, 40) == Trim(tolerance=0)(picture).size


def test_trim_takes_bars_of_two_colours() -> None:
    picture = Image.new("RGB", (100, 80), "black")
    picture.paste("white", (0, 60, 100, 80))
    picture.paste(photo(100, 40), (0, 20))

    assert (100, 40) == Trim()(picture).size


@pytest.mark.parametrize(("tolerance", "expected"), [(0, (97, 80)), (9, (97, 80)), (10, (50, 30)), (254, (100, 80))])
def test_trim_takes_a_noisy_border_up_to_its_tolerance(tolerance: int, expected: tuple[int, int]) -> None:
    picture = Image.new("L", (100, 80), 30)
    for x in range(0, 100, 2):
        picture.paste(40, (x, 0, x + 1, 80))
    picture.paste(200, (10, 20, 60, 50))
    picture.paste(210, (10, 20, 60, 21))

    assert expected == Trim(tolerance=tolerance)(picture).size


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (30, 20)])
def test_trim_leaves_what_is_all_border(mode: str, size: tuple[int, int]) -> None:
    picture = Image.new(mode, size)

    assert size == Trim()(picture).size
