"""phi: the share of a stage's CPU that holds the GIL, estimated from this run's CPU per step and what each step holds.

A normal run has no probe, so phi comes from two sources: what the run's record says of each step (`StepRecord`, as it
was measured for its class, or declared by a custom step), and how much CPU this run spent in it. On top comes the
Python around every step, which always holds it. A custom step that declares nothing may hold all of its CPU or none:
where threads worked side by side, what they waited for the GIL tells. So phi is an interval with a point in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from batchproc.explain.predict import held_fraction
from batchproc.explain.reasons import GilDoubt, GilMethod
from batchproc.record.explanation import Value
from batchproc.record.run_parts import StageRecord

STEP = "steps."  # before its name, a step's part of the time
LEAST_TOGETHER = 0.5  # of their time at work, for threads whose waiting tells something
# Seconds of CPU per image of the Python around the parts that are no steps, measured on images of 16 x 16 px, where the
# pixels cost nothing: CPython 3.11, Pillow 13.0, x86-64, the least of five repetitions.
GLUE_SECONDS: Mapping[str, float] = {
    "decode": 70e-6,
    "encode": 65e-6,
    "write": 75e-6,
}
STEP_GLUE_SECONDS = 25e-6  # of a step that does not say it
SURPRISING_WAIT = 0.25  # of their time, for threads that together hold the GIL less than all the time
GLUE_LOW, GLUE_HIGH = 0.5, 3.0  # other machines, and allocations that grow with the image
# A download's CPU is Python, which holds the GIL, and system calls, which release it: user time was 0.51 to 0.67 of the
# CPU of a thread that fetched 233 images of 146 KB over plain HTTP (getrusage(2) with RUSAGE_THREAD, three times).
DOWNLOAD_LOW, DOWNLOAD_POINT, DOWNLOAD_HIGH = 0.4, 0.6, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class GilShare:
    """Share of a stage's CPU that holds the GIL: a point in an interval, all 0 to 1, and how it was found."""

    low: float
    point: float
    high: float
    method: GilMethod
    doubt: GilDoubt = GilDoubt.NONE
    waits: Mapping[str, float] = field(default_factory=dict)  # what the doubt follows from, as shares of the time

    @property
    def values(self) -> dict[str, Value]:
        """What a sentence may say of it."""
        shares = {"phi": self.point if self.is_known else None, "phi_low": self.low, "phi_high": self.high}
        return {**shares, "phi_method": self.method, "phi_doubt": self.doubt, **self.waits}

    @property
    def is_known(self) -> bool:
        """Whether the interval is narrow enough to conclude anything."""
        return self.high - self.low <= 0.5


def transform_share(stage: StageRecord, *, encoder_releases: bool) -> GilShare | None:
    """phi of the transform stage; None when it did nothing."""
    cpu, tasks = stage.cpu_seconds, stage.tasks
    if not cpu or not tasks:
        return None
    low = point = high = 0.0
    holds: dict[str, bool | None] = {"decode": False, "encode": not encoder_releases, "write": False}
    holds |= {f"{STEP}{step.op}": step.holds_gil for step in stage.steps}
    for part, seconds in stage.parts_cpu.items():
        least, middle, most = _held_seconds(seconds, tasks * _glue_seconds(part, stage), holds=holds.get(part))
        low, point, high = low + least, point + middle, high + most
    rest = max(0.0, cpu - sum(stage.parts_cpu.values()))  # of items that failed on the way, and the header's checks
    estimate = GilShare(
        low=min(1.0, low / cpu),
        point=min(1.0, (point + rest / 2) / cpu),
        high=min(1.0, (high + rest) / cpu),
        method=GilMethod.SOURCE,
    )
    return _checked(estimate, stage)


def download_share(stage: StageRecord) -> GilShare | None:
    """phi of the download stage: Python holds the GIL, system calls release it; not told apart in a normal run."""
    if not stage.tasks or not stage.cpu_seconds:
        return None
    return GilShare(
        low=DOWNLOAD_LOW,
        point=DOWNLOAD_POINT,
        high=DOWNLOAD_HIGH,
        method=GilMethod.TYPICAL,
    )


def gil_wait_share(stage: StageRecord) -> float | None:
    """Waiting for the GIL against the time in which transform threads had an image in hand; None: it cannot be told.

    Only threads beside threads can tell: one alone, or a process, has nobody to wait for.
    """
    waited, busy = stage.account.get("gil_wait"), stage.busy_seconds
    if stage.mode != "thread" or stage.workers < 2 or waited is None or not busy:
        return None
    return min(1.0, waited / busy)


def _checked(estimate: GilShare, stage: StageRecord) -> GilShare:
    """The estimate against the measured waiting for the GIL: where they contradict each other, less is claimed.

    n threads that always want the GIL for a share phi of their work wait for at least 1 - 1/(n phi) of their time.
    """
    waited, threads = gil_wait_share(stage), stage.workers
    if waited is None:
        return estimate
    error = 2.0 * (stage.gil_error_seconds or 0.0) / stage.busy_seconds
    demand = threads * estimate.low
    expected = 1.0 - 1.0 / demand if demand > 1.0 else 0.0
    if not estimate.is_known and (measured := _measured(stage)) is not None:
        return measured
    waits = {"waited": waited, "waited_expected": expected}
    if waited + error < expected / 2.0:
        return replace(estimate, low=0.0, doubt=GilDoubt.WAITED_LESS, waits=waits)
    if waited - error > SURPRISING_WAIT and threads * estimate.high < 1.0:
        return replace(estimate, high=1.0, doubt=GilDoubt.WAITED_MORE, waits=waits)
    return estimate


def _measured(stage: StageRecord) -> GilShare | None:
    """From the waiting of threads beside each other; None where they were too seldom at work together to tell.

    A thread that waits for the GIL wakes up every 5 ms to ask for it, and where cores are short it waits for one first:
    some of the waiting for a core may be waiting for the GIL.
    """
    utilisation, cpu, waited = stage.utilisation or 0.0, stage.cpu_seconds, stage.account["gil_wait"]
    if utilisation < LEAST_TOGETHER:
        return None
    error = 2.0 * (stage.gil_error_seconds or 0.0)

    def held(seconds: float) -> tuple[float, float]:
        return held_fraction(1.0 / (1.0 + max(0.0, seconds) / (cpu * utilisation)), stage.workers)

    at_most = waited + stage.account.get("run_queue", 0.0)
    return GilShare(
        low=held(waited - error)[0],
        point=fmean((*held(waited), *held(at_most))),
        high=held(at_most + error)[1],
        method=GilMethod.THREADS,
    )


def held_step_seconds(stage: StageRecord) -> float:
    """CPU of the steps that are known to hold the GIL."""
    return sum(stage.parts_cpu.get(f"{STEP}{step.op}", 0.0) for step in stage.steps if step.holds_gil)


def _glue_seconds(part: str, stage: StageRecord) -> float:
    """CPU per image of the Python around a part."""
    said = next((step.overhead_seconds for step in stage.steps if f"{STEP}{step.op}" == part), None)
    return GLUE_SECONDS.get(part, STEP_GLUE_SECONDS) if said is None else said


def _held_seconds(cpu: float, glue: float, *, holds: bool | None) -> tuple[float, float, float]:
    """Least, likely and most seconds of a part's CPU that hold the GIL; `glue`: those of the Python around it."""
    if holds is None:
        return 0.0, cpu / 2, cpu
    if holds:
        return cpu, cpu, cpu
    return min(cpu, GLUE_LOW * glue), min(cpu, glue), min(cpu, GLUE_HIGH * glue)
