"""Each experiment once, as small as it goes, for real and in its own process."""

import pytest

from batchproc.bench.runner import Interrupt
from batchproc.lab import experiments
from batchproc.lab.experiments import EXPERIMENTS, START_WORKERS, Experiment
from batchproc.lab.laboratory import run_experiment
from batchproc.lab.results import Place
from batchproc.model import Mode

# What must come out even of the smallest; counts are exact, times only have to be there.
SERIES = {
    "python_alone": {"one image", "gain"},
    "steps": {"threads against processes", "serial", "threads gain", "processes gain", "threads, busy"},
    "own_gil": {"busy", "gain"},
    "workers": {"threads", "processes"},
    "latency": {"0 ms", "20 ms", "100 ms", "gain at 100 ms", "100 ms, processes", "n/(W + c), 20 ms"},
    "payload": {"work, threads", "work, processes", "no work, threads", "no work, processes", "processes gain"},
    "startup": {"ready after", "threads gain"},
    "memory": {"one more weighs (PSS)"},
    "job_size": {"threads", "processes", "serial", "processes gain"},
    "own_memory": {"made", "in one worker", "seen by the parent"},
    "lost_updates": {"lost", "worst round", "of"},
    "through_queue": {"through the thread executor"},
    "hang": {"done", "through after", "still hanging after", "killed at the deadline"},
    "crash": {"lost", "a run with a crash", "a run without"},
}
EXACT: dict[str, dict[tuple[str, Place], float]] = {
    "own_memory": {("made", "processes"): 10, ("seen by the parent", "processes"): 0,
                   ("seen by the parent", "threads"): 10},
    "lost_updates": {("lost", "with a lock"): 0, ("lost", "through a queue"): 0},
    "through_queue": {("through the thread executor", "missing"): 0, ("through the thread executor", "twice"): 0},
    "hang": {("killed at the deadline", "process"): 1, ("done", "process"): 11, ("done", "serial"): 5},
    "crash": {("lost", "process"): 1, ("lost", "serial"): 7},
}  # fmt: skip


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda experiment: experiment.name)
def test_it_gives_its_table(experiment: Experiment) -> None:
    found = run_experiment(experiment, "tiny", Interrupt())

    assert None is found.failure
    assert found.table is not None
    assert {one.name for one in found.table.series} >= SERIES[experiment.name]
    values = {(one.name, cell.x): cell.value for one in found.table.series for cell in one.cells}
    expected = EXACT.get(experiment.name, {})
    assert expected == {key: values[key] for key in expected}
    assert all(one.unit for one in found.table.series)
    if experiment.name == "hang":
        assert min(values["still hanging after", mode] for mode in ("thread", "serial")) > 0
    if experiment.name == "crash":
        assert values["lost", "thread"] > 1


@pytest.mark.parametrize("mode", [Mode.THREAD, Mode.PROCESS])
def test_a_start_is_timed_of_all_workers_also_when_the_first_could_do_all_the_work(
    monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    timed: list[float] = []
    monkeypatch.setattr(experiments, "median", timed.extend)

    experiments._ready_seconds(mode)

    assert START_WORKERS == len(timed)
    assert min(timed) > 0


def test_every_experiment_has_its_test() -> None:
    assert set(SERIES) == set(EXPERIMENTS)
