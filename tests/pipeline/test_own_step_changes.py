"""An own step that was edited: what it made before is told, and made again on demand, never taken for the new."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.errors import UsageError
from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob

from .test_job import rows
from .test_modes import run

STEP = """
from PIL import Image

def tint(image):
    return Image.new("RGB", image.size, "{colour}")
{version}
"""
TABLE = '[[transform.steps]]\nop = "{module}:tint"\n\n[report]'
SERIAL = "transform.mode=serial"
ACCEPT = RunOptions(accept_config_change=True)
Write = Callable[[str], Path]


@pytest.fixture
def write(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Write:
    """Writes a job with an own step of this colour, as a new process would see it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"tint_of_{request.node.originalname}"
    config = make_job(images=3)
    config.write_text(config.read_text().replace("[report]", TABLE.format(module=module)))

    def write(colour: str, version: str = "") -> Path:
        declared = f"tint.version = {version!r}" if version else ""
        (tmp_path / f"{module}.py").write_text(STEP.format(colour=colour, version=declared))
        sys.modules.pop(module, None)
        return config

    return write


def hashes(tmp_path: Path) -> list[object]:
    return [row["sha256"] for row in rows(tmp_path / "out/metadata.jsonl")]


def test_an_edited_step_is_told_and_its_images_are_made_again_on_demand(write: Write, tmp_path: Path) -> None:
    run(write("red"), SERIAL)
    red = hashes(tmp_path)

    with pytest.raises(UsageError, match="3 items were made by another plan") as caught:
        run(write("blue"), SERIAL)
    assert ":tint): its source is another one" in str(caught.value)
    assert red == hashes(tmp_path)

    assert 3 == run(write("blue"), SERIAL, options=ACCEPT).facts["counts"]["processed"]
    assert not {*red} & {*hashes(tmp_path)}
    assert 0 == run(write("blue"), SERIAL).facts["counts"]["processed"]


def test_a_step_with_a_version_may_be_edited(write: Write) -> None:
    run(write("red"), SERIAL)

    for colour in ("red", "blue"):
        assert 0 == run(write(colour, "1"), SERIAL).facts["counts"]["processed"]
