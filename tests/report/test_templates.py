"""Compiled templates are kept in the user's cache: used again, never trusted where others can write, never needed."""

from pathlib import Path

import pytest
from jinja2 import Environment

from batchproc.report.html import make_report
from tests.report.folder import Job


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/batchproc/templates"


def test_templates_are_compiled_once(job: Job, templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_report(job.output).read_text()
    monkeypatch.setattr(Environment, "compile", None)

    assert first == make_report(job.output).read_text()
    assert 4 == len([*templates.iterdir()])
    assert 0o700 == templates.stat().st_mode & 0o777


def test_a_folder_that_others_write_to_is_not_used(job: Job, templates: Path) -> None:
    templates.mkdir(parents=True)
    templates.chmod(0o777)

    assert make_report(job.output).is_file()
    assert [] == [*templates.iterdir()]


def test_a_template_that_was_cut_short_is_compiled_again(job: Job, templates: Path) -> None:
    first = make_report(job.output).read_text()
    for path in templates.iterdir():
        path.write_bytes(path.read_bytes()[:40])

    assert first == make_report(job.output).read_text()


@pytest.mark.parametrize("cache", ["a file", "", "/dev/full"])
def test_without_a_place_for_them_the_page_is_made_all_the_same(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache) if cache else "")
    monkeypatch.setenv("HOME", str(tmp_path / "a file"))

    assert make_report(job.output).is_file()
