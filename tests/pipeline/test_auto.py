"""`mode = "auto"` for real: every item once, whatever the legs; the account is of the last one; the choice is told."""

import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.config import Config
from batchproc.errors import ExitCode
from batchproc.explain.run_model import RunModel
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline import RunOptions, loop
from batchproc.pipeline.mode_selector import ModeSelector
from batchproc.pipeline.stages import make_plan
from batchproc.record.run_parts import MODES
from tests.jobs import MakeJob
from tests.pipeline.test_modes import fingerprint, run

AUTO = ("download.mode=auto", "transform.mode=auto")


class Restless(ModeSelector):
    """Changes to the next pair of modes after every four items, through all nine of them and back to the first."""

    def __init__(self, config: Config, work: int, *, fragile: bool) -> None:
        super().__init__(config, work, fragile=fragile)
        pairs = itertools.product(MODES, MODES)
        self._next = iter([make_plan(config, *pair) for pair in pairs] + [make_plan(config)])

    def on_outcome(self, items: int, snapshot: Callable[[], RunModel | None]) -> bool:
        if items % 4 or self._is_ending:
            return False
        before, self.plan = self.plan, next(self._next, self.plan)
        self._is_ending = self.plan != before
        return self._is_ending


def many(origin: EmbeddedOrigin, items: int, *, faults: bool) -> list[str]:
    """The origin's pictures over and over, under names of their own."""
    paths = itertools.cycle(entry.path for entry in origin.listing() if faults or entry.fault is None)
    return [f"{path}?copy={number}" for number, path in zip(range(items), paths, strict=False)]


def test_nothing_is_lost_and_nothing_is_done_twice_however_often_the_modes_change(
    make_job: MakeJob, origin: EmbeddedOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_job(lines=many(origin, 160, faults=True))
    fixed = run(config, "download.retries=1", f"job.output={tmp_path / 'fixed'}")
    monkeypatch.setattr(loop, "ModeSelector", Restless)
    result = run(config, *AUTO, "download.retries=1", f"job.output={tmp_path / 'legs'}")

    legs = result.facts["auto"]["legs"]
    assert ExitCode.DONE == result.exit_code == fixed.exit_code
    assert len(legs) >= 4
    assert result.facts["counts"]["processed"] == sum(leg["items"] for leg in legs) == 160
    assert result.facts["counts"]["failed"] > 4
    assert fixed.facts["counts"] | {"retried": 0} == result.facts["counts"] | {"retried": 0}
    assert fingerprint(tmp_path / "fixed") == fingerprint(tmp_path / "legs")


def test_the_stages_figures_are_of_the_last_leg_and_add_up_to_it(
    make_job: MakeJob, origin: EmbeddedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ModeSelector", Restless)
    facts = run(make_job(lines=many(origin, 60, faults=False)), *AUTO).facts

    leg, told = facts["leg"], facts["auto"]["legs"][-1]
    assert leg["number"] == len(facts["auto"]["legs"]) > 1
    assert (leg["items"], leg["seconds"]) == (told["items"], told["seconds"])
    assert leg["seconds"] < facts["line_seconds"]
    assert [told["download"], told["transform"]] == [stage["mode"] for stage in facts["stages"].values()]
    for stage in facts["stages"].values():
        assert stage["tasks"] == leg["items"]
        assert sum(stage["account"].values()) == pytest.approx(stage["workers"] * stage["wall_seconds"])


def test_few_items_run_in_threads_and_processes_and_it_was_not_worth_measuring(make_job: MakeJob) -> None:
    facts = run(make_job(images=6), *AUTO).facts

    assert {"download": "thread", "transform": "process"} == {
        name: stage["mode"] for name, stage in facts["stages"].items()
    }
    assert "not_worth_it" == facts["auto"]["verdict"]
    assert 1 == facts["leg"]["number"]


def test_enough_items_are_measured_and_predicted_on_the_way(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.explain.auto.LEAST_ITEMS", 20)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.ENOUGH_HEARD", 20)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.HASTE_SECONDS", 0.0)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.WARM_UP_SECONDS", 0.0)
    facts = run(make_job(images=33), *AUTO).facts

    told = facts["auto"]
    assert told["verdict"] not in ("not_worth_it", "too_short")
    assert 9 == len(told["candidates"])
    assert sorted(told["candidates"], key=lambda one: one["rest_seconds"]) == told["candidates"]
    assert told["inputs"]["items"] >= 8
    assert told["inputs"]["transform"]["cpu_seconds"] > 0
    assert 33 == facts["counts"]["processed"] == facts["counts"]["done"]


def test_a_run_with_named_modes_tells_of_no_choice(make_job: MakeJob) -> None:
    assert run(make_job(images=3)).facts["auto"] is None


class StoppedBetween(Restless):
    """Its second leg is told to stop before its first item."""

    def begin_phase(self) -> None:
        super().begin_phase()
        self.begun = getattr(self, "begun", 0) + 1
        if self.begun == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_stopped_between_two_legs_is_told_of_by_what_was_seen_before(
    make_job: MakeJob, origin: EmbeddedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    stop_at_once = loop.Loop._stop_at_once

    def note_the_stop(work: loop.Loop) -> None:
        stop_at_once(work)
        stopped.set()

    class Looking(StoppedBetween):
        def begin_phase(self) -> None:
            super().begin_phase()
            assert self.begun < 2 or stopped.wait(10)  # the control's thread hears of signals

        def on_outcome(self, items: int, snapshot: Callable[[], RunModel | None]) -> bool:
            if items == 4:
                snapshot()
            return super().on_outcome(items, snapshot)

    monkeypatch.setattr(loop.Loop, "_stop_at_once", note_the_stop)
    monkeypatch.setattr(loop, "ModeSelector", Looking)
    facts = run(make_job(lines=many(origin, 80, faults=False)), *AUTO).facts

    assert "signal" == facts["stopped_by"]
    assert facts["counts"]["processed"] > 0
    assert all(stage["tasks"] > 0 for stage in facts["stages"].values())
    assert 1 == facts["leg"]["number"]


def test_a_crash_in_an_earlier_run_keeps_the_pictures_in_processes(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    class Watched(ModeSelector):
        def begin_phase(self) -> None:
            seen.append(self.fragile)
            super().begin_phase()

    monkeypatch.setattr(loop, "ModeSelector", Watched)
    config = make_job(images=2)
    run(config, *AUTO)
    monkeypatch.setattr("batchproc.ledger.Ledger.failures_by_code", lambda self: {"worker.crash": 1})
    run(config, *AUTO, options=RunOptions(fresh=True))

    assert [False, True] == seen
