"""Each experiment once, as small as it goes, for real and in its own process."""

import pytest

from batchproc.bench.experiments.table import TABLE, Experiment
from batchproc.bench.interrupt import Interrupt
from batchproc.bench.lab import run_experiment

# What must come out even of the smallest; counts are exact, times only have to be there.
NAMES = {
    "python_alone": {"python_seconds", "pillow_seconds", "pillow_gain"},
    "steps": {"cores", "blur.threads_gain", "median.processes_gain", "python.serial_seconds", "blur.rounds_made_again",
              "median.threads_against_processes"},
    "own_gil": {"cores", "two_threads_cores", "two_processes_cores"},
    "workers": {"cores", "serial_cpu_seconds", "thread.rate", "process.rate"},
    "latency": {"one_worker_seconds", "one_worker_cpu_seconds", "threads_8_gain", "processes_8_gain"},
    "payload": {"echo_threads_seconds", "echo_processes_seconds", "work_processes_gain", "largest_payload",
                "work_threads_seconds", "work_processes_seconds"},
    "startup": {"thread_seconds", "process_seconds", "threads_gain", "cold_process_seconds"},
    "memory": set(),  # only where the system tells
    "job_size": {"processes_gain", "serial_seconds", "thread_seconds", "process_seconds"},
    "own_memory": {"process_changes_seen", "thread_changes_seen"},
    "lost_updates": {"plain_lost", "read_yield_write_lost", "with_lock_lost", "with_queue_lost"},
    "through_queue": {"handed", "missing", "twice"},
    "hang": {"process_recovery_seconds", "process_killed", "thread_hangs_after_seconds", "serial_done"},
    "crash": {"process_lost", "thread_lost", "serial_lost"},
}
EXACT = {
    "own_memory": {"process_changes_made": 10, "process_changes_seen": 0, "thread_changes_seen": 10},
    "lost_updates": {"with_lock_lost": 0, "with_queue_lost": 0},
    "through_queue": {"missing": 0, "twice": 0},
    "hang": {"process_killed": 1, "process_done": 11, "serial_done": 5},
    "crash": {"process_lost": 1, "serial_lost": 7},
}


@pytest.mark.parametrize("experiment", TABLE, ids=lambda experiment: experiment.name)
def test_it_gives_its_numbers(experiment: Experiment) -> None:
    found = run_experiment(experiment, "tiny", Interrupt())

    assert None is found["failure"]
    values = {number["name"]: number["value"] for number in found["numbers"]}
    assert NAMES[experiment.name] <= set(values)
    expected = EXACT.get(experiment.name, {})
    assert expected == {name: values[name] for name in expected}
    assert all(number["unit"] for number in found["numbers"])
    if experiment.name == "hang":
        assert min(values["thread_hangs_after_seconds"], values["serial_hangs_after_seconds"]) > 0
    if experiment.name == "crash":
        assert values["thread_lost"] > 1


def test_every_experiment_has_its_test() -> None:
    assert set(NAMES) == {experiment.name for experiment in TABLE}
