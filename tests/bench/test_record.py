"""What is on disk is what was measured; only an unfinished bench of the same making is continued."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchproc.bench.record import Record, find_unfinished, fingerprint, new_folder
from batchproc.errors import DiskError
from tests.bench.fakes import NOISY, a_round

NOW = datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC)


def saved(root: Path, name: str, *, mark: str = "f", complete: bool = False) -> Record:
    folder = root / name
    folder.mkdir()
    rounds = [a_round(1, serial_serial=2.0, again=2.1), a_round(2, conditions=NOISY, serial_serial=2.2, again=1.9)]
    record = Record(folder=folder, header={"fingerprint": mark, "seed": 5}, rounds=rounds)
    record.found = {"cases": [], "complete": complete}
    record.save()
    return record


def test_an_unfinished_bench_comes_back_as_it_was(tmp_path: Path) -> None:
    record = saved(tmp_path, "a")

    found = find_unfinished(tmp_path, "f")

    assert found is not None
    assert (record.folder, record.header, record.rounds) == (found.folder, found.header, found.rounds)


def test_the_newest_one_of_the_same_fingerprint_is_taken(tmp_path: Path) -> None:
    for name, mark, complete in [("1", "f", False), ("2", "f", False), ("3", "other", False), ("4", "f", True)]:
        saved(tmp_path, name, mark=mark, complete=complete)

    found = find_unfinished(tmp_path, "f")

    assert found is not None
    assert "2" == found.folder.name


def test_without_one_nothing_is_continued(tmp_path: Path) -> None:
    saved(tmp_path, "a", complete=True)
    (tmp_path / "latest").symlink_to(tmp_path / "a")

    assert find_unfinished(tmp_path, "f") is None
    assert find_unfinished(tmp_path / "nowhere", "f") is None


def test_the_file_says_whether_a_round_was_disturbed_and_whole(tmp_path: Path) -> None:
    record = saved(tmp_path, "a")
    record.rounds[0].order = ("serial+serial", "again", "not yet")
    record.save()

    rounds = json.loads((record.folder / "bench.json").read_text())["rounds"]

    assert [False, True] == [one["complete"] for one in rounds]
    assert [0, 1] == [len(one["disturbances"]) for one in rounds]
    assert [50.0, 100 / 2.2] == [one["runs"]["serial+serial"]["rate_per_second"] for one in rounds]


def test_the_fingerprint_follows_the_content_and_not_its_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_two_benches_of_one_second_get_two_folders(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path, NOW).name for _ in range(3)]

    assert ["20261122T081530Z", "20261122T081530Z-2", "20261122T081530Z-3"] == folders


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"bench\.json"):
        Record(folder=tmp_path / "gone", header={}).save()
