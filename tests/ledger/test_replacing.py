"""A damaged ledger is replaced without an instant in which a run could take it for an empty one."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchproc.errors import DiskError, ExitCode, UsageError
from batchproc.ledger import LedgerView, database, is_whole, put_in_place, replacement
from batchproc.ledger import rebuilding as replacing_module
from batchproc.ledger.database import replacement_path
from tests.ledger.job import Job, urls
from tests.ledger.rebuilding import damage, rebuild
from tests.ledger.test_store import execute

COUNT = 6


@pytest.fixture
def damaged(job: Job) -> Job:
    """A job whose ledger cannot be read, with a `-wal` and a `-shm` as a kill leaves them."""
    job.run_to_the_end(urls(COUNT))
    damage(job)
    for side in ("-wal", "-shm"):
        job.layout.ledger_path.with_name(f"batchproc.db{side}").write_bytes(side.encode())
    return job


def kept(job: Job) -> dict[str, bytes]:
    """What was moved aside, by what its name ends with."""
    (name,) = {path.name.partition(".damaged-")[2].split("-")[0] for path in job.output.glob("*.damaged-*")}
    return {
        path.name.partition(name)[2]: path.read_bytes()[:4] for path in job.output.glob("batchproc.db.damaged-*")
    }


def names(job: Job) -> list[str]:
    return sorted(path.name for path in job.output.glob("batchproc.db*") if ".damaged-" not in path.name)


def test_the_damaged_files_are_kept_together_under_one_name(damaged: Job) -> None:
    rebuild(damaged, urls(COUNT))

    assert {"": b"\xaa" * 4, "-wal": b"-wal", "-shm": b"-shm"} == kept(damaged)
    assert ["batchproc.db"] == names(damaged)
    assert 0o600 == damaged.layout.ledger_path.stat().st_mode & 0o777


@pytest.mark.parametrize("point", ["rebuild_moving", "rebuild_moved"])
def test_a_kill_between_two_renames_lets_nobody_in_and_is_completed_by_the_same_again(
    damaged: Job, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def kill(name: str) -> None:
        if name == f"ledger.{point}":
            raise RuntimeError("killed")

    monkeypatch.setattr(replacing_module, "failpoint", kill)
    with pytest.raises(RuntimeError, match="killed"):
        rebuild(damaged, urls(COUNT))
    monkeypatch.undo()

    assert not damaged.layout.ledger_path.exists()
    with pytest.raises(DiskError, match="same `batchproc rebuild` again"):
        damaged.open()
    with pytest.raises(DiskError, match="same `batchproc rebuild` again"):
        LedgerView.open_view(damaged.layout.ledger_path)
    with pytest.raises(RuntimeError), replacement(damaged.layout.ledger_path):
        raise RuntimeError("the list is not there")
    assert replacement_path(damaged.layout.ledger_path).exists()  # still nobody may come in

    rebuild(damaged, urls(COUNT))

    assert {"": b"\xaa" * 4, "-wal": b"-wal", "-shm": b"-shm"} == kept(damaged)
    assert ["batchproc.db"] == names(damaged)
    with LedgerView.open_view(damaged.layout.ledger_path) as view:
        assert COUNT == view.counts().items


def test_an_error_while_it_is_made_leaves_everything_as_it_was(damaged: Job) -> None:
    before = {path.name: path.read_bytes() for path in damaged.output.glob("batchproc.db*")}

    def break_off() -> None:
        with replacement(damaged.layout.ledger_path) as new:
            new.with_name(f"{new.name}-wal").write_bytes(b"x")
            raise UsageError("the list breaks off")

    with pytest.raises(UsageError):
        break_off()

    assert before == {path.name: path.read_bytes() for path in damaged.output.glob("batchproc.db*")}


def test_a_new_ledger_that_is_still_open_is_not_put_in_place(damaged: Job) -> None:
    with replacement(damaged.layout.ledger_path) as new:
        new.with_name(f"{new.name}-wal").write_bytes(b"x")

    with pytest.raises(DiskError, match="was not closed"):
        put_in_place(damaged.layout.ledger_path)
    assert b"\xaa" == damaged.layout.ledger_path.read_bytes()[:1]


def test_two_damages_in_one_second_are_both_kept(damaged: Job) -> None:
    rebuild(damaged, urls(COUNT))
    damage(damaged)
    rebuild(damaged, urls(COUNT))

    assert 2 == len([path for path in damaged.output.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))])


def test_a_whole_ledger_is_known_as_such_and_not_changed_by_looking(job: Job) -> None:
    job.run_to_the_end(urls(COUNT))
    before = {path.name: path.read_bytes() for path in job.output.glob("batchproc.db*")}

    assert is_whole(job.layout.ledger_path)
    assert before == {path.name: path.read_bytes() for path in job.output.glob("batchproc.db*")}


def test_a_whole_ledger_that_a_kill_left_with_its_wal_is_known_as_such(job: Job, tmp_path: Path) -> None:
    job.run_to_the_end(urls(COUNT))
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(job.layout.ledger_path)) as connection:
        connection.execute("UPDATE item SET hint = 'in the wal'")
        connection.commit()
        for side in ("", "-wal"):
            copy.with_name(f"copy.db{side}").write_bytes(Path(f"{job.layout.ledger_path}{side}").read_bytes())
    before = copy.read_bytes(), copy.with_name("copy.db-wal").read_bytes()

    assert is_whole(copy)
    assert before == (copy.read_bytes(), copy.with_name("copy.db-wal").read_bytes())


@pytest.mark.parametrize("harm", ["a page of rows", "no items", "no table", "not there", "cut short"])
def test_a_ledger_that_is_not_whole(job: Job, harm: str) -> None:
    job.run_to_the_end(urls(500))
    path = job.layout.ledger_path
    size = path.stat().st_size
    match harm:
        case "a page of rows":
            with path.open("r+b") as file:
                file.seek(size // 2 // 4096 * 4096)
                file.write(b"\xaa" * 4096)
        case "no items":
            execute(path, "DELETE FROM item")
        case "no table":
            execute(path, "DROP TABLE host")
        case "cut short":
            os.truncate(path, size // 2)
        case _:
            path.unlink()

    assert not is_whole(path)


def test_a_newer_ledger_is_no_damaged_one(job: Job) -> None:
    job.run_to_the_end(urls(1))
    execute(job.layout.ledger_path, "PRAGMA user_version = 99")

    with pytest.raises(UsageError, match="made by a newer") as caught:
        is_whole(job.layout.ledger_path)
    assert "rebuild" not in str(caught.value)


def test_a_locked_ledger_is_no_damaged_one(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program writes to it outside WAL; the wait is bounded by SQLite's own clock."""
    job.run_to_the_end(urls(1))
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.05)
    with closing(sqlite3.connect(job.layout.ledger_path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for open_it in (job.open, lambda: is_whole(job.layout.ledger_path)):
            with pytest.raises(DiskError, match=r"another program kept the ledger locked for 0\.05 s") as caught:
                open_it()
            assert ExitCode.DISK == caught.value.exit_code
            assert "rebuild" not in str(caught.value)

    with job.open() as ledger:
        assert 1 == ledger.counts().done
