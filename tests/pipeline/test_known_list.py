"""A list is known only as far as it would be read alike."""

from pathlib import Path

import pytest

from batchproc.config import load
from batchproc.pipeline.import_list import JobList
from tests.jobs import MakeJob

from .test_events import events
from .test_modes import run


def append(tmp_path: Path, number: int) -> None:
    with (tmp_path / "list.txt").open("a") as file:
        file.write(f"/no/such/{number}.jpg\n")


def test_only_what_was_appended_comes_in(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_job(images=4)
    run(config)
    append(tmp_path, 1)
    listed: list[object] = []
    read = JobList.rows
    monkeypatch.setattr(JobList, "rows", lambda *how: (listed.append(row) or row for row in read(*how)))

    assert 1 == run(config).facts["counts"]["processed"]
    imported = events(tmp_path / "out")["list.imported"]
    assert (1, 4) == (imported["new"], imported["known"])
    assert ["Known", "ListedItem", "Checkpoint"] == [type(row).__name__ for row in listed]


def rule(config: Path, base_url: str = "http://a/", *overrides: str) -> str:
    memory = JobList.of(load(config, environ={}, cores=2, overrides=overrides), base_url).memory(())
    assert memory is not None
    return memory.rule


@pytest.mark.parametrize(
    "override",
    ["job.url_column=link", "job.id_column=id", "job.delimiter=;", "job.quoting=none", "job.duplicates=rows",
     "job.input=list.csv"],
)  # fmt: skip
def test_another_way_of_reading_makes_another_list(make_job: MakeJob, override: str) -> None:
    config = make_job(images=1)

    assert rule(config) != rule(config, "http://a/", override)


def test_another_base_url_makes_another_list(make_job: MakeJob) -> None:
    config = make_job(images=1)

    assert rule(config) != rule(config, "http://b/")


def test_what_can_be_read_only_once_is_not_remembered(make_job: MakeJob) -> None:
    config = load(make_job(images=1), environ={}, cores=2, overrides=["job.input=-"])

    assert JobList.of(config, "").memory(()) is None
