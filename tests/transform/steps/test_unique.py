"""The difference hash: alike for what looks alike, whatever its size, mode and encoding."""

import pytest
from PIL import Image, ImageDraw

from batchproc.transform.plan import unique_bits
from batchproc.transform.steps.checks import Unique


def draw(size: tuple[int, int] = (160, 120), shift: int = 0, mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (320, 240), "white")
    pen = ImageDraw.Draw(image)
    for number in range(9):
        left = (number * 67 + shift) % 300
        pen.ellipse((left, number * 23, left + 60, number * 23 + 70), fill=(number * 28, 255 - number * 20, 90))
    return image.resize(size, Image.Resampling.BICUBIC).convert(mode)


def difference(one: Image.Image, other: Image.Image) -> int:
    return (int(Unique.hash_of(one), 16) ^ int(Unique.hash_of(other), 16)).bit_count()


@pytest.mark.parametrize(
    "other",
    [draw((320, 240)), draw((80, 60)), draw(mode="L"), draw(mode="RGBA"), draw((160, 119))],
    ids=["larger", "smaller", "grey", "with alpha", "a row less"],
)
def test_the_same_picture_is_within_a_few_bits(other: Image.Image) -> None:
    assert 4 >= difference(draw(), other)


def test_another_picture_is_far_away() -> None:
    assert 10 < difference(draw(), draw(shift=111))


def test_what_is_invisible_counts_as_white() -> None:
    hidden = draw(mode="RGBA")
    hidden.putalpha(0)

    assert Unique.hash_of(Image.new("L", (9, 9), 255)) == Unique.hash_of(hidden)


def test_the_hash_has_a_bit_for_each_step_down_to_the_right() -> None:
    falling = Image.linear_gradient("L").rotate(90)

    assert {"0" * 16, "f" * 16} == {Unique.hash_of(falling), Unique.hash_of(falling.rotate(180))}


def test_the_widest_of_several_steps_counts() -> None:
    assert unique_bits([]) is None
    assert 6 == unique_bits([Unique(bits=2), Unique(bits=6)])
