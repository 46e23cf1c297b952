"""What cannot be seen lends no colour to what can, in any step; what is opaque keeps its colour up to its edge."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

from batchproc.errors import Reject
from batchproc.transform.modes import flatten
from batchproc.transform.plan import BUILT_IN, built_in
from batchproc.transform.steps.filters import Autocontrast, Blur, BoxBlur, Contrast, Median, Sharpen, Unsharp
from batchproc.transform.steps.geometry import Resize, Rotate
from batchproc.transform.steps.step import Step
from tests.transform.drawing import encoded, photo, pixel, run

COLOUR = (200, 100, 50)
HIDDEN = [(0, 0, 0), (255, 255, 255), (0, 255, 0)]


def disc(mode: str = "RGBA", *, hidden: tuple[int, ...] = (0, 0, 0), side: int = 120) -> Image.Image:
    """A disc of one colour with a soft edge on nothing."""
    drawn = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(drawn).ellipse((0.4 * side, 0.4 * side, 3.6 * side, 3.6 * side), fill=255)
    alpha = drawn.resize((side, side), Image.Resampling.BOX)
    picture = Image.new("RGB", (side, side), hidden)
    picture.paste(COLOUR, mask=alpha.point([0] + [255] * 255))
    picture.putalpha(alpha)
    return picture.convert(mode)


def clouds(mode: str) -> Image.Image:
    """Smooth, of many colours at every alpha, and invisible where it has no alpha."""
    across = Image.linear_gradient("L").rotate(90).resize((120, 90))
    down, round_ = Image.linear_gradient("L").resize((120, 90)), Image.radial_gradient("L").resize((120, 90))
    return Image.merge(mode, (across, down, round_, ImageChops.invert(round_))[-len(mode) :])


def visible(image: Image.Image, at_least: int = 1) -> set[tuple[int, ...]]:
    """The colours of pixels whose alpha is at least so much."""
    found = image.getcolors(image.width * image.height) or []
    pixels = [pixel for _count, pixel in found if isinstance(pixel, tuple)]
    return {pixel[:-1] for pixel in pixels if pixel[-1] >= at_least}


GEOMETRY: list[Step] = [
    *(Resize(size=size, how="exact") for size in ((57, 57), (10, 31), (333, 150))),
    *(Resize(size=(60, 40), how=how) for how in ("contain", "cover", "fit", "pad")),
    *(Resize(how="scale", factor=factor) for factor in (0.31, 1.7)),
    *(Rotate(degrees=degrees, expand=expand) for degrees in (30, 90, -7.5) for expand in (False, True)),
]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("step", GEOMETRY, ids=str)
def test_geometry_keeps_one_colour_at_every_alpha(step: Step, mode: str) -> None:
    expected = {COLOUR} if mode == "RGBA" else visible(disc("LA"), 255)

    for hidden in HIDDEN:
        assert expected == visible(step(disc(mode, hidden=hidden)))


def test_the_fill_of_rotated_corners_is_not_mixed_in() -> None:
    done = Rotate(degrees=30, expand=True, background="#0000ff")(disc(hidden=(0, 255, 0)))

    assert {COLOUR, (0, 0, 255)} == visible(done)
    assert (0, 0, 255, 255) == pixel(done, 0, 0)


@pytest.mark.parametrize("step", [Sharpen(amount=4), Unsharp(radius=40), Median(size=9)], ids=str)
def test_filters_that_keep_alpha_find_no_edge_where_the_visible_ends(step: Step) -> None:
    assert {COLOUR} == visible(step(disc(hidden=(0, 255, 0))))


@pytest.mark.parametrize("radius", [1, 5, 30])
@pytest.mark.parametrize(("kind", "levels"), [(Blur, 2), (BoxBlur, 1)], ids=["three-boxes", "box"])
def test_a_blur_keeps_a_colour_the_better_the_more_of_it_is_seen(
    kind: type[Blur | BoxBlur], levels: int, radius: int
) -> None:
    done = kind(radius=radius)(disc(hidden=(255, 255, 255)))

    assert visible(done, 255) <= {COLOUR}
    for alpha in (1, 4, 16, 64, 200):
        for seen in visible(done, alpha):
            assert max(abs(a - b) for a, b in zip(seen, COLOUR, strict=True)) <= levels * 255 / alpha + 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("op", list(BUILT_IN))
def test_no_step_shows_anything_of_invisible_pixels(op: str, mode: str) -> None:
    step = built_in(op)(**built_in(op).example)
    one, other = clouds(mode), clouds(mode)
    other.paste((255,) * (len(mode) - 1) + (0,), mask=one.getchannel("A").point([255] + [0] * 255))

    assert made_of(step, one) == made_of(step, other)


def made_of(step: Step, picture: Image.Image) -> bytes | str:
    """The picture that the step makes, before a background; or why it rejects it."""
    try:
        return flatten(step(picture) if callable(step) else picture, "#3070a0").tobytes()
    except Reject as reject:
        return reject.reason


@pytest.mark.parametrize("background", ["#000000", "#ffffff", "#ff0000"])
@pytest.mark.parametrize(
    ("step", "levels"),
    [(Resize(size=(57, 43), how="exact"), 2), (Rotate(degrees=30), 2), (Blur(radius=5), 3), (BoxBlur(radius=4), 3)],
    ids=str,
)
def test_a_step_before_the_background_gives_what_it_gives_after_it(step: Step, levels: int, background: str) -> None:
    picture = clouds("RGBA")
    inside = step(Image.new("LA", picture.size, (0, 255))).getchannel("A").point([0] * 255 + [255])

    differing = ImageChops.difference(flatten(step(picture), background), step(flatten(picture, background)))

    assert levels >= max(ImageChops.darker(band, inside).getextrema()[1] for band in differing.split())


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("step", [Resize(size=(57, 43)), Resize(size=(300, 300), how="cover")], ids=str)
def test_an_opaque_picture_is_scaled_like_one_without_alpha(step: Step, mode: str) -> None:
    picture = photo(200, 150, mode)

    assert step(picture.convert(mode[:-1])).convert(mode).tobytes() == step(picture).tobytes()


def test_tones_are_measured_on_what_is_visible() -> None:
    picture = Image.new("LA", (4, 1), (0, 0))
    picture.putpixel((0, 0), (100, 255))
    picture.putpixel((1, 0), (120, 9))

    assert {(0,), (255,)} == visible(Autocontrast()(picture))
    assert {(90,), (130,)} == visible(Contrast(factor=2)(picture))
    assert b"\0\0" == Contrast(factor=2)(Image.new("LA", (1, 1))).tobytes()


def test_a_disc_keeps_its_colour_from_file_to_file(tmp_path: Path) -> None:
    steps = (Resize(size=(57, 57)), Rotate(degrees=30, expand=True))

    assert {COLOUR} == visible(run(tmp_path, encoded(disc(), "PNG"), steps=steps, output_format="png"))
