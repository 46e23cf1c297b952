"""`prune`: a source that left the list takes its file along, when asked, and never by accident."""

from pathlib import Path

from tests.jobs import MakeJob

from .test_events import events
from .test_job import rows
from .test_modes import images, run


def shorten(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(path.read_text().split()[:keep]) + "\n")


def test_files_of_vanished_sources_are_kept_unless_asked(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    run(config)
    shorten(tmp_path, 3)

    assert 1 == run(config).facts["counts"]["absent"]
    assert 4 == len(images(tmp_path / "out"))

    run(config, "job.prune=true")

    assert 3 == len(images(tmp_path / "out")) == len(rows(tmp_path / "out/metadata.jsonl"))
    assert 1 == events(tmp_path / "out")["absent.pruned"]["files"]


def test_an_empty_list_prunes_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    run(config)
    (tmp_path / "list.txt").write_text("")

    run(config, "job.prune=true")

    assert 3 == len(images(tmp_path / "out"))
