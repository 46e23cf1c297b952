"""The checks: what they drop and what they keep, at their bounds, in every mode and through the stage."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFilter

from batchproc.defaults import FORMATS
from batchproc.errors import Code, Reject
from batchproc.transform.plan import build_steps, built_in
from batchproc.transform.steps.checks import Format, MaxSize, NotBlank, Sharpness
from tests.transform.drawing import encoded, photo, run

MODES = ("L", "LA", "RGB", "RGBA")
ODD_SIZES = ((1, 1), (1, 40), (40, 1), (2, 2))


def rejected(check: Any, image: Image.Image) -> str:
    """The code, empty where the picture is kept."""
    try:
        assert check(image) is image
    except Reject as reject:
        return reject.code
    return ""


def shape(mode: str, ink: Any, paper: Any, side: int = 30) -> Image.Image:
    """A square of `ink` in the middle of 100 x 80 px of `paper`."""
    image = Image.new(mode, (100, 80), paper)
    image.paste(ink, (40, 30, 40 + side, 30 + side))
    return image


@pytest.mark.parametrize(
    ("keys", "kept", "dropped"),
    [
        ({"width": 100}, (100, 999), (101, 1)),
        ({"height": 100}, (999, 100), (1, 101)),
        ({"pixels": 100}, (100, 1), (101, 1)),
        ({"width": 10, "height": 10, "pixels": 50}, (5, 10), (10, 10)),
    ],
    ids=["width", "height", "pixels", "all"],
)
def test_max_size_drops_what_is_beyond_a_limit(
    keys: dict[str, int], kept: tuple[int, int], dropped: tuple[int, int]
) -> None:
    check = MaxSize(**keys)

    assert ["", Code.CHECK_MAX_SIZE] == [rejected(check, Image.new("L", size)) for size in (kept, dropped)]


@pytest.mark.parametrize(
    ("op", "keys", "message"),
    [
        ("max_size", {}, "width, height, pixels: at least one of them is needed"),
        ("format", {"formats": []}, f"formats = []: must be a list of some of {', '.join(FORMATS)}"),
        ("format", {"formats": ["jpg"]}, f'formats = ["jpg"]: must be a list of some of {", ".join(FORMATS)}'),
        ("not_blank", {"content": 0}, "content = 0: must be a number above 0 and up to 100 percent"),
        ("sharpness", {"min": -1}, "min = -1: must be a number above 0 and up to 10000"),
    ],
)
def test_a_bad_value_is_quoted_with_what_is_allowed(op: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        built_in(op)(**keys)

    assert message == str(caught.value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_format_drops_by_the_content_wherever_it_stands(tmp_path: Path, place: int) -> None:
    tables: list[dict[str, object]] = [{"op": "min_size", "width": 9999}, {"op": "resize", "size": [9, 9]}]
    steps = build_steps([*tables[:place], {"op": "format", "formats": ["png", "webp"]}, *tables[place:]])

    with pytest.raises(Reject, match="jpeg is not among png, webp") as caught:
        run(tmp_path, encoded(photo()), steps=steps)

    assert Code.CHECK_FORMAT == caught.value.code


def test_format_changes_nothing_of_what_it_keeps(tmp_path: Path) -> None:
    resize = {"op": "resize", "size": [40, 40]}
    content = encoded(photo())
    plain, checked = (
        run(tmp_path, content, steps=build_steps(tables), output_format="png")
        for tables in ([resize], [{"op": "format", "formats": ["jpeg"]}, resize])
    )

    assert plain.tobytes() == checked.tobytes()


def test_format_of_an_image_by_itself_is_not_known() -> None:
    assert "" == rejected(Format(formats=("png",)), photo())


def blanks() -> Iterator[Any]:
    """Pictures without content."""
    for mode in MODES:
        yield pytest.param(Image.new(mode, (60, 40)), id=f"black or transparent {mode}")
        yield pytest.param(Image.new(mode, (60, 40), "white"), id=f"white {mode}")
    for size in ODD_SIZES:
        yield pytest.param(Image.new("RGB", size, "red"), id=f"{size}")
    yield pytest.param(Image.linear_gradient("L").point(lambda level: level * 8 // 255), id="8 levels")
    hidden = photo().convert("RGBA")
    hidden.putalpha(0)
    yield pytest.param(hidden, id="a photograph, all transparent")
    faint = shape("L", 0, 255, side=2)  # 4 of 8,000 pixels
    yield pytest.param(faint, id="a speck")


@pytest.mark.parametrize("image", list(blanks()))
def test_not_blank_drops_pictures_without_content(image: Image.Image) -> None:
    assert Code.CHECK_NOT_BLANK == rejected(NotBlank(), image)


@pytest.mark.parametrize(
    "image",
    [
        *(photo(mode=mode) for mode in MODES),
        shape("L", 0, 255),
        shape("RGB", (0, 0, 90), (0, 0, 99)),
        shape("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        shape("LA", (255, 255), (255, 0)),
        Image.linear_gradient("L"),
        shape("L", 0, 255, side=3),
    ],
    ids=[*MODES, "a shape", "9 levels of blue", "black by its alpha", "white by its alpha", "a gradient", "9 pixels"],
)
def test_not_blank_keeps_pictures_with_content(image: Image.Image) -> None:
    assert "" == rejected(NotBlank(), image)


def test_the_thresholds_of_not_blank_are_its_keys() -> None:
    quarter = Image.new("L", (20, 20), 100)
    quarter.paste(120, (0, 0, 10, 10))
    kept = [
        (content, tolerance)
        for content in (25, 25.1)
        for tolerance in (19, 20)
        if not rejected(NotBlank(content=content, tolerance=tolerance), quarter)
    ]

    assert [(25, 19)] == kept


def text(mode: str = "L", ink: Any = 0, paper: Any = 255) -> Image.Image:
    """Something with many edges."""
    image = Image.new(mode, (160, 120), paper)
    pen = ImageDraw.Draw(image)
    for number in range(0, 160, 9):
        pen.line((number, 0, 159 - number, 119), fill=ink, width=2)
    return image


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    image = photo(30, 20, "L")
    image.paste(140, (12, 8, 20, 15))
    at = image.load()
    assert at is not None
    found = [
        at[x - 1, y] + at[x + 1, y] + at[x, y - 1] + at[x, y + 1] - 4 * at[x, y]  # type: ignore[operator]
        for x in range(1, 29)
        for y in range(1, 19)
    ]
    mean = sum(found) / len(found)

    assert sum((one - mean) ** 2 for one in found) / len(found) == pytest.approx(Sharpness.measure(image), rel=0.05)


@pytest.mark.parametrize("mode", MODES)
def test_sharpness_falls_with_every_blur(mode: str) -> None:
    sharp = text().convert(mode)
    measured = [Sharpness.measure(sharp.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2, 4)]

    assert sorted(measured, reverse=True) == measured
    assert measured[0] > 1000 > 20 > measured[-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", ODD_SIZES)
def test_a_picture_without_inside_has_no_sharpness(mode: str, size: tuple[int, int]) -> None:
    assert Code.CHECK_SHARPNESS == rejected(Sharpness(min=0.1), text().convert(mode).resize(size))


def test_edges_of_alpha_alone_are_sharp() -> None:
    assert "" == rejected(Sharpness(min=1000), text("RGBA", (9, 9, 9, 255), (9, 9, 9, 0)))


def test_colours_that_cannot_be_seen_are_not_sharp() -> None:
    image = text().convert("RGBA")
    image.putalpha(0)

    assert 0 == Sharpness.measure(image)


def odd_files() -> Iterator[Any]:
    """Files of unusual modes, each with a shape on a plain ground."""
    for mode, ink, paper, kind in (
        ("1", 0, 1, "PNG"), ("I;16", 0, 65535, "PNG"), ("I;16", 65535, 256, "TIFF"),
        ("CMYK", (255, 0, 0, 0), 0, "TIFF"), ("F", 1.0, 0.0, "TIFF"), ("I", 0, 65535, "TIFF"),
        ("LA", (0, 255), (0, 0), "PNG"), ("RGBA", (1, 2, 3, 255), 0, "PNG"),
    ):  # fmt: skip
        yield pytest.param(encoded(shape(mode, ink, paper), kind), id=f"{mode} {kind}")
    palette = shape("P", 1, 0)
    palette.putpalette([200, 0, 0, 200, 0, 0])
    yield pytest.param(encoded(palette, "PNG", transparency=0), id="P, a shape by transparency")


@pytest.mark.parametrize("content", list(odd_files()))
def test_the_new_steps_take_pictures_of_every_mode(tmp_path: Path, content: bytes) -> None:
    tables: list[dict[str, object]] = [
        {"op": "format", "formats": ["png", "tiff"]}, {"op": "max_size", "pixels": 8000}, {"op": "not_blank"},
        {"op": "sharpness", "min": 50}, {"op": "trim"}, {"op": "flip"}, {"op": "gamma", "gamma": 0.8},
    ]  # fmt: skip

    made = run(tmp_path, content, steps=build_steps(tables), output_format="png")

    assert (30, 30) == made.size


def test_jpegs_see_their_transparent_shapes_on_the_background(tmp_path: Path) -> None:
    content = encoded(shape("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)), "PNG")

    with pytest.raises(Reject):  # white on white
        run(tmp_path, content, steps=build_steps([{"op": "not_blank"}]))
    kept = run(tmp_path, content, steps=build_steps([{"op": "not_blank"}]), background="#000000")

    assert (100, 80) == Image.open(BytesIO(encoded(kept))).size
