"""`[output] splits = "COLUMN"`: each row in the split that it names, whatever came between."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.errors import UsageError

from .site import Site
from .test_job import rows
from .test_modes import run
from .test_shard_maker import write_csv  # noqa: F401  # a fixture

LIST = "url,part\n/a.png,train\n/b.png,test\n/c.png,of course\n"
SPLIT = 'output.splits="part"'
WriteCsv = Callable[[str], Path]


def urls(path: Path) -> list[str]:
    return [str(row["url"]).rpartition("/")[2] for row in rows(path)]


def test_a_row_that_names_no_split_fails_and_the_others_are_split(
    write_csv: WriteCsv, site: Site, tmp_path: Path  # noqa: F811
) -> None:
    run(write_csv(LIST), SPLIT)

    assert ["a.png"] == urls(tmp_path / "out/metadata-train.jsonl")
    assert ["b.png"] == urls(tmp_path / "out/metadata-test.jsonl")
    (failure,) = rows(tmp_path / "out/failures.jsonl")
    assert ("input.split", True) == (failure["code"], 'its split "of course" is no name' in str(failure["message"]))
    card = (tmp_path / "out/README.md").read_text()
    assert "  - split: train\n    path:\n    - metadata-train.jsonl\n" in card
    assert not (tmp_path / "out/metadata-of course.jsonl").exists()


def test_a_mended_row_is_made_and_a_changed_one_moves(
    write_csv: WriteCsv, site: Site, tmp_path: Path  # noqa: F811
) -> None:
    run(write_csv(LIST), SPLIT)
    run(write_csv(LIST.replace("of course", "train").replace("b.png,test", "b.png,train")), SPLIT)

    assert ["a.png", "b.png", "c.png"] == urls(tmp_path / "out/metadata-train.jsonl")
    assert "split: test" not in (tmp_path / "out/README.md").read_text()


def test_a_column_that_is_named_later_is_looked_at_without_a_download(
    write_csv: WriteCsv, site: Site, tmp_path: Path  # noqa: F811
) -> None:
    config = write_csv(LIST)
    run(config)
    asked = len(site.answered)
    run(config, SPLIT)

    assert asked == len(site.answered)
    assert ["a.png"] == urls(tmp_path / "out/metadata-train.jsonl")


def test_a_column_that_is_not_there_is_refused_by_name(write_csv: WriteCsv, site: Site) -> None:  # noqa: F811
    with pytest.raises(UsageError, match=r'\[output\] splits.*"prat"; did you mean "part"'):
        run(write_csv(LIST), 'output.splits="prat"')


def test_split_files_that_were_deleted_are_made_again(
    write_csv: WriteCsv, site: Site, tmp_path: Path  # noqa: F811
) -> None:
    config = write_csv(LIST)
    run(config, SPLIT)
    (tmp_path / "out/metadata-test.jsonl").unlink()
    run(config, SPLIT)

    assert [json.loads(line)["part"] for line in (tmp_path / "out/metadata-test.jsonl").read_text().splitlines()] == [
        "test"
    ]
