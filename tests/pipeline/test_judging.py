"""The exit code and its reason, as the ledger stands at the end."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchproc.cli import load_job
from batchproc.config.tables import JobTable
from batchproc.errors import DiskError, ExitCode
from batchproc.pipeline import RunOptions, run_job
from batchproc.pipeline.closing import Ending, find_stop, judge
from batchproc.pipeline.observer import Observer
from batchproc.progress import Quiet
from batchproc.record.run_json import Counts
from tests.jobs import MakeJob


def job(**keys: Any) -> JobTable:
    return JobTable(name="small", input="list.txt", output="out", **keys)


def counts(**numbers: int) -> Counts:
    states = dict.fromkeys(("done", "rejected", "failed", "quarantined", "deferred", "pending"), 0) | numbers
    return Counts(items=sum(states.values()), absent=0, duplicates=0, bad_rows=0, **states)


def observed(done: int = 0, **failures: int) -> Observer:
    observer = Observer()
    observer.processed = done + sum(failures.values())
    observer.failures = Counter(failures)
    return observer


def end(table: JobTable, items: Counts, observer: Observer | None = None, **others: Any) -> Ending:
    facts = {"error": None, "signalled": None, "stopped_by": None} | others
    return judge(table, items, observer or observed(done=items.done), **facts)


@pytest.mark.parametrize(
    ("keys", "numbers", "exit_code", "reason"),
    [
        ({}, {"done": 9, "failed": 1}, 0, ""),
        ({}, {"done": 8, "failed": 1, "quarantined": 1}, 3, "2 of 10 items failed, over max_failed_ratio = 0.1"),
        ({"max_failed": 1}, {"done": 98, "failed": 2}, 3, "2 items failed, over max_failed = 1"),
        ({}, {"done": 5, "deferred": 5}, 0, "5 of 10 items deferred"),
        ({}, {"done": 4, "deferred": 6}, 3, "6 of 10 items deferred, over max_deferred_ratio = 0.5"),
        ({"max_deferred_ratio": 1.0}, {"deferred": 6}, 0, "6 of 6 items deferred"),
        ({"max_deferred_ratio": 0.0}, {"done": 99, "deferred": 1}, 3,
         "1 of 100 items deferred, over max_deferred_ratio = 0"),
        ({}, {"done": 1, "failed": 3, "deferred": 6}, 3,
         "3 of 10 items failed, over max_failed_ratio = 0.1 and "
         "6 of 10 items deferred, over max_deferred_ratio = 0.5"),
        ({}, {"done": 8, "failed": 2, "deferred": 1}, 3,
         "2 of 11 items failed, over max_failed_ratio = 0.1, 1 deferred"),
        ({}, {"done": 1, "pending": 9}, 0, ""),
        ({"exit_on_limit": True}, {"done": 1, "pending": 9}, 4, "stopped by max_duration, 9 items left"),
        ({}, {}, 0, ""),
    ],
)  # fmt: skip
def test_limits_decide(keys: dict[str, Any], numbers: dict[str, int], exit_code: int, reason: str) -> None:
    ending = end(job(**keys), counts(**numbers), stopped_by="duration" if "pending" in numbers else None)

    assert (exit_code, reason) == (ending.exit_code, ending.reason)


def test_an_error_comes_before_everything() -> None:
    ending = end(job(), counts(failed=9), error=DiskError("full"), signalled=ExitCode.INTERRUPTED, stopped_by="signal")

    assert (ExitCode.DISK, "full") == (ending.exit_code, ending.reason)


@pytest.mark.parametrize(
    ("signalled", "word"), [(ExitCode.INTERRUPTED, "interrupted"), (ExitCode.TERMINATED, "terminated")]
)
def test_a_signal_that_stopped_the_run_decides(signalled: ExitCode, word: str) -> None:
    ending = end(job(), counts(failed=9, pending=1), signalled=signalled, stopped_by="signal")

    assert (signalled, f"{word}, 1 item left") == (ending.exit_code, ending.reason)


def test_a_signal_after_the_last_item_decides_nothing() -> None:
    assert ExitCode.DONE is end(job(), counts(done=9), signalled=ExitCode.INTERRUPTED, stopped_by=None).exit_code


def test_a_run_in_which_nothing_came_through_says_so_unless_it_was_a_few() -> None:
    lost = {"http.404": 4}

    away = end(job(max_failed_ratio=1.0), counts(failed=4, deferred=1), observed(connect=5))

    assert "none of 4 items came through" == end(job(max_failed_ratio=1.0), counts(failed=4), observed(**lost)).reason
    assert "none of 5 items came through, 1 deferred" == away.reason
    assert "" == end(job(), counts(done=96, failed=4), observed(**lost)).reason


def test_what_stopped_a_run_is_what_kept_it_from_its_last_item() -> None:
    assert "signal" == find_stop(observed(done=4), work=5, pending=1, stopped_by="signal")
    assert "signal" == find_stop(observed(done=4, cancelled=1), work=5, pending=1, stopped_by="signal")
    assert find_stop(observed(done=5), work=5, pending=0, stopped_by="signal") is None
    assert "limit" == find_stop(observed(done=5), work=5, pending=3, stopped_by=None)
    assert find_stop(observed(), work=0, pending=3, stopped_by=None) is None


class InterruptsAtTheLast(Quiet):
    """A display that sends Ctrl-C when the last item has come out, and waits until the run has heard it."""

    def __init__(self) -> None:
        self.total = 0
        self.heard = threading.Event()

    def begin(self, total: int) -> None:
        self.total = total

    def advance(self, observer: Observer) -> None:
        if observer.processed == self.total:
            os.kill(os.getpid(), signal.SIGINT)
            assert self.heard.wait(30)

    def note(self, text: str) -> None:
        if text.startswith("SIGINT"):
            self.heard.set()


def test_a_run_that_is_interrupted_after_its_last_item_ends_as_if_it_had_not_been(
    make_job: MakeJob, tmp_path: Path
) -> None:
    config, steps = load_job(make_job(images=3), [])

    result = run_job(config, steps, RunOptions(), InterruptsAtTheLast())

    assert (ExitCode.DONE, None, 3) == (result.exit_code, result.facts["stopped_by"], result.facts["counts"]["done"])
    assert (tmp_path / "out/latest/run.json").exists()
