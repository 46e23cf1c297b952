"""A job that an earlier version of batchproc made goes on: nothing is fetched again, nothing is counted otherwise."""

from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.pipeline import RunOptions
from batchproc.transform.resampler import engine
from tests.ledger.old_ledger import VERSIONS, write_old_ledger

from .site import Site
from .test_events import events
from .test_job import rows
from .test_modes import run

CONFIG = """
[job]
name = "old"
input = "list.csv"
output = "out"
base_url = "{base_url}"
max_failed_ratio = 1.0

[download]
retries = 0
robots = "ignore"
allow_addresses = ["127.0.0.0/8"]

[transform]
mode = "serial"

[[transform.steps]]
op = "min_size"
width = 32
height = 32

[[transform.steps]]
op = "resize"
size = [48, 48]

[[transform.steps]]
op = "old_steps:invert"

[report]
html = false
"""
STEP = """
from PIL import ImageOps

def invert(image):
    return ImageOps.invert(image)
"""
LIST = """\
url,label
a.png,cat
b.png,dog
tiny.png,fly
missing.png,owl
ill.png,bat
text.png,ape
http://,eel
"""


@pytest.fixture(params=VERSIONS, ids=lambda version: f"version-{version}")
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def config(tmp_path: Path, site: Site, version: int) -> Path:
    (tmp_path / "out").mkdir()
    write_old_ledger(tmp_path / "out", site.url, version=version)
    (tmp_path / "old_steps.py").write_text(STEP)
    (tmp_path / "list.csv").write_text(LIST)
    path = tmp_path / "job.toml"
    path.write_text(CONFIG.format(base_url=site.url))
    return path


def test_only_what_was_due_is_asked_for_and_the_counts_are_the_same(
    config: Path, site: Site, tmp_path: Path, version: int
) -> None:
    site.pictures = {}
    result = run(config)

    assert ExitCode.DONE == result.exit_code
    assert [("/ill.png", 404)] == site.answered
    counts = result.facts["counts"]
    assert (7, 2, 1, 4, 1, 1) == (
        counts["items"], counts["done"], counts["rejected"], counts["failed"], counts["absent"], counts["bad_rows"],
    )  # fmt: skip
    assert ["cat", "dog"] == [row["label"] for row in rows(tmp_path / "out/metadata.jsonl")]
    assert version == events(tmp_path / "out")["ledger.migrated"]["from_version"]
    assert 2 == events(tmp_path / "out")["images.outdated"]["images"]
    assert not list((tmp_path / "out").glob("batchproc.db.v*"))


def test_images_of_the_version_before_stay_until_they_are_asked_for(
    config: Path, site: Site, tmp_path: Path, version: int
) -> None:
    site.pictures |= {"/ill.png": site.pictures["/a.png"]}
    kept = rows_by_name(tmp_path, run(config).exit_code)
    recipe = str(min(version, 2))  # of the images in these ledgers
    assert {"a.png": recipe, "b.png": recipe, "ill.png": f"3 {engine()}"} == kept

    made = rows_by_name(tmp_path, run(config, options=RunOptions(accept_config_change=True)).exit_code)
    assert {"a.png": f"3 {engine()}", "b.png": f"3 {engine()}", "ill.png": f"3 {engine()}"} == made
    assert "images.outdated" not in events(tmp_path / "out")


def rows_by_name(folder: Path, exit_code: int) -> dict[str, str]:
    """The recipe of every row, after a run that ended well."""
    assert ExitCode.DONE == exit_code
    found = rows(folder / "out/metadata.jsonl")
    return {str(row["url"]).rpartition("/")[2]: str(row["image_recipe"]) for row in found}
