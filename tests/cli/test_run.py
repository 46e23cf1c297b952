"""When the workers of a job are started ahead of its run."""

import os
from pathlib import Path

import pytest

from batchproc.cli.run import start_workers_ahead
from batchproc.sink import Layout

JOB = '[job]\nname = "job"\ninput = "urls.txt"\noutput = "out"\n'


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The modules that fork servers were started with."""
    found: list[tuple[str, ...]] = []

    def note(modules: tuple[str, ...], *, by_fork: bool) -> None:
        assert by_fork
        found.append(modules)

    monkeypatch.setattr("batchproc.executors.start_context", note)
    return found


def job_of(folder: Path, text: str = JOB) -> Path:
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_workers_start_ahead_with_what_the_plan_uses_where_nothing_was_run_before(
    tmp_path: Path, started: list[tuple[str, ...]]
) -> None:
    start_workers_ahead(job_of(tmp_path, f'{JOB}[[transform.steps]]\nop = "resize"\nsize = [9, 9]\n'), [])

    assert [("batchproc.transform.stage", "batchproc.transform.steps.geometry")] == [
        (modules[0], modules[-1]) for modules in started
    ]


def test_a_job_with_a_ledger_is_asked_for_work_first(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    ledger = Layout(output=tmp_path / "other").ledger_path
    ledger.parent.mkdir()
    ledger.touch()

    start_workers_ahead(job_of(tmp_path), ["job.output=other"])

    assert [] == started


@pytest.mark.parametrize(
    "text",
    [
        f'{JOB}[transform]\nmode = "thread"\n',
        f'{JOB}[download]\nmode = "process"\n',  # other modules: the run itself starts them
        f"{JOB}[cluster]\n",
        "[job]\noutput = 1\n",
        f'[job]\noutput = "{"x" * 300}"\n',
        "transform = 1\n",
        "no TOML",
    ],
    ids=["threads", "downloads in processes", "a cluster", "no output", "no such name", "no tables", "no TOML"],
)
def test_nothing_starts_ahead_that_may_not_be_needed(tmp_path: Path, started: list[tuple[str, ...]], text: str) -> None:
    start_workers_ahead(job_of(tmp_path, text), [])

    assert [] == started


def test_a_flag_beats_the_file(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    start_workers_ahead(job_of(tmp_path), ["transform.mode=thread"])

    assert [] == started


def test_a_config_that_can_be_read_only_once_is_left_to_the_run(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    os.mkfifo(tmp_path / "job.toml")

    start_workers_ahead(tmp_path / "job.toml", [])

    assert [] == started
