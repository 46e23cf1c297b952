"""`duplicates = "rows"` in whole runs: what leaves the list, or changes at its server, changes every row of it."""

import re
from pathlib import Path

import pytest

from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob

from .site import Site, picture
from .test_job import rows
from .test_modes import images, run

LIST = [("a", "one"), ("b", "two"), ("a", "three"), ("c", "four"), ("b", "five")]


@pytest.fixture
def config(make_job: MakeJob, site: Site) -> Path:
    path = make_job(lines=[])
    text = path.read_text().replace('"list.txt"', '"list.csv"\nduplicates = "rows"\nprune = true')
    text = re.sub(r'base_url = ".*"', f'base_url = "{site.url}"', text)
    path.write_text(text.replace("retries = 2", 'retries = 0\nrobots = "ignore"'))
    write(path, LIST)
    return path


def write(config: Path, listed: list[tuple[str, str]]) -> None:
    text = "".join(f"/{name}.png,{caption}\n" for name, caption in listed)
    config.with_name("list.csv").write_text("url,caption\n" + text)


def captions(output: Path) -> list[tuple[str, str]]:
    return [(str(row["url"])[-5], str(row["caption"])) for row in rows(output / "metadata.jsonl")]


def test_pruning_takes_the_rows_that_left_and_the_file_with_the_last_of_them(config: Path, tmp_path: Path) -> None:
    run(config)
    write(config, [("a", "three"), ("c", "four"), ("c", "six")])

    facts = run(config).facts

    assert [("a", "three"), ("c", "four"), ("c", "six")] == captions(tmp_path / "out")
    assert 2 == len(images(tmp_path / "out")) == facts["counts"]["done"]
    assert 0 == facts["counts"]["processed"]


def test_refreshing_asks_once_and_changes_every_row_of_what_is_new(config: Path, site: Site, tmp_path: Path) -> None:
    run(config)
    before = [row["sha256"] for row in rows(tmp_path / "out/metadata.jsonl")]
    site.answered.clear()
    site.pictures["/b.png"] = picture("blue")

    run(config, options=RunOptions(refresh=True))

    after = [row["sha256"] for row in rows(tmp_path / "out/metadata.jsonl")]
    assert [("/a.png", 304), ("/b.png", 200), ("/c.png", 304)] == sorted(site.answered)
    assert sorted(LIST) == sorted(captions(tmp_path / "out"))
    assert [False, False, True, True, False] == [old != new for old, new in zip(before, after, strict=True)]
    assert 1 == len({after[2], after[3]})


def test_a_readme_of_ones_own_stays_and_what_it_lacks_is_told(config: Path, tmp_path: Path) -> None:
    own = tmp_path / "out/README.md"
    own.parent.mkdir()
    own.write_text("# Mine\n")

    run(config)
    text = (tmp_path / "out/latest/log.jsonl").read_text()
    write(config, [*LIST, ("c", "new")])
    own.write_text("---\nconfigs:\n- data_files: metadata.jsonl\n---\n# Mine\n")
    run(config)

    assert 1 == text.count("is your own and stays: name metadata.jsonl and images/** as data_files")
    assert own.read_text().endswith("# Mine\n")
    assert "is your own" not in (tmp_path / "out/latest/log.jsonl").read_text()
