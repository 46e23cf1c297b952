"""Each claim is judged by its figures alone; what is missing or uncertain is `not_measured`, with the reason."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.lab.claims import CLAIMS, ClaimJob, Measurements, judge
from batchproc.lab.experiments import BLUR, EXPERIMENTS, LOOP, MEDIAN
from batchproc.lab.results import Cell, Crossing, Judged, Place, ResultSeries, ResultTable

JOB = ClaimJob(download_mode="thread", download_workers=8, transform_mode="process", holding_steps=("median",), cores=2)
HOLDS, HALF, REFUTED, UNKNOWN = "holds", "holds_here_not_there", "refuted", "not_measured"

# What a quiet machine of two cores gives: (experiment, series, place) -> (value, low, high); at "" a fact.
Values = dict[tuple[str, str, Place], tuple[float, float | None, float | None]]


def near(value: float) -> tuple[float, float, float]:
    return value, 0.98 * value, 1.02 * value


def exact(value: float) -> tuple[float, None, None]:
    return value, None, None


UNCERTAIN = (1.2, 0.8, 1.9)
ONE = near(1.0)
TWO = near(1.9)
STEPS = (BLUR, MEDIAN, LOOP)
WORST = ("lost_updates", "worst round")
HANDED = ("through_queue", "through the thread executor")
WEIGHS = ("memory", "one more weighs (PSS)")
MACHINE: Values = {
    ("python_alone", "gain", "Pillow"): near(220),
    ("steps", "cores", ""): exact(2),
    **{("steps", "processes gain", step): TWO for step in STEPS},
    **{("steps", "processes, waiting for a core", step): near(0.02) for step in STEPS},
    ("steps", "threads gain", BLUR): TWO,
    ("steps", "threads gain", MEDIAN): ONE,
    ("steps", "threads gain", LOOP): ONE,
    ("own_gil", "cores", ""): exact(2),
    ("own_gil", "busy", "two threads"): ONE,
    ("own_gil", "busy", "two processes"): TWO,
    ("latency", "gain at 0 ms", 8.0): near(0.9),
    ("latency", "gain at 20 ms", 8.0): near(7.1),
    ("latency", "gain at 100 ms", 8.0): near(7.9),
    ("own_memory", "made", "processes"): exact(10),
    ("own_memory", "seen by the parent", "processes"): exact(0),
    ("own_memory", "seen by the parent", "threads"): exact(10),
    (*WEIGHS, "a thread"): near(2e6),
    (*WEIGHS, "a process"): near(5e6),
    ("payload", "no work, threads", 0.0): near(20e-6),
    ("payload", "no work, threads", 155_000.0): near(20e-6),
    ("payload", "no work, threads", 8_000_000.0): near(25e-6),
    ("payload", "no work, processes", 0.0): near(130e-6),
    ("payload", "no work, processes", 155_000.0): near(170e-6),
    ("payload", "no work, processes", 8_000_000.0): near(9e-3),
    ("payload", "processes gain", 155_000.0): TWO,
    ("payload", "work, threads", 0.0): near(0.003),
    ("startup", "threads gain", "a thread"): near(20),
    ("startup", "ready after", "a thread"): near(0.0005),
    ("startup", "ready after", "a process"): near(0.012),
    ("startup", "ready after", "the first process"): near(0.15),
    (*WORST, "x += 1"): exact(0),
    (*WORST, "read, yield, write"): exact(0.75),
    (*WORST, "with a lock"): exact(0),
    (*WORST, "through a queue"): exact(0),
    (*HANDED, "handed over"): exact(2000),
    (*HANDED, "missing"): exact(0),
    (*HANDED, "twice"): exact(0),
    ("hang", "items", ""): exact(12),
    ("hang", "deadline_seconds", ""): exact(0.3),
    ("hang", "killed at the deadline", "process"): exact(1),
    ("hang", "done", "process"): exact(11),
    ("hang", "through after", "process"): near(0.41),
    ("hang", "still hanging after", "thread"): exact(1.2),
    ("hang", "still hanging after", "serial"): exact(1.5),
    ("hang", "done", "serial"): exact(5),
    ("crash", "items", ""): exact(12),
    ("crash", "lost", "process"): (1.0, 1.0, 1.0),
    ("crash", "lost", "thread"): exact(9),
    ("crash", "a run with a crash", "process"): near(0.035),
    ("crash", "a run without", "process"): near(0.02),
}


def tables_of(values: Values) -> dict[str, ResultTable]:
    found: dict[str, ResultTable] = {}
    for (experiment, name, x), (value, low, high) in values.items():
        table = found.setdefault(experiment, ResultTable(x="place", series=()))
        if x == "":
            found[experiment] = replace(table, facts={**table.facts, name: value})
            continue
        cell = Cell(x=x, value=value, low=low, high=high, values=(value,))
        cells = (*(one.cells if (one := table.find(name)) else ()), cell)
        rest = tuple(one for one in table.series if one.name != name)
        found[experiment] = replace(table, series=(*rest, ResultSeries(name=name, unit="x", cells=cells)))
    if "payload" in found:
        met = Crossing(first="work, threads", second="work, processes", measured=(1.2e6,))
        found["payload"] = replace(found["payload"], crossings=(met,))
    return found


def judged(claim_id: int, values: Values, failures: Mapping[str, str] | None = None) -> Judged:
    claim = next(claim for claim in CLAIMS if claim.id == claim_id)
    return judge(claim, Measurements(tables=tables_of(values), failures=failures or {}), JOB)


@pytest.mark.parametrize(
    ("claim_id", "verdict"),
    [(1, HALF), (2, HOLDS), (3, HALF), *((number, HOLDS) for number in range(4, 10)), (10, HALF), (11, HOLDS),
     (12, HOLDS), (13, HOLDS)],
)  # fmt: skip
def test_on_a_quiet_machine_with_a_gil(claim_id: int, verdict: str) -> None:
    found = judged(claim_id, MACHINE)

    assert verdict == found.verdict, found.meaning
    assert {name for _, name, _ in MACHINE} >= {number.name for number in found.numbers} > set()


BLUR_T, MEDIAN_T, LOOP_T = (("steps", "threads gain", step) for step in STEPS)
BLUR_P, MEDIAN_P, LOOP_P = (("steps", "processes gain", step) for step in STEPS)


@pytest.mark.parametrize(
    ("claim_id", "changes", "verdict"),
    [
        (1, {("python_alone", "gain", "Pillow"): near(1.5)}, HOLDS),
        (1, {LOOP_P: ONE, ("latency", "gain at 100 ms", 8.0): ONE}, REFUTED),
        (1, {LOOP_P: UNCERTAIN}, UNKNOWN),
        (2, {("latency", "gain at 20 ms", 8.0): ONE}, HALF),
        (2, {("latency", f"gain at {wait} ms", 8.0): ONE for wait in (20, 100)}, REFUTED),
        (2, {("latency", "gain at 20 ms", 8.0): UNCERTAIN}, UNKNOWN),
        (3, {BLUR_T: ONE}, HOLDS),
        (3, {MEDIAN_T: TWO, LOOP_T: TWO}, REFUTED),
        (3, {MEDIAN_T: UNCERTAIN}, HALF),
        (3, {BLUR_T: UNCERTAIN}, UNKNOWN),
        (3, {BLUR_T: ONE, BLUR_P: ONE}, UNKNOWN),
        (3, {("steps", "cores", ""): exact(1)}, UNKNOWN),
        (4, {BLUR_P: ONE}, HALF),
        (4, {BLUR_P: ONE, MEDIAN_P: ONE, LOOP_P: ONE}, REFUTED),
        (4, {BLUR_P: ONE, ("steps", "processes, waiting for a core", BLUR): near(0.4)}, UNKNOWN),
        (4, {LOOP_P: UNCERTAIN}, UNKNOWN),
        (4, {("steps", "serial, waiting for a core", LOOP): near(0.4)}, UNKNOWN),
        (3, {("steps", "serial, waiting for a core", BLUR): near(0.4)}, UNKNOWN),
        (1, {("steps", "serial, waiting for a core", LOOP): near(0.4)}, UNKNOWN),
        (5, {("own_gil", "busy", "two processes"): ONE}, UNKNOWN),
        (5, {("own_gil", "busy", "two threads"): TWO}, UNKNOWN),
        (6, {("own_memory", "seen by the parent", "processes"): exact(10)}, REFUTED),
        (7, {(*WEIGHS, "a thread"): near(9e6)}, REFUTED),
        (7, {(*WEIGHS, "a thread"): near(5e6)}, UNKNOWN),
        (8, {("payload", "no work, processes", 155_000.0): near(10e-6)}, REFUTED),
        (8, {("payload", "no work, threads", 155_000.0): (20e-6, None, None)}, UNKNOWN),
        (9, {(*WEIGHS, "a thread"): near(9e6)}, HALF),
        (9, {("startup", "threads gain", "a thread"): near(0.5), (*WEIGHS, "a thread"): near(9e6)}, REFUTED),
        (9, {("startup", "threads gain", "a thread"): UNCERTAIN}, UNKNOWN),
        (10, {(*WORST, "x += 1"): exact(0.3)}, HOLDS),
        (10, {(*WORST, "with a lock"): exact(0.3)}, UNKNOWN),
        (10, {(*WORST, "read, yield, write"): exact(0),
              ("payload", "no work, threads", 8_000_000.0): near(9e-3)}, REFUTED),
        (11, {("hang", "still hanging after", "thread"): exact(0)}, HALF),
        (11, {("hang", "still hanging after", "thread"): exact(0),
              ("hang", "killed at the deadline", "process"): exact(0)}, REFUTED),
        (12, {("crash", "lost", "process"): exact(2)}, HALF),
        (12, {("crash", "lost", "process"): exact(2), ("crash", "lost", "thread"): exact(1)}, REFUTED),
        (13, {(*WORST, "through a queue"): exact(0.1)}, REFUTED),
        (13, {(*HANDED, "missing"): exact(1)}, REFUTED),
        (13, {(*WORST, "read, yield, write"): exact(0)}, UNKNOWN),
    ],
)  # fmt: skip
def test_other_numbers_give_another_verdict(claim_id: int, changes: Values, verdict: str) -> None:
    found = judged(claim_id, MACHINE | changes)

    assert verdict == found.verdict, found.meaning


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_without_its_experiments_a_claim_is_not_measured_and_says_which_failed(claim: Any) -> None:
    missing = claim.needs[0]
    left = {key: value for key, value in MACHINE.items() if key[0] != missing}

    found = judged(claim.id, left, {missing: "it was ended after 60 s"})

    assert UNKNOWN == found.verdict
    assert f"{missing} gave no" in found.meaning
    assert found.meaning.endswith("it was ended after 60 s")


def test_where_memory_is_not_told_starting_decides_alone() -> None:
    left = {key: value for key, value in MACHINE.items() if key[0] != "memory"}

    assert HOLDS == judged(9, left).verdict


def test_there_are_thirteen_and_their_experiments_are_made_for_claims() -> None:
    assert list(range(1, 14)) == [claim.id for claim in CLAIMS]
    assert {name for claim in CLAIMS for name in claim.needs} == {
        name for name, experiment in EXPERIMENTS.items() if experiment.claims
    }


def test_a_step_of_the_job_that_holds_the_gil_is_named() -> None:
    assert "here median may hold it" in judged(3, MACHINE).meaning


@pytest.mark.parametrize(
    ("gained", "told"),
    [(TWO, "repays it up to 1.2 MB"), (near(0.8), "does not repay it"), (UNCERTAIN, "may or may not repay it")],
    ids=["pays", "does not", "uncertain"],
)
def test_when_processes_repay_the_pipe_is_told_only_where_it_is_known(gained: Any, told: str) -> None:
    found = judged(8, MACHINE | {("payload", "processes gain", 155_000.0): gained})

    assert told in found.meaning
