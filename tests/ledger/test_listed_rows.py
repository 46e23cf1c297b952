"""An image that is listed in several rows has a row in metadata.jsonl for each of them, and one file."""

import json
from typing import Any

import pytest

from batchproc.columns import Columns
from batchproc.ledger import Ledger, RestoreRules, put_in_place, replacement
from batchproc.model import ListedItem, Source
from batchproc.sink import read_manifest
from tests.ledger.job import NOW, Job, failure, hash_key
from tests.ledger.rebuilding import damage

Row = tuple[str, dict[str, Any]]
A, B, C = "https://example.org/a.jpg", "https://example.org/b.jpg", "https://example.org/c.jpg"
ROWS: list[Row] = [(A, {"caption": "a1"}), (B, {"caption": "b1"}), (A, {"caption": "a2"}), (A, {"caption": "a3"})]


def import_rows(ledger: Ledger, rows: list[Row], *, keep_rows: bool = True) -> None:
    columns = Columns()
    items = []
    for line, (url, row) in enumerate(rows, start=2):
        columns.observe(row, line)
        items.append(ListedItem(key=hash_key(url), line=line, url=url, extra_json=json.dumps(row)))
    ledger.import_sources(items, columns=columns, keep_rows=keep_rows)


def run(job: Job, rows: list[Row], *, keep_rows: bool = True, failing: str = "") -> list[Source]:
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one")
        import_rows(ledger, rows, keep_rows=keep_rows)
        ledger.begin_run("run", NOW)
        work = list(ledger.work())
        for source in work:
            ledger.record(failure(source) if source.url == failing else job.rendition(source))
        job.end(ledger)
    return work


def captions(job: Job) -> list[tuple[str, str | None]]:
    rows = [row for row in read_manifest(job.layout.metadata_path) if row is not None]
    return [(row["url"][-5], row["caption"]) for row in rows]


def test_each_row_has_its_own_columns_and_the_one_file(job: Job) -> None:
    work = run(job, ROWS)

    assert [A, B] == [source.url for source in work]
    assert [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")] == captions(job)
    assert 2 == len(job.image_files())
    rows = [row for row in read_manifest(job.layout.metadata_path) if row is not None]
    assert 1 == len({(row["file_name"], row["sha256"]) for row in rows if row["url"] == A})


def test_without_being_asked_for_the_first_row_is_kept(job: Job) -> None:
    run(job, ROWS, keep_rows=False)

    assert [("a", "a1"), ("b", "b1")] == captions(job)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS[:2], [("a", "a1"), ("b", "b1")]),
        (ROWS[1:], [("a", "a2"), ("a", "a3"), ("b", "b1")]),
        ([*ROWS, (B, {"caption": "b2"})], [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2")]),
        ([(A, {"caption": "new"}), *ROWS[1:3]], [("a", "new"), ("a", "a2"), ("b", "b1")]),
        (ROWS[1:2], [("b", "b1")]),
        ([*ROWS, (A, {})], [("a", "a1"), ("a", "a2"), ("a", "a3"), ("a", None), ("b", "b1")]),
    ],
    ids=["fewer", "the first one gone", "one more", "changed", "none left", "without columns"],
)
def test_a_list_with_other_rows_changes_them_and_fetches_nothing(
    job: Job, rows: list[Row], expected: list[tuple[str, str]]
) -> None:
    run(job, ROWS)

    assert [] == run(job, rows)
    assert expected == captions(job)


def test_rows_go_when_they_are_no_longer_asked_for(job: Job) -> None:
    run(job, ROWS)
    run(job, ROWS, keep_rows=False)

    assert [("a", "a1"), ("b", "b1")] == captions(job)


def test_an_item_that_failed_has_one_row_among_the_failures(job: Job) -> None:
    run(job, ROWS, failing=A)

    assert [("b", "b1")] == captions(job)
    assert [A] == [row["url"] for row in read_manifest(job.layout.failures_path) if row is not None]


def test_an_unfinished_import_starts_over_whatever_list_comes(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([ListedItem(key=hash_key(A), line=1, url=A)], fingerprint="one")
        with pytest.raises(OSError, match="gone"):
            ledger.import_sources(_broken(), fingerprint="two")

        assert not ledger.import_sources([ListedItem(key=hash_key(A), line=1, url=A)], fingerprint="one").skipped


def _broken() -> Any:
    yield ListedItem(key=hash_key(B), line=1, url=B)
    raise OSError("gone")


def test_more_rows_than_a_window_come_out_whole(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchproc.ledger.reader.WINDOW", 2)
    rows = [(url, {"caption": f"{number}"}) for number in range(5) for url in (A, B, C)]

    run(job, rows)

    assert [("a", str(n)) for n in range(5)] + [("b", str(n)) for n in range(5)] == captions(job)[:10]
    assert 15 == len(captions(job))


def test_a_rebuilt_ledger_has_all_rows_again(job: Job) -> None:
    run(job, [ROWS[1], *ROWS[2:]])
    before = captions(job)
    damage(job)
    reordered = [*ROWS[2:], ROWS[1]]
    path = job.layout.ledger_path
    with (
        replacement(path) as new,
        Ledger.open(new, images=job.images, reserve_path=job.layout.reserve_path) as ledger,
    ):
        ledger.adopt_plan("plan-one")
        import_rows(ledger, reordered)
        manifests = (read_manifest(job.layout.metadata_path), read_manifest(job.layout.failures_path))
        restored = ledger.restore(*manifests, RestoreRules(keyed_by_id=False, same_url=str.__eq__))
    put_in_place(path)

    assert (2, 0, True) == (restored.done, restored.unreadable_rows, restored.reordered)
    assert [] == run(job, reordered)
    assert before == captions(job)


def test_a_changed_url_keeps_its_old_row_without_the_new_rows(job: Job) -> None:
    def items(url: str, *captions: str) -> list[ListedItem]:
        return [
            ListedItem(key=b"i" * 16, line=line, url=url, extra_json=json.dumps({"caption": caption}))
            for line, caption in enumerate(captions, start=2)
        ]

    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one")
        ledger.import_sources(items(A, "a1", "a2"), keyed_by_id=True, keep_rows=True)
        ledger.begin_run("run", NOW)
        for source in ledger.work():
            ledger.record(job.rendition(source))
        job.end(ledger)
        assert [("a", "a1"), ("a", "a2")] == captions(job)
        ledger.import_sources(items(B, "b1", "b2"), keyed_by_id=True, keep_rows=True)
        job.write_manifests(ledger)

    assert [("a", "a1")] == captions(job)
