"""`unique` over a whole job: the first of the list is kept, in every mode, whatever came between."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from batchproc.pipeline.types import RunOptions

from .site import Site, serving
from .test_job import rows
from .test_modes import images, run
from .test_shard_maker import SHARDS, assert_whole, shards

CONFIG = """
[job]
name = "unique"
input = "list.txt"
output = "out"
max_failed_ratio = 1.0
max_runs_per_item = 9

[download]
allow_addresses = ["127.0.0.0/8"]
retries = 0

[[transform.steps]]
op = "unique"
bits = 4

[report]
html = false
"""
# Two motifs: `a` in three sizes, `b` in two.
LISTED = {
    "/a1.png": ("a", 100), "/b1.png": ("b", 90), "/a2.png": ("a", 120), "/a3.png": ("a", 64), "/b2.png": ("b", 200),
}  # fmt: skip


def draw(motif: str, size: int) -> bytes:
    image = Image.new("RGB", (200, 200), "white")
    pen = ImageDraw.Draw(image)
    for number in range(6):
        at = (number * 37 % 160, number * 53 % 160) if motif == "a" else (number * 71 % 150, number * 29 % 150)
        pen.rectangle((*at, at[0] + 45, at[1] + 40), fill=(number * 40, 200 - number * 30, 120))
    file = io.BytesIO()
    image.resize((size, size)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def site():
    with serving(Site()) as server:
        server.pictures = {path: draw(*how) for path, how in LISTED.items()}
        yield server


@pytest.fixture
def config(site: Site, tmp_path: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(CONFIG)
    write_list(tmp_path, site, *LISTED)
    return path


def write_list(folder: Path, site: Site, *paths: str) -> None:
    (folder / "list.txt").write_text("".join(f"{site.url.rstrip('/')}{path}\n" for path in paths))


def kept(folder: Path) -> list[str]:
    return [str(row["url"]).rpartition("/")[2] for row in rows(folder / "metadata.jsonl")]


def assert_kept(folder: Path, *names: str) -> None:
    assert [*names] == kept(folder)
    assert len(names) == len(images(folder))


@pytest.mark.parametrize("mode", ["serial", "thread", "process"])
def test_the_first_of_the_list_is_kept_in_every_mode(config: Path, tmp_path: Path, mode: str) -> None:
    result = run(config, f'transform.mode="{mode}"', 'download.mode="thread"')

    assert_kept(tmp_path / "out", "a1.png", "b1.png")
    assert (2, 3) == (result.counts.done, result.counts.rejected)
    early = rows(tmp_path / "out/failures.jsonl")
    assert {"check.unique"} == {row["code"] for row in early}
    first = rows(tmp_path / "out/metadata.jsonl")[0]["file_name"].rpartition("/")[2]
    assert f"looks like {first}" == early[0]["message"]


def test_pieces_of_a_run_keep_the_same(config: Path, tmp_path: Path) -> None:
    for limit in (1, 2, 1, 0):
        run(config, options=RunOptions(limit=limit))

    assert_kept(tmp_path / "out", "a1.png", "b1.png")


def test_an_image_that_comes_late_takes_the_place_of_one_behind_it(config: Path, site: Site, tmp_path: Path) -> None:
    site.status["/a1.png"] = 503
    run(config)
    assert_kept(tmp_path / "out", "b1.png", "a2.png")

    site.status.clear()
    run(config)

    assert_kept(tmp_path / "out", "a1.png", "b1.png")


def test_where_the_first_goes_the_next_one_comes(config: Path, site: Site, tmp_path: Path) -> None:
    run(config)
    write_list(tmp_path, site, *[path for path in LISTED if path != "/a1.png"])

    run(config, "job.prune=true")
    run(config, "job.prune=true")

    assert_kept(tmp_path / "out", "b1.png", "a2.png")


def test_nothing_is_decided_again_where_nothing_has_changed(config: Path, tmp_path: Path) -> None:
    run(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.jsonl")}

    run(config)

    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.jsonl")}


def test_shards_hold_what_was_kept(config: Path, site: Site, tmp_path: Path) -> None:
    run(config, *SHARDS, "output.shard_items=2")
    whole = shards(tmp_path / "out")
    assert_whole(tmp_path / "out")

    site.status["/a1.png"] = 503
    run(config, *SHARDS, "output.shard_items=2", 'job.output="late"')
    site.status.clear()
    run(config, *SHARDS, "output.shard_items=2", 'job.output="late"')

    assert whole == shards(tmp_path / "late")
    assert_whole(tmp_path / "late")
    assert ["a1.png", "b1.png"] == kept(tmp_path / "late")
