"""The driver's loop on an engine and a clock of the test's own: what it hands out, when, and what it makes of ends."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from batchproc.cluster.driver import RECONNECT_SECONDS, SILENT_SECONDS, WORKERLESS_SECONDS, Driver
from batchproc.cluster.engine import LostEngineError
from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.shard_plan import ClusterPlan, ListShard, PartManifest
from batchproc.cluster.task import PartOutcome, PartTask
from batchproc.errors import ExecutorError, UsageError
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

    def __init__(self, play: Callable[[PartTask], PartOutcome | None], workers: int = 1) -> None:
        self._play = play
        self.workers: Mapping[str, int] = {f"tcp://w:{number}": 1 for number in range(1, workers + 1)}
        self.tasks: list[PartTask] = []
        self.avoided: list[frozenset[str]] = []
        self.most_out = 0
        self._ended: list[PartOutcome] = []
        self.is_lost = self.is_closed = False
        self.stopped: list[str] = []

    def slots(self) -> Mapping[str, int]:
        self._check()
        return self.workers

    def ask(self, question: Callable[[], T], workers: Iterable[str]) -> Mapping[str, T | str]:
        return {}

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        self._check()
        self.tasks.append(task)
        self.avoided.append(avoid)
        ended = self._play(task)
        if ended is not None:
            self._ended.append(ended)
        self.most_out = max(self.most_out, len(self._ended))

    def stop_parts(self, run: str) -> None:
        self.stopped.append(run)

    def wait(self, seconds: float) -> list[PartOutcome]:
        self._check()
        return [self._ended.pop(0)] if self._ended else []

    def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_lost:
            raise LostEngineError("the connection to the scheduler is lost")


def done(task: PartTask) -> PartOutcome:
    found = manifest(*task.part.place)
    return PartOutcome(place=task.part.place, worker="tcp://w:1", manifest=found)


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
        self.silent: set[str] = set()
        self.asked: list[tuple[float, list[str]]] = []
        self._engines: Iterator[PlayedEngine | None] = iter(())
        self.driver = Driver(
            load(config, settings=settings).config, plan, ledger, self._open, store="/store",
            note=self.notes.append, committed=lambda _one: None, joined=self._joined, clock=self._tick,
            sleep=self._sleep,
        )

    def work(self, *engines: PlayedEngine | None) -> None:
        """Works; these are the engines that are opened, one after the other, where None is a scheduler away."""
        self._engines = iter(engines)
        self.driver.work()

    def _open(self) -> PlayedEngine:
        engine = next(self._engines, None)
        if engine is None:
            raise UsageError("no scheduler")
        return engine

    def _joined(self, _engine: PlayedEngine, workers: Collection[str]) -> Collection[str]:
        self.asked.append((self.now, list(workers)))
        return set(workers) - self.silent

    def _tick(self) -> float:
        self.now += 0.25
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[PartLedger]:
    with PartLedger.open(tmp_path / "parts.db") as found:
        yield found


def states(ledger: PartLedger) -> dict[tuple[int, int], str]:
    return {row.place: row.state for row in ledger.rows()}


def test_no_more_parts_are_out_than_the_window_allows(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done, workers=3)

    Bench(tmp_path, [None] * 40, ledger).work(engine)

    assert 6 == engine.most_out
    assert {"committed"} == set(states(ledger).values())
    assert 40 == len(engine.tasks)


def test_slices_of_a_domain_come_first_and_one_after_another(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done, workers=2)

    Bench(tmp_path, [None, "big.org", "big.org", None], ledger).work(engine)

    assert [1, 0, 3, 2] == [task.part.number for task in engine.tasks]


def test_a_part_that_failed_goes_to_another_worker_and_into_quarantine_at_last(
    tmp_path: Path, ledger: PartLedger
) -> None:
    workers = iter(["tcp://w:1", "tcp://w:2", "tcp://w:3"])

    def fail(task: PartTask) -> PartOutcome:
        return PartOutcome(place=(0, 0), worker=next(workers), reason="No space left on device")

    bench, engine = Bench(tmp_path, [None], ledger), PlayedEngine(fail)
    bench.work(engine)

    assert [set(), {"tcp://w:1"}, {"tcp://w:1", "tcp://w:2"}] == [set(one) for one in engine.avoided]
    assert {(0, 0): "quarantined"} == states(ledger)
    assert "in quarantine after 3 tries: No space left on device" in bench.notes[-1]


def test_what_was_lost_with_its_scheduler_is_not_charged(tmp_path: Path, ledger: PartLedger) -> None:
    ends = iter([*[PartOutcome(place=(0, 0), reason="lost", is_charged=False)] * 5, None])

    def play(task: PartTask) -> PartOutcome:
        return next(ends) or done(task)

    engine = PlayedEngine(play)
    Bench(tmp_path, [None], ledger).work(engine)

    assert 6 == len(engine.tasks)
    assert {(0, 0): "committed"} == states(ledger)


def test_what_a_part_leaves_because_its_time_was_over_is_handed_out_in_the_same_run(
    tmp_path: Path, ledger: PartLedger
) -> None:
    def play(task: PartTask) -> PartOutcome:
        left = {} if task.part.generation == 2 else {"rest": "rest.jsonl", "rest_bytes": 7, "due": 3, "pending": 2}
        found = manifest(*task.part.place, **left)
        return PartOutcome(place=task.part.place, worker="tcp://w:1", manifest=found)

    engine = PlayedEngine(play)
    Bench(tmp_path, [None], ledger).work(engine)

    assert [(0, "cluster/0123456789abcdef/list.jsonl"), (1, "rest.jsonl"), (2, "rest.jsonl")] == [
        (task.part.generation, task.part.list_name) for task in engine.tasks
    ]


def test_what_failed_for_a_reason_that_may_pass_waits_for_the_next_run(tmp_path: Path, ledger: PartLedger) -> None:
    left = {"rest": "rest.jsonl", "rest_bytes": 7, "due": 3}
    engine = PlayedEngine(
        lambda task: PartOutcome(place=(0, 0), worker="tcp://w:1", manifest=manifest(0, **left))
    )
    Bench(tmp_path, [None], ledger).work(engine)
    again = PlayedEngine(done)

    Bench(tmp_path, [None], ledger).work(again)

    assert [0] == [task.part.generation for task in engine.tasks]
    assert [1] == [task.part.generation for task in again.tasks]


def test_a_lost_scheduler_is_looked_for_and_its_parts_are_handed_out_again(
    tmp_path: Path, ledger: PartLedger
) -> None:
    def lose(task: PartTask) -> None:
        first.is_lost = True

    first, second = PlayedEngine(lose), PlayedEngine(done)
    bench = Bench(tmp_path, ["big.org", None], ledger)

    bench.work(first, None, None, second)
    bench.driver.close()

    assert bench.driver.engine is second
    assert first.is_closed
    assert second.is_closed
    assert {"committed"} == set(states(ledger).values())
    assert 2 == len(states(ledger))


def test_a_scheduler_that_does_not_come_back_ends_the_run(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done)
    engine.is_lost = True
    bench = Bench(tmp_path, [None], ledger)

    with pytest.raises(ExecutorError, match="did not come back; the same command continues"):
        bench.work(engine)

    assert RECONNECT_SECONDS < bench.now < 2 * RECONNECT_SECONDS


def test_a_cluster_without_workers_ends_the_run(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(lambda _task: None)
    engine.workers = {}
    bench = Bench(tmp_path, [None], ledger)

    with pytest.raises(ExecutorError, match="no worker has come"):
        bench.work(engine)

    assert WORKERLESS_SECONDS < bench.now < 2 * WORKERLESS_SECONDS


def test_after_the_jobs_time_nothing_more_is_handed_out(tmp_path: Path, ledger: PartLedger) -> None:
    engine = PlayedEngine(done)
    bench = Bench(tmp_path, [None] * 40, ledger, settings=["job.max_duration=5s"])

    bench.work(engine)

    assert bench.driver.is_over
    assert 0 < len(engine.tasks) == len(states(ledger)) < 40


def test_a_run_that_is_stopped_waits_for_what_its_parts_commit(tmp_path: Path, ledger: PartLedger) -> None:
    class Patient(PlayedEngine):
        """Whose parts commit what they have when they are told to."""

        def stop_parts(self, run: str) -> None:
            super().stop_parts(run)
            self._ended += map(done, self.tasks)

    bench, engine = Bench(tmp_path, [None] * 4, ledger), Patient(lambda _task: bench.driver.stop())

    bench.work(engine)

    assert {(0, 0): "committed"} == states(ledger)
    assert [engine.tasks[0].run] == engine.stopped


def test_a_run_that_is_stopped_twice_waits_for_nothing(tmp_path: Path, ledger: PartLedger) -> None:
    def play(task: PartTask) -> None:
        bench.driver.stop()
        bench.driver.stop()

    bench, engine = Bench(tmp_path, [None], ledger), PlayedEngine(play)

    bench.work(engine)

    assert {} == states(ledger)
    assert bench.now < WORKERLESS_SECONDS


def test_workers_are_asked_when_they_come_and_silent_ones_later_again(tmp_path: Path, ledger: PartLedger) -> None:
    def play(task: PartTask) -> PartOutcome:
        if task.part.number == 1:
            engine.workers = {**engine.workers, "tcp://w:2": 1}
        return done(task)

    bench, engine = Bench(tmp_path, [None] * 400, ledger), PlayedEngine(play)
    bench.silent = {"tcp://w:2"}

    bench.work(engine)

    moments, workers = zip(*bench.asked, strict=True)
    assert (["tcp://w:1"], ["tcp://w:2"], ["tcp://w:2"]) == workers[:3]
    assert SILENT_SECONDS <= moments[2] - moments[1] <= 2 * SILENT_SECONDS
