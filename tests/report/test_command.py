"""`batchproc report`, and the page at the end of a run."""

import json
import sys
from pathlib import Path

import pytest

from batchproc.cli import main
from batchproc.report import html
from tests.jobs import MakeJob
from tests.report.conftest import break_pages
from tests.report.folder import Job


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["batchproc", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.parametrize("which", ["run folder", "output folder"])
def test_report_makes_the_page_again(call, job: Job, which: str) -> None:
    (job.run / "report.html").unlink()

    code, out, _ = call("report", str(job.run if which == "run folder" else job.output))

    assert (0, f"{job.run / 'report.html'}\n") == (code, out)
    assert (job.output / "report.html").resolve() == job.run / "report.html"
    assert (job.output / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "holds no run.json"), ("{half", "cannot be read"), ("[]", "is not the run.json")],
    ids=["missing", "cut", "another file"],
)
def test_a_folder_without_a_run_is_a_usage_error(call, tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)

    code, out, err = call("report", str(tmp_path))

    assert (2, "") == (code, out)
    assert reason in err
    assert "Traceback" not in err
    assert not (tmp_path / "report.html").exists()


def test_a_path_that_is_not_there_is_a_usage_error(call, tmp_path: Path) -> None:
    code, _, err = call("report", str(tmp_path / "nothing"))

    assert 2 == code
    assert "no such folder" in err


def test_a_run_ends_with_its_page(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, _ = call("run", str(make_job(images=3)), "--set", "report.html=true")

    made = (tmp_path / "out/latest").resolve() / "report.html"
    assert 0 == code
    assert f"  report      {made}" in out.splitlines()
    assert made == (tmp_path / "out/report.html").resolve()


def test_json_on_stdout_is_not_spoiled_by_the_page(call, make_job: MakeJob, tmp_path: Path) -> None:
    _, out, _ = call("run", str(make_job(images=2)), "--set", "report.html=true", "--json")

    assert 2 == json.loads(out)["counts"]["done"]
    assert (tmp_path / "out/report.html").exists()


def test_a_run_with_nothing_to_do_makes_no_page(call, make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    call("run", str(config))

    call("run", str(config), "--set", "report.html=true")

    assert [] == [*tmp_path.rglob("report.html")]


def test_without_html_there_is_neither_page_nor_gallery(call, make_job: MakeJob, tmp_path: Path) -> None:
    call("run", str(make_job(images=2)))

    assert [] == [*tmp_path.rglob("report.html"), *tmp_path.rglob("gallery")]


def test_a_page_that_fails_is_a_warning_and_changes_no_exit_code(
    call, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    break_pages(tmp_path / "broken", monkeypatch)

    code, out, err = call("run", str(make_job(images=2)), "--set", "report.html=true")

    assert 0 == code
    assert "2 done" in out
    assert "warning: no report: ValueError: no templates today;" in err
    assert (tmp_path / "out/latest/run.json").exists()


def test_a_page_that_cannot_be_written_leaves_the_old_one(call, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    old = (job.run / "report.html").read_bytes()
    monkeypatch.setattr(html, "render", lambda *_, **_subjects: (_ for _ in ()).throw(OSError("disk full")))

    with pytest.raises(OSError, match="disk full"):
        html.make_report(job.output)

    assert old == (job.run / "report.html").read_bytes()
    assert [] == [*job.run.glob(".report*")]
