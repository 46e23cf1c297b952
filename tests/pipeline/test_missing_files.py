"""Files that somebody deleted or emptied: every command says so, and one flag makes them again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import ExitCode
from batchproc.exit_reason import run_line
from batchproc.pipeline import RunOptions
from batchproc.report.status import describe_plan, describe_status, missing_files, read_status, resolve_plan
from batchproc.report.terminal import summarise
from tests.jobs import MakeJob

from .test_events import events
from .test_job import rows
from .test_modes import images, run

REPAIR = RunOptions(repair=True)
HARM: dict[str, Callable[[Path], object]] = {
    "deleted": lambda output: images(output)[0].unlink(),
    "emptied": lambda output: images(output)[0].write_bytes(b""),
    "all deleted": lambda output: shutil.rmtree(output / "images"),
}


@pytest.fixture
def config(make_job: MakeJob) -> Path:
    path = make_job(images=4)
    run(path, "transform.mode=serial")
    return path


def test_every_command_says_how_many_files_are_missing(config: Path, tmp_path: Path) -> None:
    images(tmp_path / "out")[0].unlink()
    job, _ = load_job(config, ())

    status = read_status(job)
    assert 1 == status.missing_files
    assert "files missing: 1 of done items; --repair makes them again" in describe_status(status)
    assert f"1 file missing: batchproc run {config} --repair makes them again" == status.next

    assert "missing     1 file of done items; run --repair makes them again" in describe_plan(resolve_plan(job))

    result = run(config)
    assert ExitCode.DONE == result.exit_code
    assert (1, 4) == (result.facts["counts"]["missing_files"], result.facts["counts"]["done"])
    assert "  missing     1 file of done items; --repair makes them again" in summarise(result.record, result.folder)
    assert "1 file of done items missing; --repair makes them again; exit 0" in run_line(result.record, result.folder)
    assert 1 == events(tmp_path / "out")["files.missing"]["files"]


def test_a_whole_job_says_nothing_of_files(config: Path, tmp_path: Path) -> None:
    job, _ = load_job(config, ())

    result = run(config)
    assert 0 == result.facts["counts"]["missing_files"] == read_status(job).missing_files == missing_files(job)
    assert "" == run_line(result.record, result.folder)
    assert "missing" not in describe_status(read_status(job)) + summarise(result.record, result.folder)


@pytest.mark.parametrize("harm", HARM)
def test_one_flag_makes_them_again(config: Path, tmp_path: Path, harm: str) -> None:
    output = tmp_path / "out"
    before = {path: path.read_bytes() for path in images(output)}
    metadata = rows(output / "metadata.jsonl")
    HARM[harm](output)

    result = run(config, "transform.mode=serial", options=REPAIR)

    lost = 4 if harm == "all deleted" else 1
    assert (lost, 4, 0) == tuple(result.facts["counts"][name] for name in ("processed", "done", "missing_files"))
    assert before == {path: path.read_bytes() for path in images(output)}
    assert metadata == rows(output / "metadata.jsonl")
    found = events(output)["files.repaired"]
    assert (4 - lost, lost) == (found["whole"], found["missing"] + found["changed"])


def test_a_job_without_a_ledger_misses_nothing(make_job: MakeJob) -> None:
    job, _ = load_job(make_job(), ())

    assert 0 == missing_files(job)
