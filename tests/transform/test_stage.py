"""The stage as an executor sees it: picklable, timed in parts, the same bytes wherever it runs."""

import hashlib
import pickle
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from batchproc.errors import Code, Reject, StageError
from batchproc.protocols import Stage
from batchproc.transform.decode import FORMATS
from batchproc.transform.plan import Transform, build_steps, fingerprint
from tests.transform.drawing import Laps, difference, encoded, item, no_lap, photo, pixel, run


def plan(folder: Path, *tables: dict[str, Any], **settings: Any) -> Transform:
    return Transform(steps=build_steps(tables), temporary_folder=str(folder), **settings)


CONTAIN: dict[str, Any] = {"op": "resize", "size": [100, 100]}


def test_a_rendition_tells_all_its_facts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo(400, 300), exif=exif)

    made = plan(tmp_path, CONTAIN).open()(item(content, "k"), no_lap)

    data = Path(made.temporary_path).read_bytes()
    with Image.open(made.temporary_path) as image:
        assert (made.width_px, made.height_px) == (75, 100) == image.size
    assert (made.original_width_px, made.original_height_px, made.original_format) == (300, 400, "JPEG")
    assert (made.suffix, made.format, made.mode, made.size_bytes) == (".jpg", "JPEG", "RGB", len(data))
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert made.source_sha256 == hashlib.sha256(content).hexdigest()
    assert made.original_size_bytes == len(content)
    assert made.reply.status_code == 200


def test_the_laps_are_decode_each_step_encode_write(tmp_path: Path) -> None:
    laps: Any = Laps()
    own = {"op": "PIL.ImageOps:mirror"}
    checks_first = plan(tmp_path, {"op": "min_size", "width": 8}, CONTAIN, own, {"op": "sharpen"})
    checks_first.open()(item(encoded(photo())), laps)

    assert ["decode", "steps.resize", "steps.PIL.ImageOps:mirror", "steps.sharpen", "encode", "write"] == laps.parts


def test_the_stage_survives_pickling_and_fits_the_protocol(tmp_path: Path) -> None:
    stage: Stage[Any, Any] = plan(tmp_path, CONTAIN, {"op": "sharpen"}, {"op": "max_aspect", "ratio": 3})

    assert stage == pickle.loads(pickle.dumps(stage))
    assert "transform" == stage.name
    assert all(__import__(name) for name in stage.preload)


def test_threads_make_the_same_bytes_as_one_after_the_other(tmp_path: Path) -> None:
    contents = [encoded(photo(300 + 7 * number, 200)) for number in range(8)]
    stage = plan(tmp_path, CONTAIN, {"op": "sharpen"}, {"op": "median"})
    serial = stage.open()
    expected = [serial(item(content), no_lap).sha256 for content in contents]
    found: dict[int, list[str]] = {}

    def work(name: int) -> None:
        opened = stage.open()
        found[name] = [opened(item(content), no_lap).sha256 for content in contents]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [expected] * 3 == [found[name] for name in range(3)]


@pytest.mark.parametrize("quality", ["fast", "balanced", "exact"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_quality_shows_the_reference_picture(tmp_path: Path, quality: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(1003, 701), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(content)))
    reference = ImageOps.contain(upright, (100, 100), Image.Resampling.LANCZOS)

    made = run(tmp_path, content, steps=build_steps([CONTAIN]), quality=quality, output_format="png")

    assert reference.size == made.size
    assert difference(made, reference) < (0.05 if quality == "exact" else 1.5)


@pytest.mark.parametrize("quality", ["fast", "balanced"])
def test_checks_before_a_resize_see_the_original_size(tmp_path: Path, quality: str) -> None:
    content = encoded(photo(800, 600))
    tables: list[dict[str, object]] = [{"op": "grayscale"}, {"op": "min_size", "width": 800, "height": 600}, CONTAIN]

    made = run(tmp_path, content, steps=build_steps(tables), quality=quality)

    assert (100, 75) == made.size
    with pytest.raises(Reject, match="800 x 600 px is smaller than 801 x 1 px"):
        run(tmp_path, content, steps=build_steps([{"op": "min_size", "width": 801}, CONTAIN]), quality=quality)


def test_a_check_after_a_resize_sees_the_new_size(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="100 x 75 px"):
        run(tmp_path, encoded(photo(800, 600)), steps=build_steps([CONTAIN, {"op": "min_size", "height": 76}]))


def test_a_rejected_picture_is_never_decoded(tmp_path: Path) -> None:
    content = encoded(photo(400, 300))
    cut = content[: len(content) // 2]

    with pytest.raises(Reject) as caught:
        run(tmp_path, cut, steps=build_steps([{"op": "min_size", "width": 1000}]))

    assert (Code.CHECK_MIN_SIZE, []) == (caught.value.code, list(tmp_path.iterdir()))


@pytest.mark.parametrize("step", [{"op": "blur"}, {"op": "crop", "size": [300, 200]}], ids=["blur", "crop"])
def test_steps_before_a_resize_get_every_pixel(tmp_path: Path, step: dict[str, Any]) -> None:
    content = encoded(photo(800, 600))
    tables = build_steps([step, CONTAIN])

    balanced = run(tmp_path, content, steps=tables, quality="balanced", output_format="png")
    exact = run(tmp_path, content, steps=tables, quality="exact", output_format="png")

    assert exact.size == balanced.size
    assert difference(exact, balanced) < 1


@pytest.mark.parametrize("fault", [b"", b"<html>", b"\xff\xd8\xff\xe0"], ids=["empty", "html", "stub"])
def test_a_failed_item_leaves_no_file(tmp_path: Path, fault: bytes) -> None:
    with pytest.raises(StageError):
        run(tmp_path, fault)

    assert [] == list(tmp_path.iterdir())


def test_transparent_pixels_lend_no_colour_to_their_neighbours(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (32, 0, 64, 64))

    steps = build_steps([{"op": "resize", "size": [9, 9]}])

    small = run(tmp_path, encoded(picture, "PNG"), steps=steps, output_format="png")
    flat = run(tmp_path, encoded(picture, "PNG"), steps=steps, output_quality=95)

    assert "RGBA" == small.mode
    seen = [pixel(small, x, y) for x in range(9) for y in range(9)]
    assert all(red < 8 for red, _green, _blue, alpha in seen if alpha > 8)
    assert ("RGB", True) == (flat.mode, min(pixel(flat, 1, 4)) > 245)


def test_the_fingerprint_covers_the_pixels_and_nothing_else(tmp_path: Path) -> None:
    base = plan(tmp_path, CONTAIN)
    same = [
        plan(tmp_path / "elsewhere", CONTAIN, durability="power"),
        plan(tmp_path, {**CONTAIN, "how": "contain"}),
        plan(tmp_path, CONTAIN, formats=tuple(reversed(FORMATS)), background="#FFFFFF"),
    ]
    others = [
        plan(tmp_path, {**CONTAIN, "size": [100, 101]}),
        plan(tmp_path),
        plan(tmp_path, CONTAIN, {"op": "blur"}),
        plan(tmp_path, CONTAIN, quality="fast"),
        plan(tmp_path, CONTAIN, formats=("jpeg",)),
        plan(tmp_path, CONTAIN, max_pixels=1),
        plan(tmp_path, CONTAIN, output_format="png"),
        plan(tmp_path, CONTAIN, output_quality=84),
        plan(tmp_path, CONTAIN, background="#fffffe"),
    ]

    assert {fingerprint(base)} == {fingerprint(one) for one in same}
    assert 10 == len({fingerprint(one) for one in [base, *others]})
    assert len(bytes.fromhex(fingerprint(base))) == 16
