"""When the workers of a job are started ahead of its run."""

from pathlib import Path

import pytest

from batchproc.job_file import load, warm_up_first_run
from batchproc.sink import Layout


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The modules that fork servers were started with."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr("batchproc.executors.start_context", found.append)
    return found


def job_of(folder: Path, mode: str) -> Path:
    path = folder / "job.toml"
    path.write_text(f'[job]\nname = "job"\ninput = "urls.txt"\noutput = "out"\n[transform]\nmode = "{mode}"\n')
    return path


def test_workers_start_ahead_where_nothing_was_run_before(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    job = load(job_of(tmp_path, "process"))

    warm_up_first_run(job.config)

    assert ["batchproc.transform.stage"] == [modules[0] for modules in started]


def test_a_job_with_a_ledger_is_asked_for_work_first(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    job = load(job_of(tmp_path, "process"))
    job.output.mkdir()
    Layout(output=job.output).ledger_path.touch()

    warm_up_first_run(job.config)

    assert [] == started


def test_threads_need_no_fork_server(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    job = load(job_of(tmp_path, "thread"))

    warm_up_first_run(job.config)

    assert [] == started
