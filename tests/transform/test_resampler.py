"""The engine does what Pillow does, only faster; where it cannot, Pillow does it, and the row says so."""

import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from PIL.Image import Resampling

from batchproc.model import OutputImage
from batchproc.transform import resampler
from batchproc.transform.plan import build_steps
from tests.transform.drawing import difference, encoded, item, no_lap, photo, run
from tests.transform.test_stage import CONTAIN, plan

pytest.importorskip("cykooz_resizer", exc_type=ImportError, reason="no wheel")
BOXES = {"whole": (0, 0, 200, 150), "fractions": (0.3, 0.7, 199.6, 148.9), "part": (10.5, 20.25, 60.75, 99.125)}


class PanicException(BaseException):
    """Stands for a Rust panic."""


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    class Failing:
        def resize_pil(self, *_arguments: object) -> None:
            raise error

    monkeypatch.setattr(resampler, "RustResizer", Failing)


def made(folder: Path, content: bytes, *tables: dict[str, Any]) -> OutputImage:
    return plan(folder, *tables, output_format="png").open()(item(content), no_lap)


@pytest.mark.parametrize("box", BOXES.values(), ids=list(BOXES))
@pytest.mark.parametrize("size", [(64, 48), (333, 251), (1, 1)], ids=str)
@pytest.mark.parametrize("kernel", [Resampling.BICUBIC, Resampling.LANCZOS])
def test_floats_come_out_as_from_pillow(kernel: Resampling, size: tuple[int, int], box: Any) -> None:
    picture = photo(200, 150, "L").convert("F")

    done = resampler.resize(picture, size, kernel, box=box, note=pytest.fail)

    expected = picture.resize(size, kernel, box=box)
    assert ("F", size) == (done.mode, done.size)
    pairs = zip(array("f", expected.tobytes()), array("f", done.tobytes()), strict=True)
    assert 0.01 > max(abs(a - b) for a, b in pairs)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(64, 48), (222, 170)], ids=str)
def test_bytes_are_as_near_to_the_floats_as_pillows(size: tuple[int, int], mode: str) -> None:
    picture, kernel, box = photo(200, 150, mode), Resampling.LANCZOS, BOXES["fractions"]

    def away(image: Image.Image) -> int:
        """By how much the bands differ from the bands resized as floats, in 1/256 of a level."""
        found = 0
        for band, source in zip(image.split(), picture.split(), strict=True):
            truth = array("f", source.convert("F").resize(size, kernel, box=box).tobytes())
            found += sum(int(256 * abs(min(max(a, 0), 255) - b)) for a, b in zip(truth, band.tobytes(), strict=True))
        return found

    done = resampler.resize(picture, size, kernel, box=box, note=pytest.fail)

    assert away(done) <= 1.01 * away(picture.resize(size, kernel, box=box))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("box", BOXES.values(), ids=list(BOXES))
@pytest.mark.parametrize("size", [(64, 48), (222, 170)], ids=str)
def test_with_its_rows_first_it_is_within_two_levels_of_pillow(size: tuple[int, int], box: Any, mode: str) -> None:
    picture, kernel = Image.effect_noise((200, 150), 300).convert(mode), Resampling.LANCZOS

    done = resampler.resize(picture, size, kernel, box=box, rows_first=True, note=pytest.fail)

    apart = ImageChops.difference(done, picture.resize(size, kernel, box=box))
    assert 2 >= max(band.getextrema()[1] for band in apart.split())


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), ValueError("no"), PanicException("no")], ids=["error", "value", "panic"]
)
def test_pillow_stands_in_for_an_engine_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    content = encoded(photo())
    usual = run(tmp_path, content, steps=build_steps([CONTAIN]), output_format="png")
    fail_with(monkeypatch, error)

    rendition = made(tmp_path, content, CONTAIN)

    assert (f"resized by Pillow: the resampler failed ({type(error).__name__})",) == rendition.notes
    with Image.open(rendition.temporary_path) as image:
        assert difference(usual, image) < 0.5


def test_an_image_with_alpha_is_noted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture = photo(mode="RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    fail_with(monkeypatch, RuntimeError("no"))

    assert 1 == len(made(tmp_path, encoded(picture, "PNG"), CONTAIN).notes)


def test_what_ends_a_process_is_no_failure_of_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, encoded(photo()), CONTAIN)


def test_a_mode_that_the_engine_does_not_take_is_pillows() -> None:
    notes: list[str] = []
    picture = photo(mode="HSV")

    done = resampler.resize(picture, (40, 30), Resampling.LANCZOS, box=(0, 0, 400, 300), note=notes.append)

    assert ["resized by Pillow: the resampler does not take mode HSV"] == notes
    assert picture.resize((40, 30), Resampling.LANCZOS).tobytes() == done.tobytes()


def in_new_process(code: str) -> str:
    """What a program prints, in a process of its own."""
    command, root = [sys.executable, "-c", f"import sys\n{code}"], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


RESIZED = """
from PIL import Image, ImageChops
from batchproc.transform import resampler
small = resampler.resize(Image.linear_gradient("L"), (9, 9), 1, box=(0, 0, 256, 256), note=print)
print(resampler.engine(), bool(resampler.problem()), small.size)
"""


def test_without_the_package_pillow_does_it_all_and_no_image_is_noted() -> None:
    assert f"pillow {Image.__version__} True (9, 9)\n" == in_new_process(
        f"sys.modules['cykooz_resizer'] = None{RESIZED}"
    )
    assert in_new_process(RESIZED).startswith("cykooz-resizer 4.")


NO_MEMORY = """
import resource
from PIL import Image, ImageChops
from batchproc.transform import resampler
tall = Image.new("L", (20_000, 10))
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 500_000_000, -1))
try:
    resampler.resize(tall, (10, 60_000), 1, box=(0, 0, 20_000, 10), note=print)
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_memory_is_an_error_and_not_the_end_of_the_process() -> None:
    assert "MemoryError\n" == in_new_process(NO_MEMORY)
