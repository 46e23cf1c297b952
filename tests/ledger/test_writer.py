"""The writer's errors reach whoever records, and its queue is bounded."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchproc.errors import BatchprocError, DiskError, ExitCode
from batchproc.ledger import Ledger
from batchproc.ledger import writer as writer_module
from batchproc.ledger.database import RESERVE_BYTES, ReserveFile
from batchproc.ledger.writer import Inbox
from tests.ledger.job import NOW, Job, rejection, urls


def fill_the_disk(ledger: Ledger) -> None:
    """SQLite's own limit on pages stands in for the disk: from now on it says SQLITE_FULL, as it does for ENOSPC."""
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")


def long_rejection(source: object) -> object:
    return type(rejection(source))(source=source, stage="transform", code="check.x", message="m" * 3_000)


def test_a_full_disk_surfaces_at_flush_as_a_disk_error(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(200))
        fill_the_disk(ledger)
        for source in ledger.pending(200):
            ledger.record(long_rejection(source))

        with pytest.raises(DiskError, match=r"batchproc\.db: the disk is full\. Make room") as caught:
            ledger.flush()
        assert ExitCode.DISK == caught.value.exit_code


def test_a_full_disk_surfaces_at_record_and_never_blocks_it(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(10_000))
        fill_the_disk(ledger)

        with pytest.raises(DiskError, match="the disk is full"):
            record_everything(ledger)


def record_everything(ledger: Ledger) -> None:
    for source in ledger.work():
        ledger.record(long_rejection(source))


def test_after_a_full_disk_the_same_job_continues(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(300))
        fill_the_disk(ledger)
        for source in ledger.pending(200):
            ledger.record(long_rejection(source))
        with pytest.raises(DiskError):
            ledger.finish_recording()
        ledger.end_run(ended=NOW, exit_code=5)
    job.run_to_the_end(urls(300))

    with job.open() as ledger:
        assert (300, 0) == (ledger.counts().items, ledger.counts().pending)


def test_the_reserve_file_makes_room_for_the_last_commit(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(200))
        fill_the_disk(ledger)

        def make_room(reserve: ReserveFile) -> None:
            ledger._connection.execute("PRAGMA max_page_count = 1000000")

        monkeypatch.setattr(ReserveFile, "release", make_room)
        for source in ledger.pending(200):
            ledger.record(long_rejection(source))
        with pytest.raises(DiskError):
            ledger.finish_recording()

        assert 200 == ledger.counts().rejected


def test_a_full_disk_at_the_rename_is_a_disk_error(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: str) -> None:
        raise OSError(28, "No space left on device", "images/ab")

    with job.open() as ledger:
        job.begin(ledger, urls(1))
        monkeypatch.setattr(job.images, "place", refuse)
        ledger.record(job.rendition(ledger.pending(1)[0]))
        with pytest.raises(DiskError, match=r"images/ab: No space left on device\. Make room"):
            ledger.flush()
    monkeypatch.undo()

    with job.open() as ledger:
        assert 1 == ledger.recover().finished


def test_a_bug_in_the_writer_surfaces_and_never_stalls(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        monkeypatch.setattr(writer_module, "make_batch", lambda *arguments: 1 / 0)
        ledger.record(rejection(ledger.pending(1)[0]))

        with pytest.raises(BatchprocError, match="the ledger's writer failed: ZeroDivisionError") as caught:
            ledger.flush()
        assert ExitCode.INTERNAL == caught.value.exit_code


def test_the_writer_ends_with_its_ledger(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        assert "ledger-writer" in {thread.name for thread in threading.enumerate()}

    assert "ledger-writer" not in {thread.name for thread in threading.enumerate()}


def test_a_full_inbox_blocks_until_the_writer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "ROOM", 2)
    inbox, entered = Inbox(), threading.Event()

    def put_three() -> None:
        for _ in range(2):
            inbox.put(None)
        entered.set()
        inbox.put(None)

    producer = threading.Thread(target=put_three)
    producer.start()
    assert entered.wait(5)
    inbox.close()
    first = inbox.take(idle_seconds=0)
    producer.join(5)

    assert (2, False) == (len(first.outcomes), producer.is_alive())
    assert 1 == len(inbox.take(idle_seconds=0).outcomes)


def test_a_full_inbox_lets_its_producer_go_when_the_writer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "ROOM", 1)
    inbox, raised = Inbox(), []
    inbox.put(None)

    def put_one_more() -> None:
        try:
            inbox.put(None)
        except DiskError as error:
            raised.append(error)

    producer = threading.Thread(target=put_one_more)
    producer.start()
    inbox.fail(DiskError("full"))
    producer.join(5)

    assert 1 == len(raised)


def test_a_batch_is_never_larger_than_one_commit() -> None:
    inbox = Inbox()
    for _ in range(writer_module.BATCH + 1):
        inbox.put(None)
    inbox.close()

    assert [writer_module.BATCH, 1, 0] == [len(inbox.take(idle_seconds=0).outcomes) for _ in range(3)]


def test_the_reserve_file_takes_real_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = ReserveFile(tmp_path / "ballast")
    reserve.reserve()
    reserve.reserve()

    assert RESERVE_BYTES <= 512 * (tmp_path / "ballast").stat().st_blocks
    reserve.release()
    reserve.release()
    assert not (tmp_path / "ballast").exists()


@pytest.fixture
def hung_disk(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A rename that does not come back, as on a network disk that is gone; patience is short."""
    answer = threading.Event()
    monkeypatch.setattr(writer_module, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(job.images, "place", lambda *_: answer.wait())
    yield
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "ledger-writer":
            thread.join(10)


@pytest.fixture
def hung_ledger(job: Job, hung_disk: None) -> Iterator[Ledger]:
    """A ledger on a disk that hangs; leaving it tells so as well."""
    ledger = job.open()
    ledger.__enter__()
    job.begin(ledger, urls(4))
    yield ledger
    with pytest.raises(DiskError, match="does not answer"):
        ledger.__exit__(None, None, None)


def record_all(job: Job, ledger: Ledger) -> None:
    for source in ledger.pending(4):
        ledger.record(job.rendition(source))


def test_a_disk_that_does_not_answer_ends_a_flush(job: Job, hung_ledger: Ledger) -> None:
    record_all(job, hung_ledger)

    with pytest.raises(DiskError, match="does not answer"):
        hung_ledger.flush()


def test_a_disk_that_does_not_answer_ends_the_recording_and_all_that_follows(job: Job, hung_ledger: Ledger) -> None:
    record_all(job, hung_ledger)

    with pytest.raises(DiskError, match="does not answer"):
        hung_ledger.finish_recording()
    with pytest.raises(DiskError, match="does not answer"):
        hung_ledger.end_run(ended=NOW, exit_code=5)


def test_a_disk_that_does_not_answer_ends_record_when_the_inbox_is_full(
    job: Job, hung_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "ROOM", 1)
    monkeypatch.setattr(writer_module, "BATCH", 1)

    with pytest.raises(DiskError, match="does not answer"):
        record_all(job, hung_ledger)
