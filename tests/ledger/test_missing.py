"""Files of images that are not there any more, or are others: noticed cheaply, and made again on demand."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchproc.ledger import LedgerView, Repaired
from batchproc.ledger.files import CHECKED
from tests.ledger.job import Job, failure, hash_key, identified, urls
from tests.ledger.old_ledger import write_old_ledger
from tests.ledger.test_crash import run_until_killed
from tests.ledger.test_url_changes import make, run

COUNT = 60
DONE = 43  # of them; the others fail or are rejected


@pytest.fixture
def done(job: Job) -> Job:
    job.run_to_the_end(urls(COUNT))
    return job


def files(job: Job) -> list[Path]:
    return sorted(path for path in job.layout.images_folder.rglob("*") if path.is_file())


def grow_old(job: Job) -> None:
    """Lets the folders look as if nothing had been done in them for long."""
    for folder in job.layout.images_folder.iterdir():
        os.utime(folder, ns=(1, folder.stat().st_mtime_ns - 10**10))


def missing(job: Job) -> int:
    with LedgerView.open_view(job.layout.ledger_path) as view:
        return view.count_missing(job.images)


def checked(job: Job) -> str | None:
    with closing(sqlite3.connect(job.layout.ledger_path)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (CHECKED,)).fetchone()
        return row and str(row[0])


def test_files_that_are_not_there_are_counted(done: Job) -> None:
    assert (DONE, 0) == (len(files(done)), missing(done))

    for path in files(done)[:3]:
        path.unlink()
    assert 3 == missing(done)
    shutil.rmtree(done.layout.images_folder / files(done)[0].parent.name)
    assert missing(done) > 3
    shutil.rmtree(done.layout.images_folder)
    assert DONE == missing(done)


def test_a_file_under_another_name_is_no_file_of_the_image(done: Job) -> None:
    for path, name in zip(files(done), ("a.jpg", None, None), strict=False):
        path.rename(path.with_name(name) if name else path.with_suffix(".png"))

    assert 3 == missing(done)


def test_files_of_items_that_are_not_done_are_not_missed(done: Job) -> None:
    with done.open() as ledger:
        ledger.start_afresh()
    shutil.rmtree(done.layout.images_folder)

    assert 0 == missing(done)


def test_what_was_counted_is_remembered_while_no_folder_changes(done: Job) -> None:
    files(done)[0].unlink()
    grow_old(done)
    with done.open() as ledger:
        assert 1 == ledger.check_files()
    assert str(checked(done)).endswith(" 1")

    with closing(sqlite3.connect(done.layout.ledger_path)) as connection, connection:
        connection.execute("UPDATE meta SET value = replace(value, ' 1', ' 99') WHERE name = ?", (CHECKED,))
    assert 99 == missing(done)
    files(done)[0].unlink()
    assert 2 == missing(done)


def test_what_was_counted_is_forgotten_when_items_change(done: Job) -> None:
    grow_old(done)
    with done.open() as ledger:
        assert 0 == ledger.check_files()
        ledger.import_sources([])
        assert 0 == ledger.check_files()
    before = checked(done)
    with done.open() as ledger:
        ledger.start_afresh()
        ledger.check_files()
    assert before != checked(done)


def test_folders_that_changed_just_now_are_looked_at_again(done: Job) -> None:
    with done.open() as ledger:
        assert 0 == ledger.check_files()

    assert None is checked(done)


def test_an_old_ledger_is_looked_at_too(job: Job) -> None:
    path = write_old_ledger(job.output)
    assert 0 == missing(job)

    next(path.parent.glob("images/12/*")).unlink()
    assert 1 == missing(job)


HARM: dict[str, tuple[str, Callable[[Path], object]]] = {
    "gone": ("missing", Path.unlink),
    "emptied": ("changed", lambda path: path.write_bytes(b"")),
    "of the same size": ("changed", lambda path: path.write_bytes(b"?" * path.stat().st_size)),
    "a link": ("changed", lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved"))),
    "a folder": ("changed", lambda path: (path.unlink(), path.mkdir())),
}


@pytest.mark.parametrize("harm", HARM)
def test_an_item_whose_file_is_not_what_its_row_says_is_due_again(done: Job, harm: str) -> None:
    found, do = HARM[harm]
    path = files(done)[7]
    do(path)
    with done.open() as ledger:
        repaired = ledger.repair()

        assert {"whole": DONE - 1, found: 1} == {
            name: number for name in Repaired.__struct_fields__ if (number := getattr(repaired, name))
        }
        assert [path.stem] == [source.key_hex for source in ledger.pending(99)]
        assert [None] == [source.refresh for source in ledger.pending(99)]
        assert DONE - 1 == ledger.repair().whole


def test_a_repaired_job_is_the_job_as_it_was(done: Job) -> None:
    before = done.result()
    for path in files(done)[::3]:
        path.write_bytes(b"")
    with done.open() as ledger:
        ledger.repair()

    done.run_to_the_end(urls(COUNT))
    assert before == done.result()


def test_a_repair_that_is_killed_is_completed_by_the_next(done: Job) -> None:
    before = done.result()
    for path in files(done):
        path.unlink()

    run_until_killed(done.output, "ledger.repair:2", "repair")
    with done.open() as ledger:
        assert DONE - 10 == ledger.repair().lost
    done.run_to_the_end(urls(COUNT))
    assert before == done.result()


def test_a_lost_image_of_an_earlier_url_is_forgotten_and_its_item_left_as_it_is(job: Job) -> None:
    make(job, "https://example.org/a.jpg")
    with run(job, identified({1: "https://example.org/b.jpg"})) as ledger:
        for source in ledger.work():
            ledger.record(failure(source))
    job.images.final_path(hash_key("id-1").hex(), ".jpg").write_bytes(b"")
    assert 0 == missing(job)

    with job.open() as ledger:
        assert 1 == ledger.repair().changed
        assert [] == list(ledger.metadata_rows(job.images.file_name))
        assert {"http.404": 1} == ledger.failures_by_code()
    with job.open() as ledger:
        assert 1 == ledger.recover().emptied
    assert {} == job.image_files()


def test_a_row_without_facts_vouches_for_nothing(done: Job) -> None:
    with closing(sqlite3.connect(done.layout.ledger_path)) as connection, connection:
        for column, number in (("sha256", 1), ("size_bytes", 2), ("suffix", 3)):
            connection.execute(f"UPDATE item SET {column} = NULL WHERE id = ?", (number,))

    with done.open() as ledger:
        assert 3 == ledger.repair().lost
        assert [0, 1, 2] == [source.index for source in ledger.pending(99)]
    assert hashlib.sha256(files(done)[0].read_bytes()).hexdigest() in done.layout.metadata_path.read_text()
