"""Predictions are made from the model alone, and the measured ratio is only put beside them."""

import pytest
from msgspec.structs import replace

from batchproc.bench.bench_json import BenchPrediction
from batchproc.bench.predictions import (
    Bounds,
    Calibration,
    calibrate,
    favourite_of,
    is_gil_known,
    predict_cases,
    sample,
    with_measured,
)
from batchproc.bench.spec import Case, make_alone_cases, make_cases
from batchproc.explain.run_model import measure
from batchproc.record.explanation import JobModel, StageModel, StartCosts
from batchproc.record.run_json import MachineRecord, RunCounts, RunRecord
from batchproc.record.run_parts import ModeName, StageRecord, StepRecord

CASES = make_cases(("serial", "thread", "process"), {})


def calibration(*, phi: float = 0.1, cpu: float = 0.015, wait: float = 0.02, items: int = 1000) -> Calibration:
    """Two cores; the pipe costs 0.4 ms, a process 0.1 s."""

    def job(held: float) -> JobModel:
        pipe = {"ipc_worker_seconds": 0.2e-3, "ipc_parent_seconds": 0.2e-3}
        return JobModel(
            download=StageModel(cpu_seconds=0.6e-3, phi=0.7, blocked_seconds=wait, **pipe),
            transform=StageModel(cpu_seconds=cpu, phi=held, **pipe),
            items=items,
            cores=2.0,
            glue_seconds=0.4e-3,
            start=StartCosts(first_process_seconds=0.1, per_process_cpu_seconds=0.012),
        )

    return Calibration(likely=job(phi), ends=(job(phi / 2), job(min(1.0, phi * 1.5))), miss=0.0, text="")


def bounds(cases: tuple[Case, ...] = CASES) -> dict[str, Bounds]:
    return {case.name: Bounds(download_workers=8, transform_workers=2, per_host=8) for case in cases}


def test_every_case_has_a_ratio_inside_its_range_and_the_baseline_has_one() -> None:
    rows = predict_cases(calibration(), CASES, bounds())

    assert [case.name for case in CASES] == [row.case for row in rows]
    assert (1.0, 1.0, 1.0) == (rows[0].low, rows[0].ratio, rows[0].high)
    assert all(row.low <= row.ratio <= row.high for row in rows)
    assert all(row.because for row in rows)


@pytest.mark.parametrize(
    ("phi", "winner"),
    [(0.05, "thread+thread"), (1.0, "thread+process")],
    ids=["GIL let go", "GIL held"],
)
def test_the_gil_decides_who_is_predicted_to_win(phi: float, winner: str) -> None:
    rows = predict_cases(calibration(phi=phi), CASES, bounds())

    assert winner == favourite_of(rows, CASES)


def test_a_stage_alone_is_predicted_against_itself_and_is_no_favourite() -> None:
    cases = CASES + make_alone_cases(CASES)

    rows = {row.case: row.ratio for row in predict_cases(calibration(), cases, bounds(cases))}

    assert 1.0 == rows["download alone: serial"] == rows["transform alone: serial"]
    assert 1 / 8 == pytest.approx(rows["download alone: thread"], rel=0.05)  # eight workers that wait
    assert 1 / 2 == pytest.approx(rows["transform alone: thread"], rel=0.05)  # two cores
    listed = [BenchPrediction(case=case.name, rate_per_second=99.0 if case.alone else 1.0) for case in cases]
    assert "serial+serial" == favourite_of(listed, cases)


def test_a_small_job_does_not_pay_for_processes() -> None:
    few = predict_cases(calibration(phi=1.0, items=5), CASES, bounds())

    assert favourite_of(few, CASES) in ("thread+serial", "thread+thread")


def test_of_cases_as_fast_as_each_other_the_lightest_is_the_favourite() -> None:
    rates = {"serial+serial": 10.0, "thread+process": 100.0, "thread+thread": 99.0, "serial+thread": 97.0}
    rows = [BenchPrediction(case=name, rate_per_second=rate) for name, rate in rates.items()]

    assert "thread+thread" == favourite_of(rows, CASES)


def test_what_the_model_does_not_know_is_said_to_be_unknown() -> None:
    cases = make_cases(("thread",), {"transform.quality": ["fast", "exact"], "download.per_host": [2]})

    rows = predict_cases(calibration(), cases, bounds(cases))

    assert [None] * 4 == [row.ratio for row in rows]
    assert all("transform.quality" in row.because for row in rows)
    assert "" == favourite_of(rows, cases)


def test_without_a_calibration_everything_is_unknown() -> None:
    rows = predict_cases(None, CASES, bounds())

    assert {None} == {row.rate_per_second for row in rows}
    assert "" == favourite_of(rows, CASES)


def test_a_run_that_did_nothing_gives_no_calibration() -> None:
    assert calibrate(RunRecord(line_seconds=0.1), None, items=9, cores=2) is None


def test_the_error_is_that_of_the_ratio() -> None:
    rows = [BenchPrediction(case=name, ratio=ratio) for name, ratio in (("a", 0.6), ("b", None), ("c", 0.5))]

    found = with_measured(rows, {"a": 80.0, "b": 70.0}, {"a": 0.5, "b": 0.4})

    assert [pytest.approx(0.2), None, None] == [row.error for row in found]
    assert [80.0, 70.0, None] == [row.measured_rate_per_second for row in found]
    assert [0.5, 0.4, None] == [row.measured_ratio for row in found]


def test_the_sample_is_spread_over_the_whole_list() -> None:
    paths = [str(number) for number in range(100)]

    assert ["0", "25", "50", "75"] == sample(paths, 4)
    assert paths == sample(paths, 500)


def small_run(mode: ModeName, *, held: float | None, seconds: float) -> RunRecord:
    """40 items, each with 1 ms of download and 20 ms of a custom step, by two workers where there are processes."""
    workers = 1 if mode == "serial" else 2
    transform = StageRecord(
        mode=mode,
        workers=workers,
        tasks=40,
        cpu_seconds=0.8,
        busy_seconds=0.8,
        utilisation=0.8 / (workers * seconds),
        account={"cpu": 0.8, "starved": 0.0},
        parts_cpu={"steps.mine:work": 0.8},
        steps=(StepRecord(op="mine:work", gil_held_fraction=held, gil_asks=0 if held is None else 100),),
    )
    account = {"cpu": 0.04, "starved": 0.0}
    download = replace(transform, cpu_seconds=0.04, busy_seconds=0.04, account=account, parts_cpu={}, steps=())
    return RunRecord(
        line_seconds=seconds,
        counts=RunCounts(processed=40, done=40),
        host=MachineRecord(cores=2),
        stages={"download": download, "transform": transform},
    )


@pytest.mark.parametrize(("held", "ratio"), [(1.0, 1.0), (0.0, 0.5)], ids=["all Python", "lets the GIL go"])
def test_what_a_custom_step_holds_comes_from_the_run_in_processes(held: float, ratio: float) -> None:
    serial, process = small_run("serial", held=None, seconds=0.88), small_run("process", held=held, seconds=0.45)
    found = calibrate(serial, process, items=1000, cores=2)

    rows = {row.case: row for row in predict_cases(found, CASES, bounds())}

    assert not is_gil_known(measure(serial))
    assert ratio == pytest.approx(rows["serial+thread"].ratio, rel=0.25)


def test_a_start_of_processes_costs_what_the_run_in_processes_took_beside_its_pace() -> None:
    serial = small_run("serial", held=None, seconds=0.88)
    starts = []
    for seconds in (0.85, 1.05, 0.2):
        found = calibrate(serial, small_run("process", held=1.0, seconds=seconds), items=1000, cores=2)
        assert found is not None
        starts.append(found.likely.start.per_process_cpu_seconds)

    assert 0.2 * 2 / 4 == pytest.approx(starts[1] - starts[0])  # four processes share two cores
    assert 0.0 == starts[2]
