"""The ledger of an earlier version is taken over: nothing is lost, and the old file is kept until a run ended well."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import DiskError, ExitCode
from batchproc.ledger import LedgerView, holds_items, is_whole
from batchproc.ledger.schema import SCHEMA_VERSION, create_tables
from tests.ledger.job import NOW, Job
from tests.ledger.old_ledger import BASE_URL, VERSIONS, read_dump, write_old_ledger
from tests.ledger.test_crash import run_until_killed

STATES = {"done": 2, "rejected": 1, "failed": 4, "absent": 1}


@pytest.fixture(params=VERSIONS, ids=lambda version: f"version-{version}")
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def old(job: Job, version: int) -> Path:
    """The ledger of an earlier version, in the job's folder."""
    return write_old_ledger(job.output, version=version)


def shape(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    """Every table's columns in their order, and every index's."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
    return {
        name: connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall()
        + connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,)).fetchall()
        for name in names
    }


def states(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT state, count(*) FROM item GROUP BY state"))


def copy_of(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.v{version}")


def test_a_migrated_ledger_has_the_tables_of_a_fresh_one(job: Job, old: Path) -> None:
    with job.open(), closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        create_tables(fresh)
        with closing(sqlite3.connect(old)) as migrated:
            assert shape(fresh) == shape(migrated)
            assert (SCHEMA_VERSION,) == migrated.execute("PRAGMA user_version").fetchone()


def test_a_migrated_ledger_knows_what_it_knew(job: Job, old: Path, version: int) -> None:
    with job.open() as ledger:
        ledger.recover()

        counts = ledger.counts()
        assert (7, 2, 1, 4, 1, 1) == (
            counts.items, counts.done, counts.rejected, counts.failed, counts.absent, counts.bad_rows,
        )  # fmt: skip
        assert [f"{BASE_URL}ill.png"] == [source.url for source in ledger.pending(10)]
        assert [(f"{BASE_URL}a.png", str(min(version, 2))), (f"{BASE_URL}b.png", str(min(version, 2)))] == [
            (row["url"], row["image_recipe"]) for row in ledger.metadata_rows(job.images.file_name)
        ]
        assert [(2, 0), (1, 0)] == [(run.number, run.exit_code) for run in ledger.last_runs()]
        assert version == ledger.opened_version


def test_a_ledger_of_this_version_is_not_copied(job: Job) -> None:
    with job.open():
        pass
    with job.open() as ledger:
        assert SCHEMA_VERSION == ledger.opened_version
    assert not copy_of(job.layout.ledger_path, SCHEMA_VERSION).exists()


def test_the_old_ledger_is_kept_whole_and_private(job: Job, old: Path, version: int) -> None:
    before = read_dump(old)

    with job.open():
        assert before == read_dump(copy_of(old, version))
        assert 0o600 == stat.S_IMODE(copy_of(old, version).stat().st_mode)


def test_what_only_the_log_beside_the_old_ledger_holds_is_kept_too(job: Job, old: Path, version: int) -> None:
    with closing(sqlite3.connect(old)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE item SET hint = 'in the log' WHERE id = 4")
        writer.commit()
        before = read_dump(old)

        with job.open():
            assert before == read_dump(copy_of(old, version))


@pytest.mark.parametrize(
    ("exit_code", "kept"),
    [
        (ExitCode.DONE, False),
        (ExitCode.TOO_MANY_FAILED, False),
        (ExitCode.LIMIT, False),
        (ExitCode.INTERNAL, True),
        (ExitCode.DISK, True),
        (ExitCode.TERMINATED, True),
    ],
)
def test_the_old_ledger_is_kept_until_a_run_has_ended_well(
    job: Job, old: Path, version: int, exit_code: ExitCode, kept: bool
) -> None:
    with job.open() as ledger:
        job.begin(ledger)
        ledger.finish_recording()
        ledger.end_run(ended=NOW, exit_code=exit_code)

    assert kept == copy_of(old, version).exists()


@pytest.mark.parametrize("point", ["migration_copied", "in_migration", "after_migration"])
def test_a_migration_that_is_killed_is_completed_by_the_next_start(
    job: Job, old: Path, version: int, point: str
) -> None:
    before = read_dump(old)

    run_until_killed(job.output, f"ledger.{point}", "open")
    assert before == read_dump(copy_of(old, version))
    with job.open():
        assert STATES == states(old)
        assert before == read_dump(copy_of(old, version))
    job.layout.sweep()
    assert {"batchproc.db", f"batchproc.db.v{version}"} == {path.name for path in job.output.glob("*batchproc.db*")}


def test_a_copy_that_cannot_be_kept_leaves_the_ledger_as_it_was(job: Job, old: Path, version: int) -> None:
    before = read_dump(old)
    copy_of(old, version).mkdir()

    with pytest.raises(DiskError, match=rf"batchproc\.db\.v{version}"):
        job.open()
    assert before == read_dump(old)


def test_reading_an_old_ledger_changes_nothing(job: Job, old: Path) -> None:
    before = old.read_bytes()

    with LedgerView.open_view(old) as view:
        assert (7, 2) == (view.counts().items, view.counts().done)
        assert 1 == view.count_work()
        assert {"http.404": 1, "http.500": 1, "input.url": 1, "not_image": 1} == view.failures_by_code()
        assert 2 == len(view.last_runs())
    assert is_whole(old)
    assert holds_items(old)
    assert before == old.read_bytes()
    assert ["batchproc.db"] == [path.name for path in job.output.glob("batchproc.db*")]
