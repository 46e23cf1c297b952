"""The selector: when it looks, what it tries, and where it ends up. By a clock of its own."""

from pathlib import Path

import pytest

from batchproc.config import load
from batchproc.explain.predict import predict
from batchproc.explain.run_model import RunModel
from batchproc.pipeline.mode_selector import ModeSelector
from batchproc.record.explanation import ExecutionPlan, JobModel, StageModel

JOB = '[job]\nname = "test"\ninput = "urls.txt"\noutput = "out"\n[transform]\nworkers = 2\n'
THREADS = ExecutionPlan(download="thread", download_workers=32, transform="thread", transform_workers=2)
USUAL = ExecutionPlan(download="thread", download_workers=32, transform="process", transform_workers=2)
SERIAL = ExecutionPlan(download="thread", download_workers=32, transform="serial", transform_workers=1)


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Flight:
    """A run of `work` items in whatever modes the selector says, at the rates that the test gives to each."""

    def __init__(self, tmp_path: Path, work: int, *overrides: str) -> None:
        path = tmp_path / "job.toml"
        path.write_text(JOB)
        self.clock = Clock()
        self.selector = ModeSelector(load(path, overrides=list(overrides), environ={}), work, clock=self.clock)
        self.work = work
        self.snapshots = 0

    def snapshot(self) -> RunModel:
        """A job of tiny pictures, on which threads are predicted to win."""
        self.snapshots += 1
        pipe = {"ipc_worker_seconds": 0.0002, "ipc_parent_seconds": 0.0003}
        job = JobModel(
            download=StageModel(cpu_seconds=0.0001, phi=0.6, blocked_seconds=0.002, **pipe),
            transform=StageModel(cpu_seconds=0.0003, phi=0.3, **pipe),
            items=100,
            cores=2.0,
            glue_seconds=0.0001,
        )
        return RunModel(
            job=job,
            plan=USUAL,
            rate_per_second=predict(job, USUAL).rate_per_second,
            working_seconds=1.0,
            shares={"download": None, "transform": None},
            assumed=(),
            others=0.0,
        )

    def fly(self, rates: dict[ExecutionPlan, float]) -> list[ExecutionPlan]:
        """Runs leg after leg; returns the modes of each."""
        plans: list[ExecutionPlan] = []
        left = self.work
        while left > 0 and len(plans) < 9:
            plan, items = self.selector.plan, 0
            plans.append(plan)
            self.selector.begin_phase()
            began = self.clock.now
            ended = False
            while left > 0 and not ended:
                self.clock.now += 1 / rates[plan]
                items, left = items + 1, left - 1
                ended = self.selector.on_outcome(items, self.snapshot)
            drained = min(left, 5)  # in flight when the leg was told to end
            for _ in range(drained):
                items += 1
                assert not self.selector.on_outcome(items, self.snapshot)
            left -= drained
            self.selector.end_phase(plan, items, self.clock.now - began)
        return plans


RATES = {USUAL: 2000.0, THREADS: 3200.0, SERIAL: 3000.0}
AUTO = ("download.mode=auto", "transform.mode=auto")


def test_named_modes_are_flown_to_the_end_without_a_look(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 5000, "transform.mode=thread")

    assert [THREADS] == flight.fly(RATES)
    assert (0, None) == (flight.snapshots, flight.selector.describe())


def test_under_a_hundred_items_nothing_is_measured_and_the_account_says_so(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 99, *AUTO)
    plans = flight.fly({USUAL: 1.0})
    told = flight.selector.describe()

    assert ([USUAL], 0) == (plans, flight.snapshots)
    assert told is not None
    assert "not_worth_it" == told.verdict
    assert "99 items are too few to measure" in told.text


def test_the_rival_that_proves_faster_is_kept_without_another_change(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 20_000, *AUTO)
    plans = flight.fly(RATES)
    told = flight.selector.describe()

    assert USUAL == plans[0]
    assert 2 == len(plans)
    assert plans[1] in (THREADS, SERIAL)
    assert told is not None
    assert "changed" == told.verdict
    assert told.margin == pytest.approx(2000 / RATES[plans[1]] - 1, abs=0.02)
    assert 20_000 == sum(leg.items for leg in told.legs)


def test_the_rival_that_disappoints_is_left_again_and_not_tried_twice(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 20_000, *AUTO)
    plans = flight.fly({USUAL: 2000.0, THREADS: 1400.0, SERIAL: 1400.0})
    told = flight.selector.describe()

    assert (USUAL, USUAL) == (plans[0], plans[2])
    assert 3 == len(plans)
    assert told is not None
    assert "kept_after_race" == told.verdict
    assert 1 == flight.snapshots


def test_a_small_lead_is_looked_at_twice(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 40_000, *AUTO)
    plans = flight.fly({USUAL: 2000.0, THREADS: 2300.0, SERIAL: 2300.0})
    told = flight.selector.describe()

    assert [USUAL, plans[1], USUAL, plans[1]] == plans
    assert told is not None
    assert "changed" == told.verdict
    assert "before and after" in told.text


def test_only_the_stage_that_was_left_open_is_chosen(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 20_000, "download.mode=thread", "transform.mode=auto")
    flight.fly(RATES)
    told = flight.selector.describe()

    assert told is not None
    assert ("transform",) == told.stages
    assert {"thread"} == {one.download for one in told.candidates}
    assert 3 == len(told.candidates)


def test_slow_items_are_looked_at_after_two_seconds_and_at_least_eight(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 200, *AUTO)
    flight.selector.begin_phase()
    for items in range(1, 11):
        flight.clock.now += 0.15
        flight.selector.on_outcome(items, flight.snapshot)
    assert 0 == flight.snapshots
    for items in range(11, 15):
        flight.clock.now += 0.15
        flight.selector.on_outcome(items, flight.snapshot)
    assert 1 == flight.snapshots

    slow = Flight(tmp_path, 200, *AUTO)
    slow.selector.begin_phase()
    for items in range(1, 8):
        slow.clock.now += 10.0
        slow.selector.on_outcome(items, slow.snapshot)
    assert 0 == slow.snapshots


def test_a_run_that_ends_before_there_is_enough_says_so(tmp_path: Path) -> None:
    flight = Flight(tmp_path, 150, *AUTO)
    flight.fly({USUAL: 2000.0})
    told = flight.selector.describe()

    assert told is not None
    assert "too_short" == told.verdict
    assert "ended before there was enough to choose from" in told.text
