"""Lines become items once, whatever the list does between runs."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchproc.errors import Retry
from batchproc.ledger import Imported, first_import, importing, input_fingerprint
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint
from tests.ledger.job import Job, failure, hash_key, listed, listing, urls


def test_items_keep_the_order_of_the_input(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(reversed(urls(5))))

        assert list(reversed(urls(5))) == [source.url for source in ledger.pending(10)]


def test_a_source_carries_its_line_key_and_columns(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([listed("https://example.org/a", 7, extra_json='{"label": "cat"}')])

        (source,) = ledger.pending(10)
        assert (0, 7, hash_key("https://example.org/a"), '{"label": "cat"}') == (
            source.index, source.line, source.key, source.extra_json,
        )  # fmt: skip


def test_the_same_key_twice_is_one_item_and_the_rest_are_counted(job: Job) -> None:
    with job.open() as ledger:
        imported = ledger.import_sources(listing([*urls(3), *urls(2)]))

        assert Imported(new=3, duplicates=2) == imported
        assert (3, 2) == (ledger.counts().items, ledger.counts().duplicates)


def test_the_same_key_twice_is_one_item_in_a_later_import_too(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(1)))

        assert Imported(new=2, known=1, duplicates=1) == ledger.import_sources(listing([*urls(3), *urls(1)]))


def test_the_same_id_with_another_url_is_a_bad_row(job: Job) -> None:
    rows = [
        ListedItem(key=hash_key("id-1"), line=1, url="https://example.org/a"),
        ListedItem(key=hash_key("id-1"), line=2, url="https://example.org/b"),
        ListedItem(key=hash_key("id-1"), line=3, url="https://example.org/a"),
    ]
    with job.open() as ledger:
        imported = ledger.import_sources(rows, keyed_by_id=True)

        assert Imported(new=2, duplicates=1, bad_rows=1) == imported
        (row,) = ledger.failure_rows()
        assert ("input.row", 2, "the same id as line 1, with another URL") == (row["code"], row["line"], row["message"])


def test_the_same_contradiction_is_one_bad_row_in_every_import(job: Job) -> None:
    rows = [ListedItem(key=hash_key("id-1"), line=n, url=f"https://example.org/{n}") for n in (1, 2)]
    with job.open() as ledger:
        ledger.import_sources(rows, keyed_by_id=True)

        assert Imported(known=2, bad_rows=1) == ledger.import_sources(rows, keyed_by_id=True)


def test_two_spellings_of_one_url_are_duplicates_without_ids(job: Job) -> None:
    key = hash_key("https://example.org/a")
    rows = [ListedItem(key=key, line=1, url="https://example.org/a"), ListedItem(key=key, line=2, url="HTTPS://example.org/a")]

    with job.open() as ledger:
        assert Imported(new=1, duplicates=1) == ledger.import_sources(rows)


def test_a_bad_line_is_a_failed_item_that_is_never_work(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([listed("not a url", 3, code="input.url", message="this is no URL")])

        assert [] == ledger.pending(10)
        assert {"input.url": 1} == ledger.failures_by_code()
        assert 1 == ledger.counts().bad_rows
        assert 0 == ledger.retry_failed()


def test_a_bad_line_that_the_program_reads_today_becomes_work(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([listed("https://exämple.org", code="input.url", message="no")])
        ledger.import_sources([listed("https://exämple.org")])

        assert ["https://exämple.org"] == [source.url for source in ledger.pending(10)]
        assert {} == ledger.failures_by_code()


def test_invalid_bytes_are_kept_as_escapes(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([listed_raw("https://example.org/\udc80")])

        (row,) = ledger.failure_rows()
        assert "https://example.org/\\udc80" == row["url"]


def listed_raw(url: str) -> ListedItem:
    return ListedItem(key=b"k" * 16, line=1, url=url, code="input.encoding", message=f"bad byte in {url}")


def test_an_unchanged_list_is_not_read_again(job: Job) -> None:
    def explode() -> Iterator[ListedItem]:
        raise AssertionError("read")
        yield

    with job.open() as ledger:
        ledger.import_sources(listing(urls(2)), fingerprint="f1")

        assert Imported(skipped=True) == ledger.import_sources(explode(), fingerprint="f1")


def test_without_a_fingerprint_the_list_is_always_read(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(2)))

        assert Imported(known=2) == ledger.import_sources(listing(urls(2)))


def test_sources_that_left_the_list_are_absent_and_no_work(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(4)))

        assert Imported(known=2, absent=2) == ledger.import_sources(listing(urls(2)))
        assert (2, 2) == (ledger.counts().items, ledger.counts().absent)
        assert urls(2) == [source.url for source in ledger.pending(10)]
        assert 2 == ledger.count_work()


def test_sources_that_come_back_are_what_they_were(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(4))
        done, failed, transient, _ = ledger.pending(4)
        ledger.record(job.rendition(done))
        ledger.record(failure(failed))
        ledger.record(failure(transient, retry=Retry.BACKOFF))
        ledger.finish_recording()
        before = ledger.counts()
        ledger.import_sources(listing(urls(4)[3:]))

        assert Imported(known=4, returned=3) == ledger.import_sources(listing(urls(4)))
        assert before == ledger.counts()
        assert urls(4)[2:] == [source.url for source in ledger.pending(10)]


def test_a_reordered_list_renumbers_nothing(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(3)))
        ledger.import_sources(listing(["https://example.org/new", *reversed(urls(3))]))

        assert [(0, 4), (1, 3), (2, 2), (3, 1)] == [(source.index, source.line) for source in ledger.pending(10)]


def test_a_list_that_breaks_in_the_middle_marks_nothing_absent(job: Job) -> None:
    def broken() -> Iterator[ListedItem]:
        yield from listing(urls(1))
        raise OSError("the list ends in the middle")

    with job.open() as ledger:
        ledger.import_sources(listing(urls(3)), fingerprint="f1")

        with pytest.raises(OSError, match="in the middle"):
            ledger.import_sources(broken(), fingerprint="f2")
        assert (3, 0) == (ledger.counts().items, ledger.counts().absent)
        assert not ledger.import_sources(listing(urls(3)), fingerprint="f2").skipped


def test_a_list_longer_than_a_transaction_comes_in_whole(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "ROWS_PER_TRANSACTION", 7)
    monkeypatch.setattr(first_import, "ROWS_AT_ONCE", 7)
    with job.open() as ledger:
        assert Imported(new=20, duplicates=10) == ledger.import_sources(iter(listing([*urls(20), *urls(10)])))
        assert Imported(new=10, known=20) == ledger.import_sources(iter(listing(urls(30))))


def test_the_fingerprint_sees_content_place_time_and_settings(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("one\n")
    other.write_text("one\n")
    first = input_fingerprint(path, "url")
    distinct = {first, input_fingerprint(other, "url"), input_fingerprint(path, "image")}
    os.utime(path, ns=(1, 1))
    distinct.add(input_fingerprint(path, "url"))
    path.write_text("two\n")
    os.utime(path, ns=(1, 1))
    distinct.add(input_fingerprint(path, "url"))

    assert 5 == len(distinct)


def test_the_fingerprint_of_an_untouched_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n" * 50_000)

    assert input_fingerprint(path, "url") == input_fingerprint(path, "url")


LISTED_ROW = st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans())  # an id, a URL, whether it is a bad line
HELD = (
    "SELECT key, line, url, extra_json, state, due, stage, code, message FROM item WHERE state != 'absent' ORDER BY id",
    "SELECT key, listed_row.line, listed_row.extra_json FROM listed_row JOIN item ON item.id = item ORDER BY 1, 2",
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(LISTED_ROW, max_size=12), keyed_by_id=st.booleans(), keep_rows=st.booleans())
@example(
    rows=[(0, 0, False), (0, 1, False), (0, 1, True), (1, 0, False), (0, 0, True)], keyed_by_id=True, keep_rows=True
)
def test_a_first_import_comes_to_what_row_by_row_would(
    rows: list[tuple[int, int, bool]], keyed_by_id: bool, keep_rows: bool
) -> None:
    items = [
        ListedItem(
            hash_key(f"{item}"), line, f"http://h/\udc80{url}", f'{{"n": {line}}}', *(["input.url", "no"] * is_bad)
        )
        for line, (item, url, is_bad) in enumerate(rows, start=1)
    ]
    checkpoints = [
        Checkpoint(size_bytes=line << 30, digest=b"", line=line, header=(), columns="{}")
        for line in range(len(items) + 1)
    ]
    entries = [entry for pair in zip(checkpoints, [*items, None], strict=True) for entry in pair if entry]
    rule: dict[str, Any] = {"keyed_by_id": keyed_by_id, "keep_rows": keep_rows}
    with TemporaryDirectory() as folder, Job(Path(folder, "1")).open() as one, Job(Path(folder, "2")).open() as other:
        other.import_sources([ListedItem(b"k" * 16, 1, "http://h/before")])
        at_once, row_by_row = one.import_sources(entries, **rule), other.import_sources(entries, **rule)

        assert replace(row_by_row, absent=0) == at_once
        assert [other._fetch(query) for query in HELD] == [one._fetch(query) for query in HELD]
        assert list(range(1, at_once.new + 1)) == [item for (item,) in one._fetch("SELECT id FROM item ORDER BY id")]
        counted = "SELECT line, duplicates, bad_rows FROM list_checkpoint ORDER BY line"
        assert other._fetch(counted) == one._fetch(counted)


def test_a_first_import_that_breaks_off_leaves_the_ledger_as_it_was(job: Job) -> None:
    def broken() -> Iterator[ListedItem]:
        yield from listing(urls(3))
        raise OSError("the list ends in the middle")

    with job.open() as ledger:
        with pytest.raises(OSError, match="in the middle"):
            ledger.import_sources(broken())

        assert 0 == ledger.counts().items
        assert Imported(new=3) == ledger.import_sources(listing(urls(3)))
