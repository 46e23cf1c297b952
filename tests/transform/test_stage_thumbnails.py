"""Pictures for the report: small, few, and never the item's trouble."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from batchproc.model import Item, SourceImage
from batchproc.transform.plan import Transform, build_steps, fingerprint
from batchproc.transform.stage import SIDE_PX
from tests.transform.drawing import encoded, item, no_lap, photo, pixel


def stage(folder: Path, **settings: Any) -> Transform:
    steps = build_steps([{"op": "resize", "size": [90, 90]}, {"op": "grayscale"}])
    (folder / "gallery").mkdir(exist_ok=True)
    return Transform(steps=steps, temporary_folder=str(folder), gallery_folder=str(folder / "gallery"), **settings)


def at(index: int, content: bytes) -> Item[SourceImage]:
    made = item(content, f"k{index}")
    return replace(made, source=replace(made.source, index=index))


def test_both_pictures_are_small_jpegs_of_the_item(tmp_path: Path) -> None:
    one = at(0, encoded(photo(800, 600), "PNG"))

    stage(tmp_path, gallery_every=1).open()(one, no_lap)

    stem = one.source.key_hex
    with Image.open(tmp_path / f"gallery/{stem}-before.jpg") as before:
        assert ("JPEG", (SIDE_PX, 192)) == (before.format, before.size)
        assert before.mode == "RGB"
    with Image.open(tmp_path / f"gallery/{stem}-after.jpg") as after:
        assert (90, 68) == after.size
        assert after.mode == "L"


def test_one_in_so_many_is_shown(tmp_path: Path) -> None:
    work = stage(tmp_path, gallery_every=3).open()
    content = encoded(photo(80, 60))

    for index in range(7):
        work(at(index, content), no_lap)

    assert 2 * len([0, 3, 6]) == len([*(tmp_path / "gallery").iterdir()])


def test_without_a_gallery_nothing_is_made_or_timed(tmp_path: Path) -> None:
    laps: list[str] = []

    stage(tmp_path).open()(at(0, encoded(photo())), laps.append)

    assert [] == [*(tmp_path / "gallery").iterdir()]
    assert "gallery" not in laps


def test_its_time_is_a_part_of_its_own(tmp_path: Path) -> None:
    laps: list[str] = []

    stage(tmp_path, gallery_every=1).open()(at(0, encoded(photo())), laps.append)

    assert ["decode", "gallery", "steps.resize", "steps.grayscale", "encode", "write", "gallery"] == laps


def test_a_folder_that_is_gone_does_not_fail_the_item(tmp_path: Path) -> None:
    work = stage(tmp_path, gallery_every=1).open()
    (tmp_path / "gallery").rmdir()

    assert 90 == work(at(0, encoded(photo())), no_lap).width_px


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_any_kind_of_picture_can_be_shown(tmp_path: Path, mode: str) -> None:
    plan = stage(tmp_path, gallery_every=1, output_format="png")
    one = at(0, encoded(photo(64, 64, mode), "PNG"))

    plan.open()(one, no_lap)

    assert 2 == len([*(tmp_path / "gallery").iterdir()])


def test_transparency_is_laid_on_the_background(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    one = at(0, encoded(clear, "PNG"))

    stage(tmp_path, gallery_every=1, output_format="png", background="#00ff00").open()(one, no_lap)

    before = (tmp_path / f"gallery/{one.source.key_hex}-before.jpg").read_bytes()
    red, green, _ = pixel(Image.open(BytesIO(before)), 32, 32)
    assert green > 250
    assert red < 5


def test_the_gallery_decides_no_pixel(tmp_path: Path) -> None:
    with_gallery, without = stage(tmp_path, gallery_every=1), stage(tmp_path)
    one = at(0, encoded(photo(800, 600)))

    assert fingerprint(without) == fingerprint(with_gallery)
    assert without.open()(one, no_lap).sha256 == with_gallery.open()(one, no_lap).sha256
