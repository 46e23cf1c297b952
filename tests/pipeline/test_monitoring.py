"""Whatever becomes of a run, monitoring hears of it; and whatever becomes of monitoring, the run does not mind."""

import os
import stat
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock
from batchproc.pipeline import RunOptions, RunResult, run_job
from tests.jobs import MakeJob
from tests.pipeline.test_metrics import read
from tests.pipeline.test_ping import SECRET, Check, check

__all__ = ["check"]
JOB = ("job", "small")


class Told:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, total: int) -> None: ...

    def advance(self, observer: object) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(config: Path, *overrides: str, told: Told | None = None) -> RunResult:
    job, steps = load_job(config, overrides)
    return run_job(job, steps, RunOptions(), told or Told())


def test_the_metrics_are_those_of_the_run_and_readable_by_all(make_job: MakeJob, tmp_path: Path) -> None:
    textfile = tmp_path / "metrics" / "small.prom"
    textfile.parent.mkdir()
    umask = os.umask(0o077)
    try:
        run(make_job(images=3), f"metrics.textfile={textfile}")
    finally:
        os.umask(umask)

    samples = read(textfile.read_text())
    assert 3 == samples["batchproc_items", (JOB, ("state", "done"))]
    assert 0 == samples["batchproc_last_run_exit_code", (JOB,)]
    assert 0o644 == stat.S_IMODE(textfile.stat().st_mode)
    assert [textfile] == list(textfile.parent.iterdir())


def test_what_a_killed_run_left_beside_the_metrics_is_swept_and_nothing_else(
    make_job: MakeJob, tmp_path: Path
) -> None:
    textfile = tmp_path / "metrics" / "small.prom"
    textfile.parent.mkdir()
    ours, others = textfile.parent / ".small.prom.999999999.tmp", textfile.parent / ".other.prom.999999999.tmp"
    ours.touch()
    others.touch()

    run(make_job(images=1), f"metrics.textfile={textfile}")

    assert {textfile, others} == set(textfile.parent.iterdir())


def test_metrics_that_cannot_be_written_are_a_warning(make_job: MakeJob, tmp_path: Path) -> None:
    told = Told()

    result = run(make_job(images=1), f"metrics.textfile={tmp_path}/no/such/folder.prom", told=told)

    assert ExitCode.DONE == result.exit_code
    assert ["warning"] == [note.split(":")[0] for note in told.notes]


def test_the_health_check_hears_of_a_good_run(make_job: MakeJob, check: Check) -> None:
    run(make_job(images=1), f"metrics.ping_url={check.url}")

    assert [f"/{SECRET}/start", f"/{SECRET}"] == check.paths


def test_the_health_check_hears_the_exit_code_of_a_bad_run(make_job: MakeJob, check: Check) -> None:
    config = make_job(lines=["/no/such.jpg"])

    run(config, f"metrics.ping_url={check.url}", "job.max_failed_ratio=0")

    assert [f"/{SECRET}/start", f"/{SECRET}/3"] == check.paths
    (body,) = check.bodies
    assert body.startswith("small: 1 of 1 item failed, over max_failed_ratio = 0: 1 http.404; exit 3, ")


def test_the_health_check_and_the_metrics_hear_of_a_run_that_could_not_begin(
    make_job: MakeJob, check: Check, tmp_path: Path
) -> None:
    config = make_job(images=1)
    (tmp_path / "out").write_text("mine")
    textfile = tmp_path / "small.prom"

    with pytest.raises(UsageError):
        run(config, f"metrics.ping_url={check.url}", f"metrics.textfile={textfile}")

    assert [f"/{SECRET}/2"] == check.paths
    assert ["exit 2"] == [body.rpartition("; ")[2] for body in check.bodies]
    assert 2 == read(textfile.read_text())["batchproc_last_run_exit_code", (JOB,)]


def test_a_run_that_the_lock_turns_away_says_nothing(make_job: MakeJob, check: Check, tmp_path: Path) -> None:
    config = make_job(images=1)
    textfile = tmp_path / "small.prom"
    (tmp_path / "out").mkdir()

    with RunLock(tmp_path / "out/lock"), pytest.raises(LockHeldError):
        run(config, f"metrics.ping_url={check.url}", f"metrics.textfile={textfile}")

    assert [] == check.paths
    assert not textfile.exists()


def test_the_secret_url_stands_in_no_file_of_the_job(make_job: MakeJob, check: Check, tmp_path: Path) -> None:
    check.status = 500
    told = Told()

    run(make_job(images=1), f"metrics.ping_url={check.url}", told=told)

    assert 2 == len(told.notes)
    assert [] == [note for note in told.notes if SECRET in note]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files
    assert [] == [path for path in files if SECRET.encode() in path.read_bytes()]
