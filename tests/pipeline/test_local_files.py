"""Jobs on files of this machine: folders of images, and file:// in lists where the config allows it."""

from pathlib import Path

import pytest
from PIL import Image

from batchproc.cli import load_job
from batchproc.errors import ExitCode, UsageError
from batchproc.pipeline import RunOptions
from batchproc.report.status import describe_plan, resolve_plan
from tests.jobs import MakeJob

from .test_job import rows
from .test_modes import fingerprint, run

LOCAL = ("job.allow_local=true", "job.local_root=photos")


@pytest.fixture
def config(make_job: MakeJob, tmp_path: Path) -> Path:
    """A job without a base URL, and a folder of three images, one of them below another folder."""
    for number, name in enumerate(("a.jpg", "b c.png", "sub/d.webp")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (80 * number, 0, 0)).save(tmp_path / "photos" / name)
    path = make_job(lines=[])
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "base_url" not in line))
    return path


@pytest.mark.parametrize("mode", ["serial", "thread", "process"])
def test_a_folder_of_images_is_a_job_like_any_other(config: Path, tmp_path: Path, mode: str) -> None:
    settings = ("job.input=photos/**/*", f"download.mode={mode}")

    first, again = run(config, *settings), run(config, *settings)

    assert (ExitCode.DONE, 3) == (first.exit_code, first.facts["counts"]["done"])
    assert 0 == again.facts["counts"]["processed"]
    made = rows(tmp_path / "out/metadata.jsonl")
    assert [f"file://{tmp_path}/photos/{name}" for name in ("a.jpg", "b%20c.png", "sub/d.webp")] == [
        row["url"] for row in made
    ]
    assert {200} == {row["status_code"] for row in made}


def test_a_job_that_is_moved_with_its_images_does_nothing_again(config: Path, tmp_path: Path) -> None:
    run(config, "job.input=photos/")
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("photos", "out", "job.toml"):
        (tmp_path / name).rename(moved / name)

    result = run(moved / "job.toml", "job.input=photos/")

    assert (0, 2) == (result.facts["counts"]["processed"], result.facts["counts"]["done"])


def test_new_images_are_taken_in_and_refresh_makes_changed_ones_again(config: Path, tmp_path: Path) -> None:
    run(config, "job.input=photos/")
    before = fingerprint(tmp_path / "out")
    Image.new("RGB", (200, 100), "blue").save(tmp_path / "photos/a.jpg")
    Image.new("RGB", (200, 100), "green").save(tmp_path / "photos/new.jpg")

    result = run(config, "job.input=photos/", options=RunOptions(refresh=True))

    after = fingerprint(tmp_path / "out")
    assert 3 == result.facts["counts"]["done"]
    assert 1 == sum(after[name] != before[name] for name in before if name.startswith("images/"))


def test_a_list_of_files_is_read_below_the_root_it_names(config: Path, tmp_path: Path) -> None:
    names = [f"file://{tmp_path}/photos/a.jpg", "b%20c.png", "gone.jpg", "../list.txt", "file:///etc/hostname"]
    (tmp_path / "list.txt").write_text("\n".join(names))

    result = run(config, *LOCAL)

    assert {"file.missing": 1, "file.outside": 2} == result.facts["failures"]
    assert 2 == result.facts["counts"]["done"]


def test_without_the_switch_a_file_is_refused(config: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"file://{tmp_path}/photos/a.jpg\n")

    assert {"policy.scheme": 1} == run(config, "job.local_root=photos").facts["failures"]
    assert {} == run(config, *LOCAL).facts["failures"]  # due again, as its cause has changed


def test_a_root_that_is_not_there_ends_the_run_before_any_work(config: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "unmounted")

    with pytest.raises(UsageError, match=r"local_root = .* is no folder"):
        run(config, *LOCAL)
    with pytest.raises(UsageError, match="local_root"):
        run(config, "job.allow_local=true")


def test_check_says_what_the_sources_are(config: Path, tmp_path: Path) -> None:
    def told(*settings: str) -> str:
        job, _ = load_job(config, settings)
        return describe_plan(resolve_plan(job))

    sources = f"none, but 3 images of this machine, each known by its path from {tmp_path}\n"
    assert sources in told("job.input=photos/**/*")
    assert "files below photos" in told(*LOCAL)
