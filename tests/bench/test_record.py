"""What is on disk is what was measured; only an unfinished bench of the same making is continued."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchproc.bench.cases import Case, named
from batchproc.bench.record import Length, Record, Round, find_unfinished, fingerprint, make_rounds, new_folder
from batchproc.bench.result import CaseResult
from batchproc.errors import DiskError
from tests.bench.fakes import NOISY, QUIET, FakeRunner, a_record, a_result, a_round, schedule_of, two_cases

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


CASES = two_cases()
SCHEDULE = schedule_of(CASES)
AGAIN = "serial+serial (again)"


class Interrupted(Exception):
    pass


def make(
    record: Record,
    runner: FakeRunner,
    length: Length | None = None,
    undecided: dict[int, int] | None = None,
) -> list[Round]:
    """Makes the rounds; returns what was told of after each run."""
    saved: list[Round] = []
    length = length or Length(rounds=2)
    make_rounds(
        record, SCHEDULE, named(CASES), length, runner, lambda rounds: (undecided or {})[rounds], saved=saved.append
    )
    return saved


def numbers(record: Record) -> list[tuple[int, int]]:
    return [(one.number, one.attempt) for one in record.rounds]


def test_a_warm_up_and_the_rounds_each_with_the_baseline_twice(tmp_path: Path) -> None:
    record, runner = a_record(tmp_path), FakeRunner()

    saved = make(record, runner)

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)
    assert Counter({"serial+serial": 6, "thread+thread": 3}) == Counter(runner.asked)
    assert all({*one.runs} == {"serial+serial", "thread+thread", AGAIN} for one in record.rounds)
    assert len(runner.asked) == len(saved)
    assert [1, 2] == [one.number for one in record.measured]


def test_the_orders_are_those_of_the_schedule(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner())

    assert [SCHEDULE.order(number) for number in (0, 1, 2)] == [tuple(one.runs) for one in record.rounds]


def test_a_disturbed_round_is_made_again_in_another_order(tmp_path: Path) -> None:
    def answer(case: Case, call: int) -> CaseResult:
        return a_result(conditions=NOISY if call == 4 else QUIET)  # in round 1

    record = a_record(tmp_path)

    make(record, FakeRunner(answer))

    assert [(0, 1), (1, 1), (1, 2), (2, 1)] == numbers(record)
    assert SCHEDULE.order(1, 2) == record.rounds[2].order


def test_a_disturbed_warm_up_is_nobodys_concern(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(lambda case, call: a_result(conditions=NOISY if call < 3 else QUIET)))

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)


def test_an_indicative_bench_takes_disturbed_rounds_as_they_are(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(lambda case, call: a_result(conditions=NOISY)), Length(rounds=2, rerun=False))

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)


@pytest.mark.parametrize("after", range(9))
def test_a_bench_that_was_stopped_goes_on_where_it_was(tmp_path: Path, after: int) -> None:
    def stop(case: Case, call: int) -> CaseResult:
        if call == after:
            raise Interrupted
        return a_result(1.0 + call)

    record, whole = a_record(tmp_path), a_record(tmp_path)
    make(whole, FakeRunner())
    with pytest.raises(Interrupted):
        make(record, FakeRunner(stop))
    kept = [one for one in record.rounds if one.complete]
    on_disk = [one.to_json() for one in record.rounds]
    resumed = Record(folder=tmp_path, header=record.header, rounds=list(map(Round.from_json, on_disk)))

    make(resumed, FakeRunner())

    complete = [one for one in resumed.rounds if one.complete]
    assert [one.order for one in whole.rounds] == [one.order for one in complete]
    assert kept == complete[: len(kept)]
    assert after // 3 == len(kept)


def test_a_complete_bench_runs_nothing_more(tmp_path: Path) -> None:
    record, runner = a_record(tmp_path), FakeRunner()
    make(record, runner)
    asked = len(runner.asked)

    assert [] == make(record, runner)
    assert asked == len(runner.asked)


@pytest.mark.parametrize(
    ("undecided", "rounds"),
    [({10: 0}, 10), ({10: 3, 20: 0}, 20), ({10: 3, 20: 1, 30: 1}, 30)],
    ids=["decided at the first look", "at the second", "never"],
)
def test_until_decided_looks_after_10_20_and_30_rounds(tmp_path: Path, undecided: dict[int, int], rounds: int) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(), Length(rounds=10, until_decided=True), undecided)

    assert rounds == len(record.measured)
