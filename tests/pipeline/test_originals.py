"""`keep_originals`: the bytes as downloaded, each once, there before the row that names them, whatever was killed."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from batchproc.failpoints import VARIABLE
from batchproc.model import original_name
from tests.jobs import MakeJob

from .test_hard_input import command
from .test_job import rows
from .test_modes import images, run
from .test_prune import shorten
from .test_rebuild import damage, rebuild

KEEP = "download.keep_originals=true"


def originals(output: Path) -> dict[str, bytes]:
    """What is kept, by its path."""
    return {str(path.relative_to(output)): path.read_bytes() for path in (output / "originals").glob("*/*")}


def named(output: Path) -> list[object]:
    """What the rows name."""
    return [row["original"] for row in rows(output / "metadata.jsonl")]


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_the_originals_are_what_was_downloaded(make_job: MakeJob, tmp_path: Path, mode: str) -> None:
    result = run(make_job(images=4), KEEP, f"transform.mode={mode}")

    kept = originals(tmp_path / "out")
    made = rows(tmp_path / "out/metadata.jsonl")
    assert [row["original"] for row in made] == list(dict.fromkeys(row["original"] for row in made)) != []
    assert set(kept) == {row["original"] for row in made}
    for row in made:
        assert row["source_sha256"] == hashlib.sha256(kept[str(row["original"])]).hexdigest()
        assert original_name(str(row["source_sha256"]), str(row["original_format"])) == row["original"]
    written = sum(map(len, kept.values())) + sum(path.stat().st_size for path in images(tmp_path / "out"))
    assert written == result.facts["rendition_bytes"]
    assert [] == [path for path in (tmp_path / "out/.tmp").iterdir() if path.suffix == ".part"]


def test_the_same_bytes_are_kept_once(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    path = tmp_path / "list.txt"
    (url,) = path.read_text().split()
    path.write_text(f"{url}\n{url}?again\n")

    run(config, KEEP)

    first, second = named(tmp_path / "out")
    assert first == second
    assert 1 == len(originals(tmp_path / "out"))


def test_rows_of_jobs_that_keep_none_do_not_speak_of_them(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=1))

    assert "original" not in rows(tmp_path / "out/metadata.jsonl")[0]
    assert not (tmp_path / "out/originals").exists()


def test_images_from_before_have_none(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    run(config)
    run(config, KEEP)

    assert ["", ""] == named(tmp_path / "out")


def test_a_pruned_source_takes_its_original_along(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    run(config, KEEP)
    orphan = tmp_path / "out/originals/ab" / f"ab{'0' * 62}.jpg"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"of a run that was killed")
    note = orphan.with_name("notes.txt")
    note.write_text("mine")
    shorten(tmp_path, 3)

    run(config, KEEP)
    assert 6 == len(originals(tmp_path / "out"))
    run(config, KEEP, "job.prune=true")

    assert {*named(tmp_path / "out"), str(note.relative_to(tmp_path / "out"))} == set(originals(tmp_path / "out"))
    assert 3 == len(named(tmp_path / "out"))


def test_an_original_that_is_shared_outlives_one_of_its_sources(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    path = tmp_path / "list.txt"
    (url,) = path.read_text().split()
    path.write_text(f"{url}\n{url}?again\n")
    run(config, KEEP)
    shorten(tmp_path, 1)

    run(config, KEEP, "job.prune=true")

    assert named(tmp_path / "out") == list(originals(tmp_path / "out"))


def test_a_rebuilt_ledger_names_the_same_originals(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    config.write_text(config.read_text().replace("retries = 2", "retries = 2\nkeep_originals = true"))
    run(config)
    before = (tmp_path / "out/metadata.jsonl").read_bytes()
    damage(tmp_path / "out")

    rebuild(config)
    run(config)

    assert before == (tmp_path / "out/metadata.jsonl").read_bytes()


@pytest.mark.parametrize("point", ["transform.original_written:2", "transform.original_kept:2"])
def test_no_row_is_without_its_original_after_a_kill(make_job: MakeJob, tmp_path: Path, point: str) -> None:
    config = make_job(images=4, transform='mode = "thread"')
    config.write_text(config.read_text().replace("retries = 2", "retries = 2\nkeep_originals = true"))

    killed = command("run", str(config), env={**os.environ, VARIABLE: point})
    run(config)

    assert killed.returncode in (128 + signal.SIGKILL, -signal.SIGKILL), killed.stderr
    assert 4 == len(named(tmp_path / "out"))
    assert set(named(tmp_path / "out")) == set(originals(tmp_path / "out"))
    for name, content in originals(tmp_path / "out").items():
        assert Path(name).stem == hashlib.sha256(content).hexdigest()


def test_a_list_of_the_users_may_have_a_column_of_that_name(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (url,) = (tmp_path / "list.txt").read_text().split()
    (tmp_path / "list.csv").write_text(f"url,original\n{url},theirs\n")

    run(config, KEEP, "job.input=list.csv")

    (row,) = rows(tmp_path / "out/metadata.jsonl")
    assert "theirs" == row["list_original"]
    assert (tmp_path / "out" / str(row["original"])).is_file()


def test_a_linked_folder_for_originals_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    run(config)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/originals").symlink_to(tmp_path / "elsewhere")

    assert 2 == command("run", str(config), "--set", KEEP).returncode
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_check_tells_of_the_room_that_they_take(make_job: MakeJob) -> None:
    told = command("check", str(make_job(images=1)), "--set", KEEP).stdout

    assert "as much room again as is downloaded" in told
