"""Killed at any instant and started again, a job ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.failpoints import VARIABLE
from batchproc.ledger import Recovered, deciding
from tests.ledger.job import NOW, Job, urls
from tests.ledger.test_store import execute

COUNT = 60


def run_until_killed(output: Path, failpoint: str, *what: str) -> None:
    """Runs the job in a child that kills itself with SIGKILL at the named point."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.ledger.killed", str(output), str(COUNT), *what],
        env={**os.environ, VARIABLE: failpoint},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert -signal.SIGKILL == child.returncode, child.stderr.decode()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], bytes, bytes]:
    job = Job(tmp_path_factory.mktemp("undisturbed") / "out")
    job.run_to_the_end(urls(COUNT))
    return job.result()


@pytest.mark.parametrize(
    "failpoint",
    [
        "ledger.import:1",
        "ledger.import:3",
        "ledger.import_end:1",
        "ledger.before_staged:1",
        "ledger.before_staged:3",
        "ledger.in_staged:2",
        "ledger.after_staged:1",
        "ledger.after_staged:4",
        "ledger.between_renames:1",
        "ledger.between_renames:17",
        "ledger.before_done:1",
        "ledger.after_done:1",
        "sink.before_replace:1",
        "sink.before_replace:2",
    ],
)
def test_a_killed_run_continues_to_the_same_result(
    job: Job, failpoint: str, undisturbed: tuple[dict[str, bytes], bytes, bytes]
) -> None:
    run_until_killed(job.output, failpoint)
    job.run_to_the_end(urls(COUNT))
    job.layout.sweep()

    assert undisturbed == job.result()
    assert [] == job.temporary_files()
    assert [] == list(job.output.glob(".*.tmp"))


def test_a_kill_between_two_renames_costs_no_image_that_was_staged(job: Job) -> None:
    run_until_killed(job.output, "ledger.between_renames:3")
    with job.open() as ledger:
        recovered = ledger.recover()

        # ten outcomes a batch; of the first ten, one failed and one was rejected
        assert (8, 0) == (recovered.finished, recovered.lost)
        assert (8, 0) == (ledger.counts().done, len([s for s in ledger.pending(10) if s.index < 10]))


def stage(job: Job, *, place: bool = False) -> str:
    """Leaves one item staged, as a kill before or after the rename does; returns its key."""
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        item = job.rendition(source)
        ledger.record(item)
        ledger.finish_recording()
    final = job.images.final_path(source.key_hex, ".jpg")
    name = Path(item.value.temporary_path).name
    if not place:
        final.rename(job.images.temporary_path(name))
    execute(job.layout.ledger_path, f"UPDATE item SET state = 'staged', temporary = '{name}'")
    return source.key_hex


@pytest.mark.parametrize("place", [False, True], ids=["still temporary", "already named"])
def test_a_staged_item_is_finished_at_the_next_start(job: Job, place: bool) -> None:
    key = stage(job, place=place)
    with job.open() as ledger:
        assert Recovered(finished=1) == ledger.recover()
        assert 1 == ledger.counts().done
    assert [f"{key[:2]}/{key}.jpg"] == list(job.image_files())


@pytest.mark.parametrize("damage", ["missing", "empty", "same size, other bytes"])
def test_a_staged_item_with_another_file_is_made_again(job: Job, damage: str) -> None:
    key = stage(job)
    path = job.images.temporary_path(f"{key}.1.0.part")
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case _:
            path.write_bytes(b"?" * path.stat().st_size)

    with job.open() as ledger:
        assert (0, 1) == (ledger.recover().finished, ledger.recover().lost)
        assert 1 == len(ledger.pending(1))
    assert {} == job.image_files()
    assert [] == job.temporary_files()


def test_an_older_rendition_under_the_final_name_is_not_taken_for_the_staged_one(job: Job) -> None:
    key = stage(job)
    job.images.temporary_path(f"{key}.1.0.part").unlink()
    job.images.final_path(key, ".jpg").write_bytes(b"of an older plan")

    with job.open() as ledger:
        assert Recovered(lost=1) == ledger.recover()


def test_a_suffix_that_changed_leaves_no_second_file_after_a_crash(job: Job) -> None:
    key = stage(job)
    job.images.final_path(key, ".png").write_bytes(b"the old rendition")
    execute(job.layout.ledger_path, "UPDATE item SET stale_suffix = '.png'")

    with job.open() as ledger:
        ledger.recover()
    assert [f"{key[:2]}/{key}.jpg"] == list(job.image_files())


def test_temporary_files_without_a_row_are_swept(job: Job) -> None:
    with job.open():
        (job.layout.temporary_folder / f"{'0a' * 16}.4711.3.part").write_bytes(b"half an ima")
        (job.layout.temporary_folder / "notes.txt").write_bytes(b"mine")
    with job.open() as ledger:
        assert Recovered(swept=1) == ledger.recover()
    assert {"ballast", "notes.txt"} == {path.name for path in job.layout.temporary_folder.iterdir()}


def test_a_file_without_a_row_is_left_and_never_believed(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([])
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        final = job.images.final_path(source.key_hex, ".jpg")
        final.parent.mkdir()
        final.write_bytes(b"who made this?")
    with job.open() as ledger:
        ledger.recover()

        assert [source] == ledger.pending(1)
        assert final.exists()


@pytest.mark.parametrize(
    ("clean", "damage", "lost"),
    [
        pytest.param(False, b"", 1, id="unclean, emptied"),
        pytest.param(False, b"same size", 1, id="unclean, other bytes"),
        pytest.param(True, b"", 1, id="clean, emptied"),
        pytest.param(False, None, 0, id="unclean, untouched"),
    ],
)
def test_after_another_boot_the_files_of_the_last_run_are_checked(
    job: Job, monkeypatch: pytest.MonkeyPatch, clean: bool, damage: bytes | None, lost: int
) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(3))
        for source in ledger.pending(3):
            ledger.record(job.rendition(source))
        ledger.finish_recording()
        if clean:
            ledger.end_run(ended=NOW, exit_code=0)
    path = job.images.final_path(source.key_hex, ".jpg")
    if damage is not None:
        path.write_bytes(damage and b"?" * path.stat().st_size)
    monkeypatch.setattr(deciding, "boot_id", lambda: "another boot")

    with job.open() as ledger:
        assert Recovered(lost=lost) == ledger.recover()
        assert lost == len(ledger.pending(3))


def test_without_another_boot_files_are_trusted(job: Job) -> None:
    job.run_to_the_end(urls(3))
    for name in job.image_files():
        (job.layout.images_folder / name).write_bytes(b"")

    with job.open() as ledger:
        assert Recovered() == ledger.recover()
        assert 3 == ledger.counts().done


def test_a_second_run_with_nothing_to_do_changes_no_file(job: Job) -> None:
    job.run_to_the_end(urls(12))
    before = {path: path.stat().st_mtime_ns for path in job.output.rglob("*.jp*g")} | {
        path: path.stat().st_ino for path in job.output.glob("*.jsonl")
    }
    job.run_to_the_end(urls(12))

    assert before == {path: path.stat().st_mtime_ns for path in job.output.rglob("*.jp*g")} | {
        path: path.stat().st_ino for path in job.output.glob("*.jsonl")
    }
