"""What only processes can do, proven by real deaths."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchproc.errors import ExecutorError, Retry
from batchproc.executors.process import ProcessExecutor
from batchproc.executors.slot import START_SECONDS, WorkerSlot
from batchproc.executors.wire import Packed
from batchproc.model import Disposition, Failure, Item, Outcome
from tests.executors.stages import CannotOpen, Deed, DiesOnOpen, items


def run(executor: ProcessExecutor, stage: Deed, values: list[object]) -> tuple[list[object], list[Failure]]:
    outcomes: list[Outcome] = list(executor.run(stage, items(values)))
    assert len(values) == len(outcomes)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    return [outcome.value for outcome in outcomes if isinstance(outcome, Item)], failures


@pytest.mark.parametrize(
    ("deed", "code", "word"),
    [
        ("exit_zero", "worker.crash", "exit code 0"),
        ("segfault", "worker.crash", "SIGSEGV"),
        ("killed", "worker.memory", "SIGKILL"),
    ],
)
def test_a_death_is_blamed_on_exactly_one_item_and_the_rest_goes_on(deed: str, code: str, word: str) -> None:
    values: list[object] = [*range(10), deed, *range(10, 20)]

    with ProcessExecutor(workers=2) as executor:
        done, failures = run(executor, Deed(), values)

    assert sorted(2 * number for number in range(20)) == sorted(done)
    (failure,) = failures
    assert code == failure.code
    assert word in failure.message
    assert Disposition.QUARANTINED is failure.disposition
    assert 10 == failure.source.index


def test_a_crasher_gets_one_more_try_alone(tmp_path: Path) -> None:
    stage = Deed(marker=str(tmp_path / "crashed"))

    with ProcessExecutor(workers=2) as executor:
        done, failures = run(executor, stage, [1, "crash_once", 2])

    assert [] == failures
    assert "survived" in done


def test_the_stack_of_a_segfault_is_told(tmp_path: Path) -> None:
    with ProcessExecutor(workers=1, log_stem=tmp_path / "deed") as executor:
        _, (failure,) = run(executor, Deed(), ["segfault"])

    assert "stages.py" in failure.message
    assert "segfault" in failure.message


def test_a_hang_in_c_costs_its_worker_and_its_item() -> None:
    with ProcessExecutor(workers=2, timeout_seconds=0.5) as executor:
        done, failures = run(executor, Deed(), [1, "hang_in_c", *range(2, 12)])

    assert sorted(2 * number for number in range(1, 12)) == sorted(done)
    (failure,) = failures
    assert "worker.timeout" == failure.code
    assert "0.5 s" in failure.message
    assert Disposition.FAILED is failure.disposition


@pytest.mark.parametrize(("stage", "retry"), [("download", Retry.BACKOFF), ("transform", Retry.NEVER)])
def test_an_overdue_download_is_tried_again_and_an_overdue_transform_is_not(stage: str, retry: Retry) -> None:
    with ProcessExecutor(workers=1, timeout_seconds=0.5) as executor:
        _, (failure,) = run(executor, Deed(name=stage), ["hang_in_c"])

    assert (stage, retry) == (failure.stage, failure.retry)


class Deaf:
    """A worker that takes whatever it is sent, and is killed without a word."""

    def __init__(self) -> None:
        self.post = self
        self.killed = False

    def send(self, packed: Packed, turn: int = 0) -> None:
        pass

    def kill(self) -> None:
        self.killed = True


def test_a_start_that_fails_with_its_fork_server_is_tried_again() -> None:
    tries: list[int] = []

    def spawn() -> Deaf:
        tries.append(1)
        if len(tries) < 3:
            raise EOFError
        return Deaf()

    slot_of(spawn).launch()
    assert 3 == len(tries)

    with pytest.raises(ExecutorError, match="the fork server ended"):
        slot_of(lambda: (_ for _ in ()).throw(EOFError)).launch()


def slot_of(spawn: object) -> WorkerSlot:
    slot = WorkerSlot(spawn)  # type: ignore[arg-type]
    slot.assign(Deed())
    return slot


def test_a_worker_is_killed_past_its_deadline_and_not_before() -> None:
    worker = Deaf()
    slot = slot_of(lambda: worker)
    slot.launch()
    due = time.monotonic() + START_SECONDS

    slot.kill_overdue(due - 1.0)
    assert not worker.killed
    slot.kill_overdue(due + 1.0)
    assert worker.killed


def test_time_in_which_nothing_could_run_is_not_charged() -> None:
    with ProcessExecutor(workers=1, timeout_seconds=0.5) as executor:
        outcomes = executor.run(Deed(), items(["pid", "pid", "pid"]))
        first = next(outcomes)
        assert isinstance(first, Item)
        (slot,) = executor._slots
        before = slot.deadline

        executor._watch_deadlines(time.monotonic() + 100.0)

        assert slot.deadline > before + 98.0
        assert 2 == sum(isinstance(outcome, Item) for outcome in outcomes)


def test_a_hang_beside_a_payload_larger_than_the_pipe_is_killed_too() -> None:
    from tests.executors.stages import original

    with ProcessExecutor(workers=1, timeout_seconds=0.5) as executor:
        done, failures = run(executor, Deed(), ["hang_in_c", original(1, 3_000_000)])

    assert ["worker.timeout"] == [failure.code for failure in failures]
    assert 1 == len(done)


def test_a_result_that_cannot_be_pickled_fails_alone() -> None:
    with ProcessExecutor(workers=1) as executor:
        done, failures = run(executor, Deed(), [1, "unpicklable", 2])

    assert [2, 4] == sorted(done)  # type: ignore[type-var]
    assert ["internal.bug"] == [failure.code for failure in failures]


def test_a_value_that_cannot_be_pickled_fails_alone() -> None:
    with ProcessExecutor(workers=1) as executor:
        done, failures = run(executor, Deed(), [1, lambda: None, 2])

    assert [2, 4] == sorted(done)  # type: ignore[type-var]
    assert ["internal.bug"] == [failure.code for failure in failures]


def test_a_worker_killed_while_idle_costs_no_item() -> None:
    def upstream():
        yield from items(["pid"])
        assert killed.get("pid")
        yield from items([5, 6])

    killed: dict[str, int] = {}
    with ProcessExecutor(workers=1, capacity=1) as executor:
        outcomes = executor.run(Deed(), upstream())
        first = next(outcomes)
        assert isinstance(first, Item)
        killed["pid"] = first.value
        kill_and_wait(first.value)
        rest = list(outcomes)

    assert [10, 12] == sorted(outcome.value for outcome in rest if isinstance(outcome, Item))


def test_a_stage_that_cannot_open_ends_the_run_with_its_traceback() -> None:
    with pytest.raises(ExecutorError, match="no module named nothing"), ProcessExecutor(workers=2) as executor:
        list(executor.run(CannotOpen(), items([1])))


def test_a_worker_that_dies_on_start_ends_the_run() -> None:
    with pytest.raises(ExecutorError, match="exit code 7"), ProcessExecutor(workers=1) as executor:
        list(executor.run(DiesOnOpen(), items([1])))


def test_a_storm_of_crashes_ends_the_run() -> None:
    with pytest.raises(ExecutorError, match="died against"), ProcessExecutor(workers=2) as executor:
        list(executor.run(Deed(), items(["exit_zero"] * 100)))


def test_workers_are_recycled_between_tasks() -> None:
    with ProcessExecutor(workers=1, recycle_after=3) as executor:
        done, failures = run(executor, Deed(), ["pid"] * 9)

    assert [] == failures
    assert 3 == len(set(done))


def test_what_a_worker_prints_never_reaches_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessExecutor(workers=1) as executor:
        run(executor, Deed(), ["shout"])

    assert "" == capfd.readouterr().out


def test_what_a_worker_prints_is_kept_in_its_log_and_empty_logs_go(tmp_path: Path) -> None:
    with ProcessExecutor(workers=2, log_stem=tmp_path / "deed") as executor:
        run(executor, Deed(), ["shout"])

    (log,) = tmp_path.glob("deed-?.log")
    assert "on stdout\n" == log.read_text()


PARENT = """
from batchproc.executors.process import ProcessExecutor
from tests.executors.stages import Deed, items

with ProcessExecutor(workers=3) as executor:
    outcomes = executor.run(Deed(), items(["pid", "pid", "pid", "hang_in_c", "hang_in_c", "hang_in_c"]))
    for _ in range(3):
        next(outcomes)
    print(*(slot.worker.pid for slot in executor._slots), flush=True)
    next(outcomes)
"""


def test_no_worker_outlives_a_killed_parent() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert 3 == len(workers)
        parent.kill()

        try:
            for worker in workers:
                assert [worker] == select.select([worker], [], [], 5)[0], "still alive after 5 s"
        finally:
            for worker in workers:
                os.close(worker)


def kill_and_wait(pid: int) -> None:
    worker = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(worker, signal.SIGKILL)
        assert select.select([worker], [], [], 5)[0]
    finally:
        os.close(worker)


FORK_SERVER = """
from multiprocessing import forkserver
from pathlib import Path
from batchproc.executors.worker import start_context

start_context(())
status = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_ctrl_c_reaches_the_fork_server_before_it_can_ignore_one() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FORK_SERVER], cwd=root, capture_output=True, text=True, timeout=60)

    blocked = int(done.stdout, 16)
    assert blocked & 1 << (signal.SIGINT - 1), done.stderr
