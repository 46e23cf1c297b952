"""Each claim is judged by its numbers alone; what is missing or uncertain is `not_measured`, with the reason."""

from collections.abc import Mapping
from typing import Any

import pytest

from batchproc.bench.claims import CLAIMS, judge
from batchproc.bench.evidence import Job
from batchproc.bench.experiments.number import Number
from batchproc.bench.experiments.table import BY_NAME

JOB = Job(download_mode="thread", download_workers=8, transform_mode="process", steps=("resize", "median"), cores=2)
HOLDS, HALF, REFUTED, UNKNOWN = "holds", "holds_here_not_there", "refuted", "not_measured"

# What a quiet machine of two cores gives: (experiment, name, place in the sweep) -> (value, low, high).
Values = dict[tuple[str, str, float | None], tuple[float, float | None, float | None]]


def near(value: float) -> tuple[float, float, float]:
    return value, 0.98 * value, 1.02 * value


def exact(value: float) -> tuple[float, None, None]:
    return value, None, None


UNCERTAIN = (1.2, 0.8, 1.9)
ONE = near(1.0)
TWO = near(1.9)
MACHINE: Values = {
    ("python_alone", "pillow_gain", None): near(220),
    ("steps", "cores", None): exact(2),
    **{("steps", f"{step}.processes_gain", None): TWO for step in ("blur", "median", "python")},
    **{("steps", f"{step}.processes_run_queue", None): near(0.02) for step in ("blur", "median", "python")},
    ("steps", "blur.threads_gain", None): TWO,
    ("steps", "median.threads_gain", None): ONE,
    ("steps", "python.threads_gain", None): ONE,
    ("own_gil", "cores", None): exact(2),
    ("own_gil", "two_threads_cores", None): ONE,
    ("own_gil", "two_processes_cores", None): TWO,
    ("latency", "threads_8_gain", 0.0): near(0.9),
    ("latency", "threads_8_gain", 20.0): near(7.1),
    ("latency", "threads_8_gain", 100.0): near(7.9),
    ("own_memory", "process_changes_made", None): exact(10),
    ("own_memory", "process_changes_seen", None): exact(0),
    ("own_memory", "thread_changes_seen", None): exact(10),
    ("memory", "thread_pss_bytes", None): near(2e6),
    ("memory", "process_pss_bytes", None): near(5e6),
    ("payload", "echo_threads_seconds", 0.0): near(20e-6),
    ("payload", "echo_threads_seconds", 155_000.0): near(20e-6),
    ("payload", "echo_threads_seconds", 8_000_000.0): near(25e-6),
    ("payload", "echo_processes_seconds", 0.0): near(130e-6),
    ("payload", "echo_processes_seconds", 155_000.0): near(170e-6),
    ("payload", "echo_processes_seconds", 8_000_000.0): near(9e-3),
    ("payload", "work_processes_gain", 155_000.0): TWO,
    ("payload", "work_threads_seconds", 0.0): near(0.003),
    ("payload", "break_even_payload", None): exact(1.2e6),
    ("startup", "threads_gain", None): near(20),
    ("startup", "thread_seconds", None): near(0.0005),
    ("startup", "process_seconds", None): near(0.012),
    ("startup", "cold_process_seconds", None): near(0.15),
    ("lost_updates", "plain_worst", None): exact(0),
    ("lost_updates", "read_yield_write_worst", None): exact(0.75),
    ("lost_updates", "with_lock_worst", None): exact(0),
    ("lost_updates", "with_queue_worst", None): exact(0),
    ("through_queue", "handed", None): exact(2000),
    ("through_queue", "missing", None): exact(0),
    ("through_queue", "twice", None): exact(0),
    ("hang", "items", None): exact(12),
    ("hang", "process_killed", None): exact(1),
    ("hang", "process_done", None): (11.0, 11.0, 11.0),
    ("hang", "process_recovery_seconds", None): near(0.41),
    ("hang", "thread_hangs_after_seconds", None): exact(1.2),
    ("hang", "serial_hangs_after_seconds", None): exact(1.5),
    ("hang", "serial_done", None): exact(5),
    ("crash", "items", None): exact(12),
    ("crash", "process_lost", None): (1.0, 1.0, 1.0),
    ("crash", "thread_lost", None): exact(9),
    ("crash", "process_run_seconds", None): near(0.035),
    ("crash", "process_clean_run_seconds", None): near(0.02),
}


def judged(claim_id: int, values: Values, failures: Mapping[str, str] | None = None) -> dict[str, Any]:
    numbers: dict[str, list[Number]] = {}
    for (experiment, name, x), (value, low, high) in values.items():
        number = Number(name=name, value=value, unit="x", x=x, low=low, high=high, values=(value,))
        numbers.setdefault(experiment, []).append(number)
    claim = next(claim for claim in CLAIMS if claim.id == claim_id)
    return judge(claim, numbers, failures or {}, JOB)


@pytest.mark.parametrize(
    ("claim_id", "verdict"),
    [(1, HALF), (2, HOLDS), (3, HALF), *((number, HOLDS) for number in range(4, 10)), (10, HALF), (11, HOLDS),
     (12, HOLDS), (13, HOLDS)],
)  # fmt: skip
def test_on_a_quiet_machine_with_a_gil(claim_id: int, verdict: str) -> None:
    found = judged(claim_id, MACHINE)

    assert verdict == found["verdict"], found["meaning"]
    assert found["numbers"]
    assert {number["name"] for number in found["numbers"]} <= {name for _, name, _ in MACHINE}


BLUR, MEDIAN, PYTHON = (("steps", f"{step}.threads_gain", None) for step in ("blur", "median", "python"))
BLUR_P, MEDIAN_P, PYTHON_P = (("steps", f"{step}.processes_gain", None) for step in ("blur", "median", "python"))


@pytest.mark.parametrize(
    ("claim_id", "changes", "verdict"),
    [
        (1, {("python_alone", "pillow_gain", None): near(1.5)}, HOLDS),
        (1, {PYTHON_P: ONE, ("latency", "threads_8_gain", 100.0): ONE}, REFUTED),
        (1, {PYTHON_P: UNCERTAIN}, UNKNOWN),
        (2, {("latency", "threads_8_gain", 20.0): ONE}, HALF),
        (2, {("latency", "threads_8_gain", wait): ONE for wait in (20.0, 100.0)}, REFUTED),
        (2, {("latency", "threads_8_gain", 20.0): UNCERTAIN}, UNKNOWN),
        (3, {BLUR: ONE}, HOLDS),
        (3, {MEDIAN: TWO, PYTHON: TWO}, REFUTED),
        (3, {MEDIAN: UNCERTAIN}, HALF),
        (3, {BLUR: UNCERTAIN}, UNKNOWN),
        (3, {BLUR: ONE, BLUR_P: ONE}, UNKNOWN),
        (3, {("steps", "cores", None): exact(1)}, UNKNOWN),
        (4, {BLUR_P: ONE}, HALF),
        (4, {BLUR_P: ONE, MEDIAN_P: ONE, PYTHON_P: ONE}, REFUTED),
        (4, {BLUR_P: ONE, ("steps", "blur.processes_run_queue", None): near(0.4)}, UNKNOWN),
        (4, {PYTHON_P: UNCERTAIN}, UNKNOWN),
        (4, {("steps", "python.serial_run_queue", None): near(0.4)}, UNKNOWN),
        (3, {("steps", "blur.serial_run_queue", None): near(0.4)}, UNKNOWN),
        (1, {("steps", "python.serial_run_queue", None): near(0.4)}, UNKNOWN),
        (5, {("own_gil", "two_processes_cores", None): ONE}, UNKNOWN),
        (5, {("own_gil", "two_threads_cores", None): TWO}, UNKNOWN),
        (6, {("own_memory", "process_changes_seen", None): exact(10)}, REFUTED),
        (7, {("memory", "thread_pss_bytes", None): near(9e6)}, REFUTED),
        (7, {("memory", "thread_pss_bytes", None): near(5e6)}, UNKNOWN),
        (8, {("payload", "echo_processes_seconds", 155_000.0): near(10e-6)}, REFUTED),
        (8, {("payload", "echo_threads_seconds", 155_000.0): (20e-6, None, None)}, UNKNOWN),
        (9, {("memory", "thread_pss_bytes", None): near(9e6)}, HALF),
        (9, {("startup", "threads_gain", None): near(0.5), ("memory", "thread_pss_bytes", None): near(9e6)}, REFUTED),
        (9, {("startup", "threads_gain", None): UNCERTAIN}, UNKNOWN),
        (10, {("lost_updates", "plain_worst", None): exact(0.3)}, HOLDS),
        (10, {("lost_updates", "with_lock_worst", None): exact(0.3)}, UNKNOWN),
        (10, {("lost_updates", "read_yield_write_worst", None): exact(0),
              ("payload", "echo_threads_seconds", 8_000_000.0): near(9e-3)}, REFUTED),
        (11, {("hang", "thread_hangs_after_seconds", None): exact(0)}, HALF),
        (11, {("hang", "thread_hangs_after_seconds", None): exact(0),
              ("hang", "process_killed", None): exact(0)}, REFUTED),
        (12, {("crash", "process_lost", None): exact(2)}, HALF),
        (12, {("crash", "process_lost", None): exact(2), ("crash", "thread_lost", None): exact(1)}, REFUTED),
        (13, {("lost_updates", "with_queue_worst", None): exact(0.1)}, REFUTED),
        (13, {("through_queue", "missing", None): exact(1)}, REFUTED),
        (13, {("lost_updates", "read_yield_write_worst", None): exact(0)}, UNKNOWN),
    ],
)  # fmt: skip
def test_other_numbers_give_another_verdict(claim_id: int, changes: Values, verdict: str) -> None:
    found = judged(claim_id, MACHINE | changes)

    assert verdict == found["verdict"], found["meaning"]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_without_its_experiments_a_claim_is_not_measured_and_says_which_failed(claim: Any) -> None:
    missing = claim.needs[0]
    left = {key: value for key, value in MACHINE.items() if key[0] != missing}

    found = judged(claim.id, left, {missing: "it was ended after 60 s"})

    assert UNKNOWN == found["verdict"]
    assert f"{missing} gave no" in found["meaning"]
    assert found["meaning"].endswith("it was ended after 60 s")


def test_where_memory_is_not_told_starting_decides_alone() -> None:
    left = {key: value for key, value in MACHINE.items() if key[0] != "memory"}

    assert HOLDS == judged(9, left)["verdict"]


def test_there_are_thirteen_and_their_experiments_are_made_for_claims() -> None:
    assert list(range(1, 14)) == [claim.id for claim in CLAIMS]
    assert {name for claim in CLAIMS for name in claim.needs} == {
        name for name, experiment in BY_NAME.items() if experiment.claims
    }


def test_a_step_of_the_job_that_holds_the_gil_is_named() -> None:
    assert "here median may hold it" in judged(3, MACHINE)["meaning"]


@pytest.mark.parametrize(
    ("gained", "told"),
    [(TWO, "repays it up to 1.2 MB"), (near(0.8), "does not repay it"), (UNCERTAIN, "may or may not repay it")],
    ids=["pays", "does not", "uncertain"],
)
def test_when_processes_repay_the_pipe_is_told_only_where_it_is_known(gained: Any, told: str) -> None:
    found = judged(8, MACHINE | {("payload", "work_processes_gain", 155_000.0): gained})

    assert told in found["meaning"]
