"""Full, read-only and vanished disks, and clocks that jump: an exit code, a message, and nothing lost."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from batchproc.errors import DiskError, ExitCode, Retry, UsageError
from batchproc.ledger import Ledger
from batchproc.sink import ImageFolder, Layout
from tests.ledger.job import NOW, Job, failure, listing, rejection, urls

COUNT = 300


def record_all(job: Job, ledger: Ledger) -> None:
    for source in ledger.work():
        ledger.record(job.rendition(source))
    ledger.flush()


def lift_limit() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))


@pytest.fixture
def limited() -> Iterator[None]:
    """Puts the process's limit on file sizes back. CPython ignores SIGXFSZ, so writing says EFBIG."""
    yield
    lift_limit()


@pytest.mark.usefixtures("limited")
def test_a_ledger_that_may_grow_no_further_ends_the_run_and_keeps_what_was_committed(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(COUNT))
        for source in ledger.pending(10):
            ledger.record(job.rendition(source))
        ledger.flush()
        largest = max(path.stat().st_size for path in job.output.glob("batchproc.db*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        with pytest.raises(DiskError, match=r"batchproc\.db: ") as caught:
            record_all(job, ledger)
        assert ExitCode.DISK == caught.value.exit_code
        lift_limit()
        assert 10 <= ledger.counts().done

    with job.open() as ledger:
        job.begin(ledger)
        record_all(job, ledger)
        assert (COUNT, 0) == (ledger.counts().done, ledger.counts().pending)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB of its own, where this user may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may mount nothing")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_an_output_on_a_read_only_disk_is_refused_before_anything_is_touched(small_disk: Path) -> None:
    remount(small_disk, "ro")
    with pytest.raises(UsageError, match="cannot be written: Read-only file system") as caught:
        Layout(output=small_disk / "out").prepare()
    assert ExitCode.USAGE == caught.value.exit_code


def fill(path: Path) -> None:
    """Takes all the room that is left, to the last page."""
    with suppress(OSError), path.open("wb", 0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_disk_that_is_really_full_ends_the_run_and_the_same_job_continues(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.sink.layout.LEAST_FREE_BYTES", 0)
    job = Job(small_disk / "out")
    filler = small_disk / "filler"
    with job.open() as ledger:
        job.begin(ledger, urls(COUNT))
        renditions = [job.rendition(source) for source in ledger.pending(COUNT)]
        fill(filler)
        for rendition in renditions:
            ledger.record(rendition)
        with pytest.raises(DiskError, match="Make room and run the same command again"):
            ledger.flush()
    filler.unlink()

    with job.open() as ledger:
        job.begin(ledger)
        record_all(job, ledger)
        assert (COUNT, 0) == (ledger.counts().done, ledger.counts().pending)
    assert COUNT == len(job.image_files())


def test_an_output_that_vanishes_ends_the_run_and_does_not_rise_from_the_dead(job: Job) -> None:
    """As when a disk is taken away: what would be made under its name is on another disk."""
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        first, second = ledger.pending(2)
        ledger.record(job.rendition(first))
        ledger.flush()
        rendition = job.rendition(second)
        away = job.output.rename(job.output.with_name("away"))
        with pytest.raises(DiskError, match="No such file or directory") as caught:
            record_and_flush(ledger, rendition)
        assert ExitCode.DISK == caught.value.exit_code
    assert not job.output.exists()
    away.rename(job.output)

    with job.open() as ledger:
        assert 1 == ledger.recover().finished
        assert 2 == ledger.counts().done


def record_and_flush(ledger: Ledger, rendition: object) -> None:
    ledger.record(rendition)  # type: ignore[arg-type]
    ledger.flush()


def test_a_folder_for_images_is_made_only_in_the_folder_of_the_job(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "gone").place("a.part", "ab" * 16, ".jpg")
    assert not (tmp_path / "gone").exists()


DECADE = timedelta(days=3650)


@pytest.mark.parametrize("jump", [-DECADE, DECADE, timedelta(0)], ids=["backwards", "forwards", "none"])
def test_runs_stay_in_the_order_in_which_they_happened(job: Job, jump: timedelta) -> None:
    for number, started in enumerate((NOW, NOW + jump, NOW + timedelta(minutes=1))):
        with job.open() as ledger:
            ledger.recover()
            ledger.adopt_plan("one")
            ledger.begin_run(f"run {number}", started)
            ledger.finish_recording()
            ledger.end_run(ended=started - timedelta(hours=1), exit_code=0)

    with job.open() as ledger:
        assert ["run 2", "run 1", "run 0"] == [record.name for record in ledger.last_runs()]
        assert all(record.is_clean for record in ledger.last_runs())


@pytest.mark.parametrize("jump", [-DECADE, DECADE], ids=["backwards", "forwards"])
def test_a_clock_that_jumps_changes_nothing_in_what_a_run_tries_again(job: Job, jump: timedelta) -> None:
    tried = 0
    for number in range(5):
        with job.open() as ledger:
            ledger.recover()
            ledger.adopt_plan("one")
            ledger.import_sources(listing(urls(2)))
            ledger.begin_run("again", NOW + number * jump / 5)
            for source in ledger.work(max_runs=3):
                tried += 1
                ledger.record(failure(source, retry=Retry.BACKOFF) if source.index else rejection(source))
            job.end(ledger)

    assert 1 + 3 == tried


def test_a_pause_from_a_clock_that_was_wrong_holds_no_host_longer_than_the_longest(job: Job) -> None:
    now = NOW.timestamp()
    with job.open() as ledger:
        ledger.remember_pauses({"early.example": now + 60, "future.example": (NOW + DECADE).timestamp()})

        assert {"early.example": now + 60, "future.example": now + 900} == ledger.pauses(now, longest_seconds=900)
        assert {} == ledger.pauses((NOW + 2 * DECADE).timestamp(), longest_seconds=900)


def test_after_a_clock_went_back_the_last_run_keeps_its_folder(job: Job) -> None:
    layout = job.layout
    future = layout.new_run_folder(NOW + DECADE)
    older = layout.new_run_folder(NOW - timedelta(days=1))
    last = layout.new_run_folder(NOW)
    layout.point_latest(last)

    layout.prune_runs(1)

    assert [last, future] == list(layout.run_folders())
    assert not older.exists()
