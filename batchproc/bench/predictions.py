"""Who should win, and by how much, written down before the first round; what was measured is put beside it afterwards.

Two small runs through the pipeline give the parameters of the model of `explain.predict`: serial + serial the times of
an image (c, W, phi, glue), process + process what pipes and starts of processes cost, and what a custom step holds the
GIL for, which nothing in a serial run can tell.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import asdict, replace

from batchproc.bench.bench_json import BenchCalibration, BenchPrediction
from batchproc.bench.spec import Bounds, Case, named
from batchproc.explain.predict import Limit, Prediction, predict
from batchproc.explain.run_model import RunModel, measure
from batchproc.explain.words import seconds, share
from batchproc.model import Mode
from batchproc.record.explanation import ExecutionPlan, JobModel, StageModel, StartCosts
from batchproc.record.run_json import RunRecord

CALIBRATION_ITEMS = 48
KNOWN_KEYS = frozenset(("download.workers", "transform.workers", "download.per_host"))
NOTHING = StageModel(cpu_seconds=0.0, phi=0.0)
PHI_ENDS = ("low", "high")
AS_FAST = 1.02  # of predicted rates: no model is that good, so the lighter case is the favourite


class Calibration(Struct, frozen=True, kw_only=True):
    """The model's parameters, with the GIL shares at their likely value and at both ends."""

    likely: JobModel
    ends: tuple[JobModel, ...]
    miss: float
    text: str

    def describe(self) -> BenchCalibration:
        """What bench.json says of it."""
        low, high = (end.transform.phi for end in self.ends)
        return BenchCalibration(
            **asdict(self.likely), phi_transform_low=low, phi_transform_high=high,
            miss_of_its_own_run=self.miss, text=self.text,
        )  # fmt: skip


def sample(paths: Sequence[str], most: int = CALIBRATION_ITEMS) -> list[str]:
    """Up to `most` of the paths, evenly spread over the list."""
    count = min(len(paths), most)
    return [paths[index * len(paths) // count] for index in range(count)]


def is_gil_known(run: RunModel | None) -> bool:
    """Whether a run tells what the transform stage holds the GIL for."""
    held = run.shares["transform"] if run else None
    return held is not None and held.is_known


def calibrate(serial: RunRecord, process: RunRecord | None, *, items: int, cores: int) -> Calibration | None:
    """The model from the records of the small runs; None when they are too small to say anything.

    The machine is taken to be free, as rounds in which it is not are run again.
    """
    alone, piped = measure(serial), measure(process) if process else None
    if alone is None:
        return None
    if piped is not None and not is_gil_known(alone):
        alone = replace(alone, shares={**alone.shares, "transform": piped.shares["transform"]})

    def model(job: JobModel) -> JobModel:
        return replace(
            job,
            download=_with_pipe(job.download, piped.job.download if piped else None),
            transform=_with_pipe(job.transform, piped.job.transform if piped else None),
            items=items,
            cores=float(cores),
            start=_start(piped) if piped else job.start,
        )

    return Calibration(
        likely=model(alone.with_phi("point")),
        ends=tuple(model(alone.with_phi(end)) for end in PHI_ENDS),
        miss=alone.miss,
        text=_text(alone),
    )


def predict_cases(
    calibration: Calibration | None, cases: Sequence[Case], bounds: Mapping[str, Bounds]
) -> list[BenchPrediction]:
    """Rate, ratio of times to the baseline, what binds. Unknown is None, with why."""
    if calibration is None:
        why = "the calibration was too small to predict from"
        return [_unknown(case, why) for case in cases]
    known = named(cases)
    return [
        _predict_case(calibration, case, known[case.baseline] if case.alone else cases[0], bounds) for case in cases
    ]


def favourite_of(predictions: Sequence[BenchPrediction], cases: Sequence[Case]) -> str:
    """The predicted winner: the lightest of those that are predicted as fast as the fastest; empty when unknown."""
    whole = {case.name for case in cases if not case.alone}
    rates = {row.case: row.rate_per_second for row in predictions if row.case in whole and row.rate_per_second}
    if not rates:
        return ""
    best = max(rates.values())
    near = [case for case in cases if not case.alone and rates.get(case.name, 0.0) * AS_FAST >= best]
    return min(near, key=lambda case: (case.weight, -rates[case.name])).name


def with_measured(
    predictions: Sequence[BenchPrediction], medians: Mapping[str, float], ratios: Mapping[str, float]
) -> list[BenchPrediction]:
    """The predictions with the median rate and the ratio that were measured, and the error of the predicted ratio."""
    rows = []
    for row in predictions:
        measured, rate = ratios.get(row.case), medians.get(row.case)
        error = row.ratio / measured - 1.0 if row.ratio and measured else None
        rows.append(replace(row, measured_rate_per_second=rate, measured_ratio=measured, error=error))
    return rows


def _predict_case(
    calibration: Calibration, case: Case, baseline: Case, bounds: Mapping[str, Bounds]
) -> BenchPrediction:
    strange = [key for key, _ in case.varied if key not in KNOWN_KEYS]
    if strange:
        return _unknown(case, f"the model does not know {', '.join(strange)}")
    likely = _predicted(calibration.likely, case, bounds)
    ratios = [
        _predicted(job, case, bounds).seconds / _predicted(job, baseline, bounds).seconds
        for job in (calibration.likely, *calibration.ends)
    ]
    return BenchPrediction(
        case=case.name,
        rate_per_second=likely.rate_per_second,
        seconds=likely.seconds,
        ratio=ratios[0],
        low=min(ratios),
        high=max(ratios),
        start_seconds=likely.start_seconds,
        bound=likely.bound.name,
        bound_stage=likely.bound.stage,
        because=_because(likely.bound, calibration.likely, case, bounds[case.name]),
    )


def _predicted(job: JobModel, case: Case, bounds: Mapping[str, Bounds]) -> Prediction:
    known = bounds[case.name]
    plan = ExecutionPlan(
        download=case.download.value,
        download_workers=known.download_workers,
        transform=case.transform.value,
        transform_workers=known.transform_workers,
    )
    if case.alone:
        job, plan = _only(job, plan, case.alone)
    return predict(replace(job, connections=known.per_host), plan)


def _only(job: JobModel, plan: ExecutionPlan, stage: str) -> tuple[JobModel, ExecutionPlan]:
    """The model of one stage by itself: the other one costs nothing, and nobody hears of the outcomes."""
    job = replace(job, glue_seconds=0.0)
    if stage == "download":
        return replace(job, transform=NOTHING), replace(plan, transform="serial")
    return replace(job, download=NOTHING, origin_cpu_seconds=0.0), replace(plan, download="serial")


def _unknown(case: Case, why: str) -> BenchPrediction:
    return BenchPrediction(case=case.name, because=f"unknown: {why}")


def _because(bound: Limit, job: JobModel, case: Case, known: Bounds) -> str:
    """One clause: what the model says holds this case back."""
    if bound.name == "cores":
        return f"all {job.cores:g} cores are busy"
    if bound.name == "gil":
        return "the threads take turns at the GIL of the main process"
    if bound.name == "pipe":
        return "the main process does nothing but hand images to processes"
    if bound.name == "per_host":
        return f"{known.per_host} connections to the one origin are all in use"
    if bound.stage is None:
        return f"one thread, {seconds(1.0 / bound.rate_per_second)} per image"
    stage: StageModel = getattr(job, bound.stage)
    mode: Mode = getattr(case, bound.stage)
    number = 1 if mode is Mode.SERIAL else getattr(known, f"{bound.stage}_workers")
    took = f"{seconds(stage.blocked_seconds + stage.cpu_seconds)} per image"
    return f"{bound.stage} has {number} worker{'' if number == 1 else 's'}, {took}"


def _with_pipe(stage: StageModel, piped: StageModel | None) -> StageModel:
    """The stage with the pipe's cost from the run that had pipes."""
    if piped is None:
        return stage
    return replace(
        stage, ipc_worker_seconds=piped.ipc_worker_seconds, ipc_parent_seconds=piped.ipc_parent_seconds
    )


def _start(run: RunModel) -> StartCosts:
    """What processes cost to start, by what the run in processes took beside its steady pace."""
    plan, start = run.plan, run.job.start
    number = sum(
        workers
        for mode, workers in (
            (plan.download, plan.download_workers),
            (plan.transform, plan.transform_workers),
        )
        if mode == "process"
    )
    missing = run.working_seconds - predict(run.job, plan).seconds
    each = start.per_process_cpu_seconds + missing * max(1.0, min(run.job.cores, number)) / number
    return replace(start, per_process_cpu_seconds=max(0.0, each))


def _text(run: RunModel) -> str:
    download, transform = run.job.download, run.job.transform
    held = run.shares["transform"]
    gil = f"the GIL held for {share(held.low)} to {share(held.high)} of it" if held else "the GIL's share unknown"
    return (
        f"an image takes {seconds(download.blocked_seconds)} of waiting and {seconds(download.cpu_seconds)} of CPU to "
        f"download, and {seconds(transform.cpu_seconds)} of CPU to transform, with {gil}"
    )
