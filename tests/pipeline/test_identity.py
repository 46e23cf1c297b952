"""A picture stands under the URL that it came from, whatever URL the list has for its id by now."""

import hashlib
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.pipeline import RunOptions, RunResult
from tests.jobs import MakeJob

from .site import Site, picture
from .test_job import rows
from .test_modes import run

SETTINGS = ("job.input=list.csv", "job.id_column=id", "job.base_url=", "download.retries=0", "download.robots=ignore")
SIZES = {"/small.png": 80, "/large.png": 90}


@pytest.fixture
def config(make_job: MakeJob, site: Site) -> Path:
    site.pictures = {path: picture("red", size) for path, size in SIZES.items()}
    return make_job()


def run_with(config: Path, url: str, **options: bool) -> RunResult:
    """One run of a list that has this URL for the id 1."""
    (config.parent / "list.csv").write_text(f"id,url\n1,{url}\n")
    return run(config, *SETTINGS, options=RunOptions(**options))


def row_of(config: Path, site: Site) -> tuple[str, object]:
    """The path and the original width that metadata.jsonl names, in a row that is true of its file."""
    (row,) = rows(config.parent / "out/metadata.jsonl")
    path = "/" + str(row["url"]).removeprefix(site.url)
    content = (config.parent / "out" / str(row["file_name"])).read_bytes()
    assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert row["source_sha256"] == hashlib.sha256(site.pictures[path]).hexdigest()
    assert row["url"] == row["final_url"]
    return path, row["original_width"]


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("knows_dates_alone", [False, True])
def test_another_url_brings_its_own_picture(config: Path, site: Site, refresh: bool, knows_dates_alone: bool) -> None:
    site.knows_dates_alone = knows_dates_alone
    run_with(config, f"{site.url}small.png")
    assert ("/small.png", 80) == row_of(config, site)

    result = run_with(config, f"{site.url}large.png", refresh=refresh)

    assert (1, 0) == (result.facts["counts"]["done"], result.facts["counts"]["unchanged"])
    assert [("/small.png", 200), ("/large.png", 200)] == site.answered
    assert ("/large.png", 90) == row_of(config, site)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_url_that_failed_is_not_held_against_the_next_one(config: Path, site: Site, status: int) -> None:
    site.status = {"/old.png": status}
    run_with(config, f"{site.url}old.png")

    result = run_with(config, f"{site.url}small.png")

    assert ExitCode.DONE == result.exit_code
    assert [] == rows(config.parent / "out/failures.jsonl")
    assert ("/small.png", 80) == row_of(config, site)


@pytest.mark.parametrize("refresh", [False, True])
def test_a_new_url_that_fails_costs_nothing(config: Path, site: Site, refresh: bool) -> None:
    run_with(config, f"{site.url}small.png")

    result = run_with(config, f"{site.url}gone.png", refresh=refresh)

    counts = result.facts["counts"]
    assert (1, 0, 1) == (counts["items"], counts["done"], counts["failed"])
    assert ("/small.png", 80) == row_of(config, site)
    assert [f"{site.url}gone.png"] == [row["url"] for row in rows(config.parent / "out/failures.jsonl")]
