"""The ledger knows which rows of the manifests are as they were, and forgets it with the change of any of them."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchproc.config import OutputTable
from batchproc.ledger import Ledger, LedgerView
from batchproc.ledger.reader import IMAGE_COLUMNS, known_blocks
from batchproc.ledger.schema import TABLES
from batchproc.model import ListedItem
from batchproc.pipeline.closing import write_manifests
from batchproc.remembered import BLOCK_ITEMS
from tests.ledger.job import NOW, Job, failure, hash_key, listing, rejection, urls
from tests.ledger.test_crash import run_until_killed

COUNT = 2 * BLOCK_ITEMS + 10  # two full blocks, and the beginning of a third one
COLUMNS = set(re.findall(r"\b\w+\b", TABLES.partition("CREATE TABLE item (")[2].partition(");")[0]))
OF_AN_IMAGE = sorted({name for name in re.findall(r"[a-z]\w*", IMAGE_COLUMNS) if name in COLUMNS} - {"id"})
OF_AN_EARLY_END = ["url", "line", "key", "stage", "state", "code", "message", "hint", "attempts"]
DONE, FAILED = BLOCK_ITEMS + 1, 6  # an item in the second block, and one in the first


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a job that has ended."""
    folder = tmp_path_factory.mktemp("made") / "out"
    Job(folder).run_to_the_end(urls(COUNT))
    return folder


@pytest.fixture
def job(made: Path, tmp_path: Path) -> Job:
    shutil.copytree(made, tmp_path / "out", copy_function=shutil.copy)
    return Job(tmp_path / "out")


def known(connection: sqlite3.Connection) -> dict[str, list[int]]:
    """The blocks that are known to be as they were."""
    return {manifest: sorted(known_blocks(connection, manifest)) for manifest in ("metadata", "failures")}


def after(made: Path, statement: str) -> dict[str, list[int]]:
    """What is known after this statement; the ledger itself stays as it is."""
    with closing(sqlite3.connect(made / "batchproc.db")) as ledger:
        ledger.execute(statement)
        return known(ledger)


def test_only_blocks_to_which_no_item_can_come_are_known(made: Path) -> None:
    assert {"metadata": [0, 1], "failures": [0, 1]} == after(made, "SELECT 1")


@pytest.mark.parametrize("column", OF_AN_IMAGE)
def test_a_change_of_what_a_row_of_metadata_tells_is_noticed(made: Path, column: str) -> None:
    assert [0] == after(made, f"UPDATE item SET {column} = 'x' WHERE id = {DONE}")["metadata"]


@pytest.mark.parametrize("column", OF_AN_EARLY_END)
def test_a_change_of_what_a_row_of_failures_tells_is_noticed(made: Path, column: str) -> None:
    assert [1] == after(made, f"UPDATE item SET {column} = 'x' WHERE id = {FAILED}")["failures"]


@pytest.mark.parametrize("column", ["line", "runs", "last_run", "attempts", "due"])
def test_what_no_row_of_metadata_tells_costs_nothing(made: Path, column: str) -> None:
    assert {"metadata": [0, 1], "failures": [0, 1]} == after(made, f"UPDATE item SET {column} = 7 WHERE id = {DONE}")


def test_a_row_that_comes_or_goes_is_noticed(made: Path) -> None:
    assert [1] == after(made, f"UPDATE item SET state = 'pending' WHERE id = {FAILED}")["failures"]
    assert [1] == after(made, f"UPDATE item SET state = 'done' WHERE id = {FAILED}")["metadata"]
    assert [0] == after(made, f"UPDATE item SET state = 'absent' WHERE id = {DONE}")["metadata"]
    assert [0] == after(made, f"UPDATE item SET state = 'deferred' WHERE id = {DONE}")["failures"]


def test_further_rows_of_an_item_are_noticed_as_they_come_and_go(job: Job) -> None:
    with closing(sqlite3.connect(job.layout.ledger_path)) as ledger:
        ledger.execute(f"INSERT INTO listed_row VALUES ({DONE}, 9000, '')")
        assert [0] == known(ledger)["metadata"]
        ledger.execute("INSERT INTO manifest_block VALUES ('metadata', 1, 0, 0, x'')")
        ledger.execute("DELETE FROM listed_row")
        assert [0] == known(ledger)["metadata"]


def reorder(ledger: Ledger) -> None:
    ledger.import_sources(listing(reversed(urls(COUNT))))


def shorten(ledger: Ledger) -> None:
    ledger.import_sources(listing(urls(COUNT)[BLOCK_ITEMS:]))


def grow(ledger: Ledger) -> None:
    ledger.import_sources(listing([*urls(COUNT), "https://example.org/new"]))


def label(ledger: Ledger) -> None:
    names = urls(COUNT)
    rows = [ListedItem(key=hash_key(url), line=line, url=url, extra_json='{"n": 1}') for line, url in enumerate(names)]
    ledger.import_sources(rows)


def fail_some(ledger: Ledger) -> None:
    ledger._change(f"UPDATE item SET state = 'pending', due = 1 WHERE id IN ({DONE}, {DONE + 2})")


CHANGES: list[Callable[[Ledger], object]] = [
    reorder, shorten, grow, label, fail_some, Ledger.retry_failed, Ledger.start_afresh, Ledger.repair,
]  # fmt: skip


@pytest.mark.parametrize("is_finished", [True, False], ids=["and ends", "and is cut short"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_changes_the_manifests_are_as_if_made_at_once(
    job: Job, change: Callable[[Ledger], object], is_finished: bool
) -> None:
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one")
        change(ledger)
        ledger.begin_run("again", NOW)
        work = list(ledger.work())
        for number, source in enumerate(work if is_finished else work[:3]):
            outcomes = (job.rendition, failure, rejection, job.outcome)
            ledger.record(outcomes[number % 4](source))
        ledger.finish_recording()
        written = job.write_manifests(ledger)
        ledger.note_manifests(written)
    patched = job.layout.metadata_path.read_bytes(), job.layout.failures_path.read_bytes()
    job.layout.metadata_path.unlink()
    job.layout.failures_path.unlink()
    with job.open() as ledger:
        assert written == job.write_manifests(ledger)
    assert patched == (job.layout.metadata_path.read_bytes(), job.layout.failures_path.read_bytes())


def test_only_rows_of_blocks_that_changed_are_read_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with job.open() as ledger:
        ledger._change(f"UPDATE item SET etag = 'other' WHERE id = {DONE}")
        made_again: list[int] = []
        scan = ledger._scan
        monkeypatch.setattr(ledger, "_scan", lambda *what: made_again.append(what[2]) or scan(*what))

        job.write_manifests(ledger)

    assert [BLOCK_ITEMS + 1, 2 * BLOCK_ITEMS + 1, 2 * BLOCK_ITEMS + 1] == made_again


def write_as_a_run_does(job: Job) -> tuple[bytes, bytes]:
    with job.open() as ledger:
        job.layout.sweep()
        write_manifests(ledger, job.layout, OutputTable())
        assert not list(job.output.glob(".*.tmp"))
    return job.layout.metadata_path.read_bytes(), job.layout.failures_path.read_bytes()


@pytest.mark.parametrize(
    "point",
    ["sink.beginning_copied", "sink.before_replace", "ledger.before_manifests_noted", "ledger.after_manifests_noted"],
)
def test_a_run_that_is_killed_while_it_writes_manifests_is_completed_by_the_next(job: Job, point: str) -> None:
    write_as_a_run_does(job)

    run_until_killed(job.output, point, "manifests")

    found = write_as_a_run_does(job)
    with job.open() as ledger:
        assert ledger._fetch("SELECT count(*) FROM item WHERE etag = 'other'") != [(0,)]
        ledger._change("DELETE FROM manifest_block")
    assert found == write_as_a_run_does(job)


def edit_in_secret(path: Path) -> None:
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"example.org", b"example.com"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


EDITS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "of the same size": lambda path: path.write_bytes(path.read_bytes().replace(b"example.org", b"example.com")),
    "of the same size and time": edit_in_secret,
    "another file in its place": lambda path: shutil.copy(Path(__file__), path),
}


@pytest.mark.parametrize("name", ["metadata.jsonl", "failures.jsonl"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_manifest_that_was_edited_is_made_anew_though_no_item_changed(
    job: Job, edit: Callable[[Path], object], name: str
) -> None:
    whole = write_as_a_run_does(job)
    edit(job.output / name)

    assert whole == write_as_a_run_does(job)


def test_manifests_are_not_even_read_while_nothing_changes(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    write_as_a_run_does(job)
    monkeypatch.setattr(LedgerView, "metadata", None)

    write_as_a_run_does(job)
