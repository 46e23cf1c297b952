"""A run that no longer moves is ended, with its stacks on disk; one that moves is left alone."""

import itertools
import os
import threading
from pathlib import Path

from batchproc.cli import load_job
from batchproc.errors import ExecutorError, ExitCode
from batchproc.pipeline.loop import stall_limit
from batchproc.pipeline.stopping import Watchdog
from tests.jobs import MakeJob

from .test_events import events
from .test_modes import run
from .test_signals import with_slow_step


def test_a_run_without_progress_is_stopped_and_says_where_it_stood(tmp_path: Path) -> None:
    stopped, left = threading.Event(), threading.Event()

    with Watchdog(lambda: 7, stopped.set, left.set, tmp_path / "stacks.txt", limit_seconds=0.02):
        assert stopped.wait(10)

    assert not left.is_set()
    assert "test_a_run_without_progress" in (tmp_path / "stacks.txt").read_text()


def test_a_run_that_cannot_be_stopped_is_left(tmp_path: Path) -> None:
    left = threading.Event()

    def stop() -> None:
        raise RuntimeError

    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with Watchdog(
            lambda: 7, stop, left.set, tmp_path / "no" / "stacks.txt", limit_seconds=0.02, last_seconds=0.02
        ):
            assert left.wait(10)
    finally:
        threading.excepthook = hook


def test_a_run_that_moves_is_left_alone(tmp_path: Path) -> None:
    looked, stopped = threading.Event(), threading.Event()
    count = itertools.count()

    def progress() -> int:
        number = next(count)
        if number == 12:  # three times the limit
            looked.set()
        return number

    with Watchdog(progress, stopped.set, stopped.set, tmp_path / "stacks.txt", limit_seconds=0.02):
        assert looked.wait(10)

    assert not stopped.is_set()


def test_the_limit_is_longer_than_all_others_together_unless_it_is_set(make_job: MakeJob) -> None:
    config = make_job()

    job, _ = load_job(config, ())
    longer, _ = load_job(config, ["download.max_retry_after=2h"])
    own, _ = load_job(config, ["job.stall_timeout=3m"])

    assert stall_limit(job) > job.download.total_timeout + job.transform.timeout + job.download.max_retry_after
    assert stall_limit(longer) > 7200
    assert 180 == stall_limit(own)


def test_a_stalled_job_ends_with_the_internal_code_and_keeps_what_is_done(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)
    reader = os.open(marker, os.O_RDWR)  # never answered: every image waits on and on
    try:
        result = run(config, "job.stall_timeout=0.3s")
    finally:
        os.close(reader)

    assert ExitCode.INTERNAL == result.exit_code
    assert isinstance(result.error, ExecutorError)
    assert "no item began or ended for 0.3 s" in str(result.error)
    assert (0, 3) == (result.facts["counts"]["failed"], result.facts["counts"]["pending"])
    assert "in _run_line" in (result.folder / "stacks.txt").read_text()
    assert {"run.stalled", "run.ended"} <= set(events(tmp_path / "out"))
