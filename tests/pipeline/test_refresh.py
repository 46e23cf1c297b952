"""`--refresh` asks whether what is done has changed, makes again what has, and loses nothing when servers are ill."""

import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from batchproc.errors import ExitCode
from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob

from .site import PATHS, Site, picture
from .test_events import events
from .test_job import rows
from .test_modes import MODES, images, run

REFRESH = RunOptions(refresh=True)


@pytest.fixture
def config(make_job: MakeJob, site: Site) -> Path:
    path = make_job(lines=PATHS)
    text = "\n".join(
        f'base_url = "{site.url}"' if line.startswith("base_url") else line for line in path.read_text().splitlines()
    )
    path.write_text(text.replace("retries = 2", 'retries = 0\nrobots = "ignore"'))
    run(path)
    site.answered.clear()
    return path


def snapshot(output: Path) -> dict[Path, tuple[bytes, int]]:
    files = [*images(output), output / "metadata.jsonl"]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


PAIRS = [
    pytest.param(download, transform, marks=[] if download == transform else pytest.mark.slow)
    for download in MODES
    for transform in MODES
]


@pytest.mark.parametrize(("download", "transform"), PAIRS)
def test_what_has_not_changed_is_left_alone(
    config: Path, site: Site, tmp_path: Path, download: str, transform: str
) -> None:
    before = snapshot(tmp_path / "out")

    result = run(config, f"download.mode={download}", f"transform.mode={transform}", options=REFRESH)

    assert {(path, 304) for path in PATHS} == set(site.answered)
    assert before == snapshot(tmp_path / "out")
    counts = result.facts["counts"]
    assert (3, 3, 3) == (counts["processed"], counts["unchanged"], counts["done"])
    assert ExitCode.DONE == result.exit_code


def test_without_the_flag_nothing_is_asked(config: Path, site: Site) -> None:
    run(config)

    assert [] == site.answered


def test_what_has_changed_is_made_again(config: Path, site: Site, tmp_path: Path) -> None:
    before = {row["url"]: row["sha256"] for row in rows(tmp_path / "out/metadata.jsonl")}
    site.pictures["/b.png"] = picture("blue")

    result = run(config, options=REFRESH)

    after = {row["url"]: row["sha256"] for row in rows(tmp_path / "out/metadata.jsonl")}
    assert {f"{site.url}b.png"} == {url for url in before if before[url] != after[url]}
    assert 2 == result.facts["counts"]["unchanged"]
    with Image.open(next(path for path in images(tmp_path / "out") if path.stem == key_of(tmp_path, "b"))) as image:
        assert image.getpixel((50, 50))[2] > 200


def key_of(tmp_path: Path, name: str) -> str:
    return next(str(row["key"]) for row in rows(tmp_path / "out/metadata.jsonl") if f"/{name}.png" in str(row["url"]))


@pytest.mark.parametrize("status", [404, 503], ids=str)
def test_a_server_that_cannot_say_costs_nothing_that_is_done(
    config: Path, site: Site, tmp_path: Path, short_pauses: None, status: int
) -> None:
    before = snapshot(tmp_path / "out")
    site.status = {"/a.png": status}

    result = run(config, options=REFRESH)

    assert before == snapshot(tmp_path / "out")
    assert (3, 0, 2) == tuple(result.facts["counts"][name] for name in ("done", "failed", "unchanged"))
    assert "item.failed" in events(tmp_path / "out")
    assert ExitCode.DONE == result.exit_code


def test_a_changed_picture_that_is_broken_leaves_the_old_one(config: Path, site: Site, tmp_path: Path) -> None:
    before = snapshot(tmp_path / "out")
    site.pictures["/a.png"] = picture("blue")[:60]

    run(config, options=REFRESH)

    assert before == snapshot(tmp_path / "out")


def test_a_changed_picture_that_a_check_drops_is_rejected(config: Path, site: Site, tmp_path: Path) -> None:
    site.pictures["/a.png"] = picture("blue", size=20)

    counts = run(config, options=REFRESH).facts["counts"]

    assert (2, 1) == (counts["done"], counts["rejected"])
    assert 2 == len(rows(tmp_path / "out/metadata.jsonl"))


def test_without_validators_equal_bytes_are_unchanged_and_validators_that_came_are_kept(
    config: Path, site: Site, tmp_path: Path
) -> None:
    before = snapshot(tmp_path / "out")
    with sqlite3.connect(tmp_path / "out/batchproc.db") as ledger:
        ledger.execute("UPDATE item SET etag = NULL, last_modified = NULL")
    ledger.close()
    site.has_validators = False
    site.pictures["/b.png"] = picture("blue")

    counts = run(config, options=REFRESH).facts["counts"]
    without = list(site.answered)
    site.has_validators = True
    run(config, options=REFRESH)
    site.answered.clear()
    run(config, options=REFRESH)

    assert [200] * 3 == [status for _, status in without]
    assert (3, 2) == (counts["done"], counts["unchanged"])
    assert [304] * 3 == [status for _, status in site.answered]
    assert before != snapshot(tmp_path / "out")


def test_no_cache_on_the_way_may_answer_for_the_server(config: Path, site: Site, tmp_path: Path) -> None:
    site.cache_control.clear()

    run(config, options=REFRESH)

    assert ["max-age=0"] * 3 == site.cache_control


def test_refresh_also_does_the_work_that_is_left(config: Path, site: Site, tmp_path: Path) -> None:
    site.pictures["/d.png"] = picture("green")
    with (tmp_path / "list.txt").open("a") as file:
        file.write("/d.png\n")

    counts = run(config, options=REFRESH).facts["counts"]

    assert (4, 3, 0) == (counts["done"], counts["unchanged"], counts["already_done"])
