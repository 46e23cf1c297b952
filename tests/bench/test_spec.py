"""Only an unfinished bench of the same making is continued, with all that was measured."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchproc.bench.bench_json import Bench, to_json, write_bench
from batchproc.bench.spec import find_unfinished, fingerprint, new_folder
from batchproc.errors import DiskError
from tests.bench.fakes import NOISY, a_bench_of, a_round

NOW = datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC)


def saved(root: Path, name: str, *, mark: str = "f", complete: bool = False) -> Bench:
    folder = root / name
    folder.mkdir()
    rounds = [a_round(1, serial_serial=2.0, again=2.1), a_round(2, conditions=NOISY, serial_serial=2.2, again=1.9)]
    bench = a_bench_of(rounds, fingerprint=mark, complete=complete)
    write_bench(bench, folder)
    return bench


def test_an_unfinished_bench_comes_back_as_it_was(tmp_path: Path) -> None:
    bench = saved(tmp_path, "a")

    assert (bench, tmp_path / "a") == find_unfinished(tmp_path, "f")


def test_the_newest_one_of_the_same_fingerprint_is_taken(tmp_path: Path) -> None:
    for name, mark, complete in [("1", "f", False), ("2", "f", False), ("3", "other", False), ("4", "f", True)]:
        saved(tmp_path, name, mark=mark, complete=complete)

    found = find_unfinished(tmp_path, "f")

    assert found is not None
    assert "2" == found[1].name


def test_without_one_nothing_is_continued(tmp_path: Path) -> None:
    saved(tmp_path, "a", complete=True)
    (tmp_path / "latest").symlink_to(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/bench.json").write_text('{"fingerprint": "f"}')  # of another version

    assert find_unfinished(tmp_path, "f") is None
    assert find_unfinished(tmp_path / "nowhere", "f") is None


def test_the_file_says_whether_a_round_was_disturbed_and_whole(tmp_path: Path) -> None:
    cut = a_round(3, serial_serial=2.0)
    rounds = to_json(a_bench_of([*saved(tmp_path, "a").rounds, replace(cut, order=(*cut.order, "not yet"))]))["rounds"]

    assert [True, True, False] == [one["complete"] for one in rounds]
    assert [0, 1, 0] == [len(one["disturbances"]) for one in rounds]
    assert [50.0, 100 / 2.2, 50.0] == [one["runs"]["serial+serial"]["rate_per_second"] for one in rounds]


def test_the_fingerprint_follows_the_content_and_not_its_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_two_benches_of_one_second_get_two_folders(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path, NOW).name for _ in range(3)]

    assert ["20261122T081530Z", "20261122T081530Z-2", "20261122T081530Z-3"] == folders


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"bench\.json"):
        write_bench(a_bench_of(()), tmp_path / "gone")
