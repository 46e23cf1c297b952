"""A step of the user's own: found by name in a fresh process, refused with the reason, its errors its own."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from batchproc.errors import Code, Reject, StageError, UsageError
from batchproc.transform.plan import Transform, build_steps, fingerprint
from batchproc.transform.steps.custom import CustomStep, CustomStepError, hash_source, load, step
from tests.transform.drawing import encoded, photo, run

SOURCE = '''
from dataclasses import dataclass
from typing import ClassVar
from msgspec import Struct
from PIL import Image
from batchproc import Reject

def invert(image):
    return image.point(lambda level: 255 - level)

def fails(image):
    raise KeyError("no\\nsuch thing")

def leaves(image):
    raise SystemExit("bye")

def interrupts(image):
    raise KeyboardInterrupt

def panics(image):
    class PanicException(BaseException):
        pass
    raise PanicException("index out of bounds")

def tells_secrets(image):
    raise ValueError("no reply from https://me:hunter2@h.example/a?token=hunter3")

def rejects_with_secrets(image):
    raise Reject("seen at https://me:hunter2@h.example/a?token=hunter3\\n" + 1000 * "x")

def talks_too_much(image):
    raise ValueError(1000 * "x")

class Mumbles(Exception):
    def __str__(self):
        raise KeyboardInterrupt

def mumbles(image):
    raise Mumbles

class BareReject(Reject):
    def __init__(self):
        pass

def rejects_without_a_word(image):
    raise BareReject

def returns_no_pixels(image):
    return image.crop((0, 0, 0, 5))

def rejects(image):
    raise Reject("too dull")

def swallows(image):
    raise MemoryError

def returns_none(image):
    return None

def returns_cmyk(image):
    return image.convert("CMYK")

inner = lambda image: image
number = 7

@dataclass(frozen=True)
class Tint:
    colour: str
    strength: float = 0.5
    version: ClassVar[int] = 3

    def __post_init__(self):
        if self.strength > 1:
            raise ValueError(f"strength = {self.strength}: must be 1 or less")

    def __call__(self, image):
        return Image.blend(image, Image.new("RGB", image.size, self.colour), self.strength)

class Veil(Struct, frozen=True):
    level: int = 1

    def __call__(self, image):
        return image.point(lambda level: self.level)

@dataclass
class Thawed:
    def __call__(self, image):
        return image

class Soft(Struct):
    def __call__(self, image):
        return image

@dataclass(frozen=True)
class Mute:
    pass
'''


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of steps, which is on nobody's path yet."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "own_steps_of_a_test.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_steps_of_a_test", raising=False)
    return folder


def own(home: Path, name: str, **keys: object) -> CustomStep:
    (step,) = build_steps([{"op": f"own_steps_of_a_test:{name}", **keys}], home)
    assert isinstance(step, CustomStep)
    return step


def test_a_function_of_the_users_runs(home: Path, tmp_path: Path) -> None:
    made = run(tmp_path, encoded(Image.new("L", (8, 8), 30), "PNG"), steps=(own(home, "invert"),), output_format="png")

    assert 225 == made.getpixel((4, 4))


def test_a_frozen_struct_of_the_users_gets_its_keys(home: Path) -> None:
    made = pickle.loads(pickle.dumps(own(home, "Veil", level=9)))(Image.new("L", (8, 8)))

    assert (9, 9) == made.getextrema()


def test_a_dataclass_of_the_users_gets_its_keys(home: Path) -> None:
    made = own(home, "Tint", colour="#ff0000", strength=1.0)(photo(8, 8))

    assert (255, 0, 0) == made.getpixel((4, 4))


def test_a_fresh_process_finds_the_step_from_the_pickle_alone(home: Path, tmp_path: Path) -> None:
    stage = Transform(steps=(own(home, "Tint", colour="#ff0000"),), temporary_folder=str(tmp_path))
    code = "import pickle, sys; print(type(pickle.load(sys.stdin.buffer).open()).__name__)"

    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(stage), capture_output=True, check=False)

    assert (b"TransformWork", b"") == (done.stdout.strip(), done.stderr.strip())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "step own_steps_of_a_test:fails raised KeyError: 'no\\nsuch thing'"),
        ("leaves", "step own_steps_of_a_test:leaves raised SystemExit: bye"),
        ("interrupts", "step own_steps_of_a_test:interrupts raised KeyboardInterrupt"),
        ("panics", "step own_steps_of_a_test:panics raised PanicException: index out of bounds"),
        ("mumbles", "step own_steps_of_a_test:mumbles raised Mumbles"),
        ("returns_no_pixels", "step own_steps_of_a_test:returns_no_pixels returned an image of 0 x 5 px"),
        ("returns_none", "step own_steps_of_a_test:returns_none returned NoneType, not an image"),
    ],
)
def test_what_a_step_raises_is_a_step_error(home: Path, name: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        own(home, name)(photo(8, 8))

    assert (Code.STEP_ERROR, message) == (caught.value.code, caught.value.message)


@pytest.mark.parametrize("name", ["tells_secrets", "rejects_with_secrets", "talks_too_much"])
def test_what_a_step_says_is_one_short_line_without_secrets(home: Path, name: str) -> None:
    with pytest.raises((StageError, Reject)) as caught:
        own(home, name)(photo(8, 8))

    message = str(caught.value)
    assert "hunter" not in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_rejection_without_a_word_is_one(home: Path) -> None:
    with pytest.raises(Reject) as caught:
        own(home, "rejects_without_a_word")(photo(8, 8))

    assert (Code.CHECK_REJECTED, "rejected by step own_steps_of_a_test:rejects_without_a_word") == (
        caught.value.code, caught.value.reason
    )  # fmt: skip


@pytest.mark.parametrize("error", ["GeneratorExit", "SystemExit", "KeyboardInterrupt"])
def test_a_module_that_raises_anything_is_refused_in_a_worker_thread(home: Path, error: str) -> None:
    (home / f"raises_{error.lower()}.py").write_text(f"raise {error}")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(load, f"raises_{error.lower()}:step", str(home))

    assert isinstance(future.exception(), CustomStepError)
    assert f"cannot be imported: {error}" in str(future.exception())


def test_a_real_interrupt_while_a_step_is_imported_ends_the_command(home: Path) -> None:
    (home / "interrupted_import.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")

    with pytest.raises(KeyboardInterrupt):
        load("interrupted_import:step", str(home))


def test_a_step_may_reject_and_may_run_out_of_memory(home: Path) -> None:
    with pytest.raises(Reject, match="too dull") as rejected:
        own(home, "rejects")(photo(8, 8))
    with pytest.raises(StageError) as failed:
        own(home, "swallows")(photo(8, 8))

    assert (Code.CHECK_REJECTED, Code.IMAGE_MEMORY) == (rejected.value.code, failed.value.code)


def test_an_unusual_mode_is_brought_back_to_a_working_one(home: Path) -> None:
    assert "RGB" == own(home, "returns_cmyk")(photo(8, 8)).mode


@pytest.mark.parametrize(
    ("op", "keys", "message"),
    [
        ("no_such_module_here:x", {}, "module no_such_module_here cannot be imported: ModuleNotFoundError"),
        ("own_steps_of_a_test:nothing", {}, "module own_steps_of_a_test has no nothing"),
        ("own_steps_of_a_test:number", {}, "is a int, not a function or a dataclass with __call__"),
        ("own_steps_of_a_test:inner", {}, "cannot be pickled by name"),
        ("own_steps_of_a_test:invert", {"amount": 1}, "is a function and takes no keys"),
        ("own_steps_of_a_test:Thawed", {}, "is a class, but not a frozen dataclass or Struct"),
        ("own_steps_of_a_test:Soft", {}, "is a class, but not a frozen dataclass or Struct"),
        ("own_steps_of_a_test:Mute", {}, "has no __call__"),
        ("own_steps_of_a_test:Tint", {}, "refuses its keys: TypeError"),
        ("own_steps_of_a_test:Tint", {"colour": "red", "strength": 2}, "strength = 2: must be 1 or less"),
    ],
)
def test_what_cannot_be_a_step_is_refused_with_the_reason(
    home: Path, op: str, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build_steps([{"op": op, **keys}], home)

    assert message in str(caught.value)
    assert f"[transform] steps[0] ({op})" == caught.value.problems[0].where


def test_the_fingerprint_knows_an_own_step_by_path_keys_and_version(home: Path, tmp_path: Path) -> None:
    def digits(*steps: CustomStep) -> str:
        return fingerprint(Transform(steps=steps, temporary_folder=str(tmp_path)))

    tint = own(home, "Tint", colour="red")
    newer = CustomStep(path=tint.path, keys=tint.keys, search_path=tint.search_path, version="4")
    moved = CustomStep(path=tint.path, keys=tint.keys, search_path="/elsewhere", version=tint.version)

    assert "3" == tint.version
    assert digits(tint) == digits(moved)
    others = [newer, own(home, "Tint", colour="blue"), own(home, "invert")]
    assert 4 == len({digits(one) for one in [tint, *others]})


def test_the_source_of_a_step_is_its_own_and_not_the_look_of_its_lines(tmp_path: Path) -> None:
    def digits(module: str, text: str) -> str:
        (tmp_path / f"{module}.py").write_text(text)
        return hash_source(load(f"{module}:step", str(tmp_path)))

    step = "def step(image):\n    return image\n"
    first = digits("plain_step", step)

    assert len(bytes.fromhex(first)) == 16
    assert first == digits("crlf_step", "\n# another\n" + step.replace("\n", "   \r\n") + "\n\nother = 1\n")
    assert first != digits("edited_step", step.replace("return image", "return image.copy()"))
    assert first != digits("class_step", "class step:\n    pass\n")


def test_a_step_without_a_source_has_none() -> None:
    assert "" == hash_source(len)


def test_a_marked_function_is_the_same_function() -> None:
    assert plain is step(plain)


def test_a_marked_step_carries_its_version() -> None:
    @dataclass(frozen=True)
    class Border:
        def __call__(self, image: Image.Image) -> Image.Image:
            return image

    Border.__qualname__ = "Border"

    assert "2" == step(version="2")(Border).version  # type: ignore[attr-defined]


def test_marking_refuses_what_a_config_could_not_use() -> None:
    @dataclass
    class Thawed:
        def __call__(self, image: Image.Image) -> Image.Image:
            return image

    @dataclass(frozen=True)
    class Silent:
        pass

    def inner(image: Image.Image) -> Image.Image:
        return image

    for found, why in ((Thawed, "not a frozen dataclass"), (Silent, "has no __call__"), (inner, "top level")):
        with pytest.raises(CustomStepError, match=why):
            step(found)


def plain(image: Image.Image) -> Image.Image:
    return image
