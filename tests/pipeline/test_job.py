"""A job from its config to its files: counts that add up, resuming, limits, bad input."""

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from batchproc.errors import DiskError, ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock
from batchproc.measure.sampler import Gauges
from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob
from tests.measure.test_gauges import no_room

from .test_modes import images, run


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_item_is_accounted_for(make_job: MakeJob, tmp_path: Path) -> None:
    result = run(make_job(images=40, faults=True))

    counts = result.facts["counts"]
    states = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
    assert 40 == counts["items"] == sum(counts[state] for state in states)
    assert counts["failed"] == sum(result.facts["failures"].values()) > 0
    assert counts["done"] == len(rows(tmp_path / "out/metadata.jsonl")) == len(images(tmp_path / "out"))
    assert counts["failed"] + counts["rejected"] == len(rows(tmp_path / "out/failures.jsonl"))


def test_outputs_are_what_the_metadata_says(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=6))

    for row in rows(tmp_path / "out/metadata.jsonl"):
        path = tmp_path / "out" / str(row["file_name"])
        with Image.open(path) as image:
            image.load()
            assert (row["width"], row["height"]) == image.size
            assert 128 == max(image.size)
        assert path.stat().st_size == row["size_bytes"]
        assert f"images/{str(row['key'])[:2]}/{row['key']}.jpg" == row["file_name"]


def test_a_second_run_has_nothing_to_do(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=5)
    run(config)
    before = {path: path.stat().st_mtime_ns for path in images(tmp_path / "out")}

    result = run(config)

    assert 0 == result.facts["counts"]["processed"]
    assert 5 == result.facts["counts"]["already_done"] == result.facts["counts"]["done"]
    assert before == {path: path.stat().st_mtime_ns for path in images(tmp_path / "out")}


def test_a_limited_run_is_continued_by_the_same_command(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=6)

    first = run(config, options=RunOptions(limit=2))
    second = run(config)

    assert "limit" == first.facts["stopped_by"]
    assert (2, 4) == (first.facts["counts"]["processed"], first.facts["counts"]["pending"])
    assert (4, 0) == (second.facts["counts"]["processed"], second.facts["counts"]["pending"])
    assert 6 == len(images(tmp_path / "out"))


def test_duplicates_are_one_item(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    lines = (tmp_path / "list.txt").read_text().split()
    (tmp_path / "list.txt").write_text("\n".join([*lines, *lines, "# a comment", ""]))

    counts = run(config).facts["counts"]

    assert (3, 3) == (counts["items"], counts["duplicates"])


def test_a_line_that_is_no_url_fails_as_such(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    with (tmp_path / "list.txt").open("a") as file:
        file.write("http://\nftp://example.org/a.jpg\n")

    result = run(config)

    assert {"input.url": 1, "policy.scheme": 1} == result.facts["failures"]
    assert 2 == result.facts["counts"]["done"]


def test_an_empty_list_is_no_error(make_job: MakeJob) -> None:
    result = run(make_job(lines=["# nothing"]))

    assert ExitCode.DONE == result.exit_code
    assert 0 == result.facts["counts"]["items"]


def test_too_many_failures_are_told_by_the_exit_code(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    with (tmp_path / "list.txt").open("a") as file:
        file.write("/no/such.jpg\n")

    result = run(config, "job.max_failed_ratio=0.1")

    assert ExitCode.TOO_MANY_FAILED == result.exit_code
    assert {"http.404": 1} == result.facts["failures"]


def test_an_output_of_another_plan_is_refused_and_left_alone(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    run(config)
    before = {path: path.read_bytes() for path in images(tmp_path / "out")}

    with pytest.raises(UsageError, match=r"output_quality: 85 -> 40"):
        run(config, "output.quality=40")
    assert before == {path: path.read_bytes() for path in images(tmp_path / "out")}

    result = run(config, "output.quality=40", options=RunOptions(accept_config_change=True))
    assert 2 == result.facts["counts"]["processed"]
    assert before != {path: path.read_bytes() for path in images(tmp_path / "out")}


def test_fresh_makes_everything_again(make_job: MakeJob) -> None:
    config = make_job(images=3)
    run(config)

    assert 3 == run(config, options=RunOptions(fresh=True)).facts["counts"]["processed"]


def test_failed_items_are_tried_again_when_asked(make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg"])
    run(config)

    assert 0 == run(config).facts["counts"]["processed"]
    assert 1 == run(config, options=RunOptions(retry_failed=True)).facts["counts"]["processed"]


def test_a_second_run_at_the_same_time_is_turned_away(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out").mkdir()

    with RunLock(tmp_path / "out/lock"), pytest.raises(LockHeldError, match=f"pid {os.getpid()}"):
        run(config)


def test_an_output_that_is_a_file_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out").write_text("mine")

    with pytest.raises(UsageError, match="not a folder"):
        run(config)
    assert "mine" == (tmp_path / "out").read_text()


def test_a_missing_list_touches_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "list.txt").unlink()

    with pytest.raises(UsageError, match=r"list\.txt"):
        run(config)
    assert not (tmp_path / "out").exists()


def test_latest_points_to_the_last_run(make_job: MakeJob, tmp_path: Path) -> None:
    result = run(make_job(images=1))

    assert (tmp_path / "out/latest").resolve() == result.folder.resolve()
    assert json.loads(json.dumps(result.facts)) == json.loads((tmp_path / "out/latest/run.json").read_text())


def test_no_room_for_the_gauges_stops_the_run_with_the_disk_code(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(names: Sequence[str], folder: Path) -> Gauges:
        with no_room():
            return Gauges(names, folder)

    monkeypatch.setattr("batchproc.pipeline.loop.Gauges", on_a_full_disk)

    result = run(make_job(images=1))

    assert ExitCode.DISK == result.exit_code
    assert str(result.error).startswith(f"{tmp_path / 'out'}")
    assert "File too large; what is unfinished stays pending" in str(result.error)
    assert 1 == result.facts["counts"]["pending"]


def test_a_vanished_temporary_folder_stops_the_run_with_the_disk_code(make_job: MakeJob, tmp_path: Path) -> None:
    step = "tests.pipeline.steps:vanish"
    config = make_job(images=3)
    table = f'[[transform.steps]]\nop = "{step}"\nfolder = "{tmp_path}/out/.tmp"\n\n[report]'
    config.write_text(config.read_text().replace("[report]", table))

    result = run(config, "transform.mode=serial")

    assert ExitCode.DISK == result.exit_code
    assert isinstance(result.error, DiskError)
    with sqlite3.connect(tmp_path / "out/batchproc.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM item WHERE state = 'failed'").fetchone() == (0,)
    ledger.close()
