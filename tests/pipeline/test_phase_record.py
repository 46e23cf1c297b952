"""What a stage's workers say of themselves, put together."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from batchproc.frontier.waiting import Waits
from batchproc.measure.breakdown import break_down
from batchproc.pipeline.observer import StageSums
from batchproc.pipeline.phase_record import describe_stage, stage_totals
from batchproc.protocols import WorkerTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedExecutor:
    """What is left of one whose workers have ended."""

    times: list[WorkerTimes]
    mode: str = "process"
    capacity: int = 8
    wall_seconds: float = 1.0

    @property
    def workers(self) -> int:
        return len(self.times)


@pytest.mark.parametrize(("ready", "expected"), [((0.2, 0.4), 0.3), ((0.2,), 0.2), ((), None)])
def test_a_start_takes_what_it_took_the_workers_that_were_ready_before_the_work_ended(
    ready: tuple[float, ...], expected: float | None
) -> None:
    never = WorkerTimes(worker="transform-9", opened=1.0, closed=2.0)
    times = [replace(never, ready=1.0 + took, startup_seconds=took) for took in ready]
    executor = EndedExecutor(times=[*times, never])
    totals = stage_totals(executor, StageSums(), "transform", None, Waits())

    stage = describe_stage(executor, StageSums(), totals, break_down(totals))

    assert expected == pytest.approx(stage.startup_per_worker_seconds)
