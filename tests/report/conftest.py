"""One real run with its page, for all tests of this folder; each test that writes gets a copy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.origin import EmbeddedOrigin
from tests.jobs import CONFIG
from tests.report.folder import Job


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, origin: EmbeddedOrigin) -> Path:
    """The output folder of a run over good and bad URLs, one of them rejected."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "list.txt").write_text("\n".join(entry.path for entry in origin.listing()) + "\n/no/such.jpg\n")
    config = folder / "job.toml"
    tall = '\n[[transform.steps]]\nop = "max_aspect"\nratio = 2.0\n'
    config.write_text(CONFIG.format(base_url=origin.base_url, transform="") + tall)
    command = [sys.executable, "-m", "batchproc", "run", str(config), "--set", "report.html=true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture
def job(finished: Path, tmp_path: Path) -> Job:
    """A copy of that folder, to be spoiled at will."""
    return Job(Path(shutil.copytree(finished, tmp_path / "job", symlinks=True)))


def break_pages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page can be made: its process finds a broken library first. This process has its own at hand."""
    folder.mkdir()
    (folder / "jinja2.py").write_text("raise ValueError('no templates today')")
    monkeypatch.setenv("PYTHONPATH", str(folder))
