"""A ledger that somebody altered, or that is none: a clear message, the right code, and a way out."""

import contextlib
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchproc.errors import DiskError, ExitCode, UsageError
from batchproc.ledger import LedgerView, holds_items, is_whole
from batchproc.ledger.database import DamagedLedgerError, ledger_errors
from batchproc.ledger.schema import STEPS
from tests.ledger.job import PLAN, Job, urls
from tests.ledger.old_ledger import BASE_URL, read_dump, write_old_ledger
from tests.ledger.rebuilding import rebuild, run
from tests.ledger.test_store import execute

COUNT = 6
NESTED = "[" * 200_000
ALTERED = {
    "no hash": "UPDATE item SET sha256 = NULL WHERE id = 2",
    "a hash that is a number": "UPDATE item SET source_sha256 = 7 WHERE id = 2",
    "no name": "UPDATE item SET suffix = NULL WHERE id = 2",
    "no size": "UPDATE item SET width_px = NULL WHERE id = 2",
    "columns that are no JSON": "UPDATE item SET extra_json = '{' WHERE id = 2",
    "columns that are a list": "UPDATE item SET extra_json = '[1]' WHERE id = 2",
    "columns of an earlier URL": "UPDATE item SET made_url = 'x', made_extra_json = 'x' WHERE id = 2",
    "columns without end": f"UPDATE item SET extra_json = '{NESTED}' WHERE id = 2",
    "a URL that is no text": "UPDATE item SET url = CAST(x'ff' AS TEXT) WHERE id = 2",
    "a failure without a key": "UPDATE item SET key = 'x' WHERE id = 6",
    "figures of a run": "UPDATE run SET counters_json = 'x'",
    "figures that are a list": "UPDATE run SET counters_json = '[1]'",
    "settings of a plan": "UPDATE plan SET settings_json = '{'",
    "no revision": "DELETE FROM meta WHERE name = 'revision'",
    "no duplicates": "DELETE FROM meta WHERE name = 'duplicates'",
    "a count that is no number": "UPDATE meta SET value = 'many' WHERE name = 'bad_rows'",
    "no fact at all": "DELETE FROM meta",
    "a plan that is not there": "DELETE FROM plan",
    "no version": "PRAGMA user_version = 0",
    "no version at all": "PRAGMA user_version = -1",
    "the version before": "PRAGMA user_version = 1",
    "a column less": "DROP TRIGGER image_changed; ALTER TABLE item DROP COLUMN made_url",
}


@pytest.fixture
def done(job: Job) -> Job:
    run(job, urls(COUNT))
    return job


def use(job: Job) -> None:
    """All that a run reads of its ledger."""
    with job.open() as ledger:
        ledger.recover()
        ledger.take_over_plans(PLAN, {}, lambda before, after: False)
        ledger.compare_plan("another")
        ledger.counts()
        ledger.last_runs()
        job.write_manifests(ledger)


@pytest.mark.parametrize("alteration", ALTERED)
def test_what_was_altered_is_damage_and_can_be_rebuilt(done: Job, alteration: str) -> None:
    before = done.result()
    assert is_whole(done.layout.ledger_path)
    execute(done.layout.ledger_path, ALTERED[alteration])

    with pytest.raises(DamagedLedgerError) as caught:
        use(done)
    assert ExitCode.DISK == caught.value.exit_code
    assert "the ledger is damaged. `batchproc rebuild CONFIG` makes it" in str(caught.value)
    assert before == done.result()
    assert not is_whole(done.layout.ledger_path)

    rebuild(done, urls(COUNT))
    assert [] == run(done, urls(COUNT))
    assert before == done.result()


def test_a_hash_that_is_gone_while_the_image_waits_for_its_name_costs_that_image(done: Job) -> None:
    execute(done.layout.ledger_path, "UPDATE item SET state = 'staged', temporary = NULL, sha256 = NULL WHERE id = 2")

    with done.open() as ledger:
        assert (0, 1) == (ledger.recover().finished, ledger.recover().lost)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # an address has a hundred characters at most


KINDS: dict[str, Callable[[Path], object]] = {"a folder": Path.mkdir, "a named pipe": os.mkfifo, "a socket": bind}


@pytest.mark.parametrize("name", ["batchproc.db-wal", "batchproc.db-shm"])
def test_what_is_no_file_beside_the_ledger_is_told(done: Job, name: str) -> None:
    os.mkfifo(done.output / name)

    with pytest.raises(UsageError, match=f"{name}: this is a named pipe, where the ledger belongs"):
        done.open()


def test_what_is_no_file_in_the_place_of_the_reserve_file_is_told(job: Job) -> None:
    os.mkfifo(job.layout.reserve_path)

    with pytest.raises(DiskError, match="ballast: there is something else than a file"):
        job.open()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "use_it",
    [
        lambda job: job.open(),
        lambda job: LedgerView.open_view(job.layout.ledger_path),
        lambda job: holds_items(job.layout.ledger_path),
        lambda job: is_whole(job.layout.ledger_path),
    ],
    ids=["run", "status", "start", "rebuild"],
)
def test_what_is_no_file_is_told_and_not_waited_for(job: Job, kind: str, use_it: Callable[[Job], object]) -> None:
    KINDS[kind](job.layout.ledger_path)

    with pytest.raises(UsageError, match=rf"batchproc\.db: this is {kind}, where the ledger belongs\. Move") as caught:
        use_it(job)
    assert ExitCode.USAGE == caught.value.exit_code


@contextmanager
def failing(name: str, text: str = "disk I/O error") -> Iterator[None]:
    """SQLite's error of this name, as Python raises it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    with ledger_errors(Path("/srv/out/batchproc.db")):
        yield
        raise error


@pytest.mark.parametrize("name", ["SQLITE_IOERR", "SQLITE_IOERR_READ", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_CORRUPTFS"])
def test_a_disk_that_fails_is_no_damaged_ledger(name: str) -> None:
    with pytest.raises(DiskError) as caught, failing(name):
        pass

    assert DiskError is type(caught.value)
    assert str(caught.value).startswith(
        f"/srv/out/batchproc.db: the disk failed while the ledger was in use ({name}). Look at the disk, then run the "
        "same command again: unfinished items stay pending."
    )


@pytest.mark.parametrize("place", [0, -4096], ids=["the first page", "the last page"])
@pytest.mark.parametrize("use_it", [lambda job: job.open(), lambda job: is_whole(job.layout.ledger_path)])
def test_a_page_that_the_disk_does_not_give_out_is_no_damage(
    done: Job, monkeypatch: pytest.MonkeyPatch, use_it: Callable[[Job], object], place: int
) -> None:
    """SQLite says of both that they are faults; only the disk can tell them apart."""
    path = done.layout.ledger_path
    execute(path, "UPDATE run SET ended = NULL")
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place else os.SEEK_SET)
        file.write(b"?" * 4096)
    with pytest.raises(DamagedLedgerError):
        done.open()

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(DiskError, match=r"the disk failed while the ledger was in use \(Input") as caught:
        use_it(done)
    assert DiskError is type(caught.value)


def test_a_file_that_ends_too_early_is_a_damaged_ledger() -> None:
    with pytest.raises(DamagedLedgerError), failing("SQLITE_IOERR_SHORT_READ"):
        pass


def test_an_image_that_the_disk_does_not_give_out_is_made_again(done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(done.layout.ledger_path, "UPDATE item SET state = 'staged' WHERE id = 2")

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patch, done.open() as ledger:
        patch.setattr(Path, "open", fail)
        assert 1 == ledger.recover().lost


def test_a_ledger_that_cannot_be_taken_over_is_damaged_and_left_as_it_was(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_old_ledger(job.output)
    monkeypatch.setitem(STEPS, 1, f"{STEPS[1]}ALTER TABLE item ADD COLUMN url TEXT;")

    with pytest.raises(DamagedLedgerError):
        job.open()
    assert BASE_URL in "\n".join(read_dump(path))
    assert not is_whole(path)
