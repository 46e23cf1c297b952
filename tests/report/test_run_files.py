"""What PATH is, and the bench's page on the command line."""

import json
from pathlib import Path

import pytest

from batchproc.bench import command
from batchproc.cli.console import make_page
from batchproc.errors import UsageError
from batchproc.report import html
from batchproc.report.run_files import RunFolder, find_subject
from tests.jobs import MakeJob
from tests.report.bench_folder import a_bench
from tests.report.conftest import break_pages
from tests.report.folder import Job
from tests.report.test_command import call  # noqa: F401 - a fixture


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """The folder of a bench in a job's output folder."""
    folder = tmp_path / "out/bench/20261122T113349Z"
    folder.mkdir(parents=True)
    (folder / "bench.json").write_text(json.dumps(a_bench(["thread+thread"], rounds=3)))
    (folder.parent / "latest").symlink_to(folder.name)
    return folder


@pytest.mark.parametrize("path", ["out/bench/20261122T113349Z", "out/bench/latest", "out/bench", "out"])
def test_a_bench_is_found_by_itself_and_as_the_last_one(call, bench: Path, tmp_path: Path, path: str) -> None:  # noqa: F811
    code, out, _ = call("report", str(tmp_path / path))

    assert (0, f"{bench / 'report.html'}\n") == (code, out)
    assert "bench of 2026-11-22" in (bench / "report.html").read_text()


def test_a_job_with_runs_and_benches_means_its_last_run(job: Job, bench: Path) -> None:
    (job.output / "bench").symlink_to(bench.parent)

    found = find_subject(job.output)

    assert isinstance(found, RunFolder)
    assert job.run == found.path
    assert bench == find_subject(job.output / "bench")


@pytest.mark.parametrize("content", ["{half", "[]", '{"rounds": []}'])
def test_a_bench_json_that_is_none_is_a_usage_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "bench.json").write_text(content)

    with pytest.raises(UsageError, match=r"bench\.json"):
        html.make_report(tmp_path)

    assert not (tmp_path / "report.html").exists()


def test_neither_run_nor_bench_is_a_usage_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run\.json, no bench\.json"):
        find_subject(tmp_path)


@pytest.fixture
def config(make_job: MakeJob) -> Path:
    """A job on an embedded origin of two pictures."""
    from batchproc.origin import demo_paths

    path = make_job(lines=demo_paths(2))
    origin = '\n[origin]\nimages = 2\nlatency = "1ms"\n'
    path.write_text(path.read_text().replace("base_url", "# base_url") + origin)
    return path


def test_a_bench_whose_page_fails_is_done_all_the_same_and_the_page_is_made_later(
    call, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:
    with monkeypatch.context() as broken:
        break_pages(tmp_path / "broken", broken)
        broken.setattr(command, "CALIBRATION_TRIES", 1)  # beside other tests no run is undisturbed
        code, out, err = call("bench", str(config), "--quick", "--rounds=1", "--modes=serial", "--json",
                              "--set", "report.html=true")  # fmt: skip

    assert 0 == code
    assert json.loads(out)["complete"]
    assert "warning: no report: ValueError: no templates today;" in err

    folder = (tmp_path / "out/bench/latest").resolve()
    make_page(folder, announce=True)

    assert f"  report      {folder / 'report.html'}\n" == capsys.readouterr().out
    assert "Nothing was compared" in (folder / "report.html").read_text()
