"""A stop may come before there is anything to stop, and a start before there is anybody to answer it."""

import threading
from functools import partial

import pytest

from batchproc.errors import ExecutorError
from batchproc.executors.child import WorkerLimits
from batchproc.executors.process import ProcessExecutor
from batchproc.executors.slot import WorkerSlot
from batchproc.executors.worker import WorkerProcess, start_context
from batchproc.model import Outcome
from tests.executors.stages import Deed, items

LONGEST_SECONDS = 20.0


def test_a_run_that_was_stopped_before_it_began_yields_nothing_and_ends() -> None:
    outcomes: list[Outcome] = []

    with ProcessExecutor(workers=2) as executor:
        executor.stop()
        stream = executor.run(Deed(), items(range(100)))
        reader = threading.Thread(target=lambda: outcomes.extend(stream), daemon=True)
        reader.start()
        reader.join(LONGEST_SECONDS)
        ended = not reader.is_alive()

    assert ended
    assert [] == outcomes


def test_an_executor_that_was_stopped_before_it_was_opened_does_not_run() -> None:
    executor = ProcessExecutor(workers=1)
    executor.stop()

    with executor:
        assert [] == list(executor.run(Deed(), items(range(100))))


class Refusing:
    """A fork server that refuses so many starts; then it is there."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self._spawn = partial(WorkerProcess, start_context(()), "late", WorkerLimits())

    def __call__(self) -> WorkerProcess:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ConnectionRefusedError(111, "Connection refused")
        return self._spawn()


def test_a_fork_server_that_is_being_replaced_is_waited_for() -> None:
    slot = WorkerSlot(Refusing(4))
    slot.assign(Deed())

    slot.launch()

    assert slot.worker is not None
    assert slot.worker.pid
    slot.close()


def test_a_fork_server_that_never_comes_is_an_error_that_says_why() -> None:
    with pytest.raises(ExecutorError, match="cannot start a worker process: Connection refused"):
        WorkerSlot(Refusing(1000)).launch()
