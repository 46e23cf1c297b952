"""Whatever was known of a list, and whoever killed its last import, the ledger ends as after an import of the whole."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.columns import Columns
from batchproc.ledger import Imported, Ledger, first_import, importing
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources import lines, read_sources
from tests.ledger.job import Job

LISTED = (
    "SELECT key, line, url, extra_json, state, code, message FROM item WHERE state != 'absent' ORDER BY line, key",
    "SELECT key, listed_row.line, listed_row.extra_json FROM listed_row JOIN item ON item.id = item ORDER BY 1, 2",
    "SELECT name, value FROM meta WHERE name IN ('duplicates', 'bad_rows', 'columns') ORDER BY name",
)
ROW = st.tuples(st.integers(0, 9), st.integers(0, 3))  # a URL and a column; few of them, so that they come again


class Killed(Exception):
    """Ends an import at some row."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of three lines, and transactions of two rows."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 16)
    monkeypatch.setattr(lines, "SEGMENT_BYTES", 64)
    monkeypatch.setattr(importing, "CLOSE_BYTES", 1)
    monkeypatch.setattr(importing, "ROWS_PER_TRANSACTION", 2)
    monkeypatch.setattr(first_import, "ROWS_AT_ONCE", 2)


def write_list(path: Path, rows: Sequence[tuple[int, int]]) -> None:
    path.write_text("".join(f'{{"url": "https://h/{"" if url else " "}{url}", "n": {n}}}\n' for url, n in rows))


def kill(rows: Iterable[ListedItem | Known | Checkpoint], after: int) -> Iterator[ListedItem | Known | Checkpoint]:
    for number, row in enumerate(rows):
        if number == after:
            raise Killed
        yield row


def bring_in(ledger: Ledger, path: Path, *, keep_rows: bool, is_known: bool, killed_after: int = -1) -> Imported:
    columns = Columns()
    memory = ListMemory(rule="as it is", checkpoints=ledger.checkpoints()) if is_known else None
    rows = kill(read_sources(path, columns=columns, memory=memory), killed_after)
    return ledger.import_sources(rows, columns=columns, keep_rows=keep_rows)


def listed(ledger: Ledger) -> list[list[tuple[object, ...]]]:
    """All that a ledger knows of its list."""
    return [ledger._fetch(query) for query in LISTED]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), keep_rows=st.booleans())
def test_a_ledger_comes_to_the_same_whatever_was_known_of_its_lists(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, keep_rows: bool
) -> None:
    folder = tmp_path_factory.mktemp("job")
    path = folder / "list.jsonl"
    rows: list[tuple[int, int]] = []
    with Job(folder / "one").open() as ledger, Job(folder / "two").open() as plain:
        for _ in range(4):
            rows = rows[: data.draw(st.integers(0, len(rows)))] + data.draw(st.lists(ROW, max_size=12))
            write_list(path, rows)
            try:
                killed_after = data.draw(st.sampled_from([-1, -1, 0, 2, 5]))
                bring_in(ledger, path, keep_rows=keep_rows, is_known=True, killed_after=killed_after)
            except Killed:
                continue
            bring_in(plain, path, keep_rows=keep_rows, is_known=False)
            assert listed(plain) == listed(ledger)


def test_a_known_beginning_counts_as_known(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    with Job(tmp_path / "out").open() as ledger:
        write_list(path, [(url, 0) for url in (1, 2, 2, 3, 0, 4)])
        first = bring_in(ledger, path, keep_rows=False, is_known=True)
        write_list(path, [(url, 0) for url in (1, 2, 2, 3, 0, 4, 5, 4)])

        assert Imported(new=5, duplicates=1, bad_rows=1) == first
        assert Imported(new=1, known=5, duplicates=2, bad_rows=1) == bring_in(
            ledger, path, keep_rows=False, is_known=True
        )


def test_a_list_that_came_again_as_it_was_makes_no_manifest_anew(tmp_path: Path) -> None:
    job, path = Job(tmp_path / "out"), tmp_path / "list.jsonl"
    write_list(path, [(url, 0) for url in range(9)])
    with job.open() as ledger:
        bring_in(ledger, path, keep_rows=False, is_known=True)
        ledger.note_manifests(job.write_manifests(ledger))
        bring_in(ledger, path, keep_rows=False, is_known=True)
        assert ledger.manifests_are_current()
        write_list(path, [(url, 0) for url in range(8)])
        bring_in(ledger, path, keep_rows=False, is_known=True)
        assert not ledger.manifests_are_current()


def test_few_checkpoints_are_kept_of_a_list_that_grows_every_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CLOSE_BYTES", 1000)
    path = tmp_path / "list.jsonl"
    with Job(tmp_path / "out").open() as ledger:
        for night in range(1, 60):
            write_list(path, [(url, 0) for url in range(night)])
            bring_in(ledger, path, keep_rows=False, is_known=True)

        sizes = [one.size_bytes for one in ledger.checkpoints()]
        assert path.stat().st_size == sizes[-1]
        assert 1 + path.stat().st_size // 1000 == len(sizes)
