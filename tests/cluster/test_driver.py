"""The driver's loop on an engine and a clock of the test's own: what it hands out, when, and what it makes of ends."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from batchproc.cluster.driver import RECONNECT_SECONDS, WORKERLESS_SECONDS, Driver, Listeners
from batchproc.cluster.engine import Ended, Engine, LostEngineError
from batchproc.cluster.manifest import PartManifest
from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.plan import ClusterPlan, ListShard
from batchproc.cluster.task import PartTask
from batchproc.errors import ExecutorError
from batchproc.job_file import load

T = TypeVar("T")
PLAN = "0123456789abcdef"


def manifest(number: int, generation: int = 0, **facts: Any) -> PartManifest:
    return PartManifest(
        plan=PLAN, number=number, generation=generation, attempt="1", worker="tcp://w:1", exit_code=0, seconds=1.0,
        rows="rows", failures="failures", **facts,
    )  # fmt: skip


class PlayedEngine:
    """Answers what `play` says of each task. `slots` may be changed."""

    dashboard = ""

    def __init__(self, play: Callable[[PartTask], Ended | None], workers: int = 1) -> None:
        self._play = play
        self.workers: Mapping[str, int] = {f"tcp://w:{number}": 1 for number in range(1, workers + 1)}
        self.tasks: list[PartTask] = []
        self.avoided: list[frozenset[str]] = []
        self.most_out = 0
        self._ended: list[Ended] = []
        self.is_lost = False

    def slots(self) -> Mapping[str, int]:
        self._check()
        return self.workers

    def ask(self, question: Callable[[], T]) -> Mapping[str, T | str]:
        return {}

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        self._check()
        self.tasks.append(task)
        self.avoided.append(avoid)
        ended = self._play(task)
        if ended is not None:
            self._ended.append(ended)
        self.most_out = max(self.most_out, len(self._ended))

    def stop_parts(self) -> None:
        """Nothing is under way."""

    def wait(self, seconds: float) -> list[Ended]:
        self._check()
        return [self._ended.pop(0)] if self._ended else []

    def close(self) -> None:
        """Nothing."""

    def _check(self) -> None:
        if self.is_lost:
            raise LostEngineError("the connection to the scheduler is lost")


def done(task: PartTask) -> Ended:
    found = manifest(task.number, task.generation)
    return Ended(number=task.number, generation=task.generation, worker="tcp://w:1", manifest=found)


class Bench:
    """A driver over parts of one item each, and what it said."""

    def __init__(
        self, tmp_path: Path, domains: list[str | None], ledger: PartLedger, settings: Sequence[str] = ()
    ) -> None:
        config = tmp_path / "job.toml"
        config.write_text(
            '[job]\nname = "x"\ninput = "l.csv"\noutput = "out"\n[cluster]\nscheduler = "tcp://s:1"\nwindow = 2\n'
        )
        shards = tuple(
            ListShard(number=number, offset=number, size_bytes=1, items=1, hosts=1, domain=domain)
            for number, domain in enumerate(domains)
        )
        plan = ClusterPlan(
            digest=PLAN, fingerprint="", columns="", names=(), items=len(shards), bad_rows=0, hosts=1, shards=shards
        )
        self.notes: list[str] = []
        self.now = 0.0
        self.reopened: Iterator[Engine | None] = iter(())
        listeners = Listeners(note=self.notes.append, committed=lambda _one: None, joined=lambda _engine: None)
        self.driver = Driver(
            load(config, settings=settings).config, plan, ledger, self._reopen, listeners, store="/store",
            clock=self._tick, sleep=self._sleep,
        )

    def _reopen(self) -> Engine:
        engine = next(self.reopened, None)
        if engine is None:
            raise OSError("no scheduler")
        return engine

    def _tick(self) -> float:
        self.now += 0.25
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[PartLedger]:
    with PartLedger(tmp_path / "parts.db") as found:
        yield found


def states(ledger: PartLedger) -> dict[tuple[int, int], str]:
    return {(row.number, row.generation): row.state for row in ledger.rows()}


def test_no_more_parts_are_out_than_the_window_allows(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done, workers=3)

    Bench(tmp_path, [None] * 40, ledger).driver.work(engine)

    assert 6 == engine.most_out
    assert {"committed"} == set(states(ledger).values())
    assert 40 == len(engine.tasks)


def test_slices_of_a_domain_come_first_and_one_after_another(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done, workers=2)

    Bench(tmp_path, [None, "big.org", "big.org", None], ledger).driver.work(engine)

    assert [1, 0, 3, 2] == [task.number for task in engine.tasks]


def test_a_part_that_failed_goes_to_another_worker_and_into_quarantine_at_last(
    tmp_path: Path, ledger: PartLedger
) -> None:
    workers = iter(["tcp://w:1", "tcp://w:2", "tcp://w:3"])

    def fail(task: PartTask) -> Ended:
        return Ended(number=0, generation=0, worker=next(workers), reason="No space left on device")

    bench, engine = Bench(tmp_path, [None], ledger), PlayedEngine(fail)
    bench.driver.work(engine)

    assert [set(), {"tcp://w:1"}, {"tcp://w:1", "tcp://w:2"}] == [set(one) for one in engine.avoided]
    assert {(0, 0): "quarantined"} == states(ledger)
    assert "in quarantine after 3 tries: No space left on device" in bench.notes[-1]


def test_what_was_lost_with_its_scheduler_is_not_charged(tmp_path: Path, ledger: PartLedger) -> None:
    ends = iter([*[Ended(number=0, generation=0, reason="lost", is_charged=False)] * 5, None])

    def play(task: PartTask) -> Ended:
        return next(ends) or done(task)

    engine = PlayedEngine(play)
    Bench(tmp_path, [None], ledger).driver.work(engine)

    assert 6 == len(engine.tasks)
    assert {(0, 0): "committed"} == states(ledger)


def test_what_a_part_leaves_because_its_time_was_over_is_handed_out_in_the_same_run(
    tmp_path: Path, ledger: PartLedger
) -> None:
    def play(task: PartTask) -> Ended:
        left = {} if task.generation == 2 else {"rest": "rest.jsonl", "rest_bytes": 7, "due": 3, "pending": 2}
        found = manifest(task.number, task.generation, **left)
        return Ended(number=task.number, generation=task.generation, worker="tcp://w:1", manifest=found)

    engine = PlayedEngine(play)
    Bench(tmp_path, [None], ledger).driver.work(engine)

    assert [(0, "cluster/0123456789abcdef/list.jsonl"), (1, "rest.jsonl"), (2, "rest.jsonl")] == [
        (task.generation, task.list_name) for task in engine.tasks
    ]


def test_what_failed_for_a_reason_that_may_pass_waits_for_the_next_run(tmp_path: Path, ledger: PartLedger) -> None:
    left = {"rest": "rest.jsonl", "rest_bytes": 7, "due": 3}
    engine = PlayedEngine(
        lambda task: Ended(number=0, generation=0, worker="tcp://w:1", manifest=manifest(0, **left))
    )
    Bench(tmp_path, [None], ledger).driver.work(engine)
    again = PlayedEngine(done)

    Bench(tmp_path, [None], ledger).driver.work(again)

    assert [0] == [task.generation for task in engine.tasks]
    assert [1] == [task.generation for task in again.tasks]


def test_a_lost_scheduler_is_looked_for_and_its_parts_are_handed_out_again(
    tmp_path: Path, ledger: PartLedger
) -> None:
    def lose(task: PartTask) -> None:
        first.is_lost = True

    first, second = PlayedEngine(lose), PlayedEngine(done)
    bench = Bench(tmp_path, ["big.org", None], ledger)
    bench.reopened = iter([None, None, second])

    found = bench.driver.work(first)

    assert found is second
    assert {"committed"} == set(states(ledger).values())
    assert 2 == len(states(ledger))


def test_a_scheduler_that_does_not_come_back_ends_the_run(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done)
    engine.is_lost = True
    bench = Bench(tmp_path, [None], ledger)

    with pytest.raises(ExecutorError, match="did not come back; the same command continues"):
        bench.driver.work(engine)

    assert RECONNECT_SECONDS < bench.now < 2 * RECONNECT_SECONDS


def test_a_cluster_without_workers_ends_the_run(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(lambda _task: None)
    engine.workers = {}
    bench = Bench(tmp_path, [None], ledger)

    with pytest.raises(ExecutorError, match="no worker has come"):
        bench.driver.work(engine)

    assert WORKERLESS_SECONDS < bench.now < 2 * WORKERLESS_SECONDS


def test_after_the_jobs_time_nothing_more_is_handed_out(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done)
    bench = Bench(tmp_path, [None] * 40, ledger, settings=["job.max_duration=5s"])

    bench.driver.work(engine)

    assert bench.driver.is_over
    assert 0 < len(engine.tasks) == len(states(ledger)) < 40
