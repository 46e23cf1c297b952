"""The page that a run ends with: whatever happens to it, the run's exit code stands."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.cli.console import make_page
from batchproc.report import LOADING
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run


def test_the_page_is_made_and_told(make_job: MakeJob, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(make_job(images=2))

    make_page(result.folder, announce=True)

    assert (f"  report      {result.folder / 'report.html'}\n", "") == tuple(capfd.readouterr())
    assert (tmp_path / "out/report.html").read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_made_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_page(tmp_path, announce=True)

    out, err = capsys.readouterr()
    assert "" == out
    assert err.startswith("warning: no report: UsageError: ")
    assert err.endswith(f"; batchproc report {tmp_path} tries again\n")


def test_a_page_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("batchproc.report.LONGEST_SECONDS", 0.0)

    make_page(tmp_path, announce=True)

    assert "warning: no report: it was not made within 0 s; " in capsys.readouterr().err


def test_garbage_is_collected_again_once_the_libraries_of_the_page_are_here() -> None:
    code = f"{LOADING}; print(gc.isenabled())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert "True\n" == done.stdout
