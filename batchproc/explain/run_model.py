"""From the record of a run to the parameters of the model: what was measured, and what had to be assumed.

phi is the share of a stage's CPU that holds the GIL. A normal run has no probe, so it comes from two sources: what the
record says of each step (`StepRecord`, as it was measured for its class, or declared by a custom step), and how much
CPU this run spent in it. On top comes the Python around every step, which always holds it. Of a custom step that
declares nothing worker processes ask for the GIL while it works, and threads side by side wait for it; a run that has
neither knows nothing of it. So phi is an interval with a point in it."""

import math
from collections.abc import Mapping
from statistics import fmean

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc.explain.predict import cpu_bound_share, held_fraction, predict
from batchproc.record.explanation import ExecutionPlan, GilDoubt, GilMethod, JobModel, StageModel, StartCosts, Value
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import ModeName, StageRecord, StepRecord

STEP = "steps."  # before its name, a step's part of the time
LEAST_ASKS = 10  # for the GIL, to say anything of a step
NORMAL = 1.96  # standard deviations on either side hold 95%
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


class GilShare(Struct, frozen=True, kw_only=True):
    """Share of a stage's CPU that holds the GIL: a point in an interval, all 0 to 1, and how it was found."""

    low: float
    point: float
    high: float
    method: GilMethod
    brief: float = 1.0  # share of the CPU that holds it for moments, which nobody waits for
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
    asked = {f"{STEP}{step.op}": step for step in stage.steps if step.gil_asks >= LEAST_ASKS}
    holds: dict[str, bool | None] = {"decode": False, "encode": not encoder_releases, "write": False}
    holds |= {f"{STEP}{step.op}": step.holds_gil for step in stage.steps}
    for part, seconds in stage.parts_cpu.items():
        least, middle, most = (
            tuple(seconds * end for end in asked_fraction(asked[part]))
            if part in asked
            else _held_seconds(seconds, tasks * _part_glue_seconds(part, stage), holds=holds.get(part))
        )
        low, point, high = low + least, point + middle, high + most
    rest = max(0.0, cpu - sum(stage.parts_cpu.values()))  # of items that failed on the way, and the header's checks
    estimate = GilShare(
        low=min(1.0, low / cpu),
        point=min(1.0, (point + rest / 2) / cpu),
        high=min(1.0, (high + rest) / cpu),
        brief=_brief_share(stage, holds),
        method=GilMethod.ASKED if asked else GilMethod.SOURCE,
    )
    return _checked(estimate, stage)


def _brief_share(stage: StageRecord, holds: Mapping[str, bool | None]) -> float:
    """Share of the CPU that holds the GIL for moments: the Python around the parts. 1 where no part holds it longer."""
    if not any(holds.get(part) is not False for part in stage.parts_cpu):
        return 1.0
    glue = sum(_part_glue_seconds(part, stage) for part in stage.parts_cpu)
    return min(1.0, stage.tasks * glue / stage.cpu_seconds)


def _turn_seconds(cpu: float, phi: float, share: GilShare | None) -> float:
    """For how long at a stretch an item's steps hold the GIL, by the CPU of the item and what all in all holds it."""
    return cpu * max(0.0, phi - share.brief) if share else 0.0


def asked_fraction(step: StepRecord) -> tuple[float, float, float]:
    """The GIL-held fraction of a step whose workers asked for the GIL: the ends of its 95% interval, it in the middle.

    By Wilson's score (Journal of the American Statistical Association 22, 1927): an ask meets a held GIL or a free one.
    """
    found, asks = step.gil_held_fraction or 0.0, step.gil_asks
    whole = 1.0 + NORMAL**2 / asks
    middle = (found + NORMAL**2 / (2.0 * asks)) / whole
    reach = NORMAL / whole * math.sqrt(found * (1.0 - found) / asks + (NORMAL / (2.0 * asks)) ** 2)
    return max(0.0, middle - reach), found, min(1.0, middle + reach)


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
        return replace(measured, brief=estimate.brief)
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


def _part_glue_seconds(part: str, stage: StageRecord) -> float:
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


# What a run without worker processes cannot measure: seconds of CPU per item on either side of the pipe, and of a
# start. Rounded from runs of the demo and of the executors' own benchmark: CPython 3.11, Linux 6.18, x86-64, images
# of 140 KB, forkserver with Pillow preloaded.
TYPICAL_IPC_PARENT_SECONDS = 0.25e-3
TYPICAL_IPC_WORKER_SECONDS = 0.2e-3
TYPICAL_FIRST_PROCESS_SECONDS = 0.25
TYPICAL_PROCESS_CPU_SECONDS = 0.012
TYPICAL_GLUE_SECONDS = 1.0e-3
FIT_LIMIT = 0.25  # a model that misses the run it was made from by more says nothing about others
LEAST_ERROR = 0.10  # of a predicted ratio, even where the model hits its own run
QUIET = 0.10  # others' share of the CPU below that is not noise (EVIDENCE section 4)
FAIR_SHARE = 0.5  # of the cores, against neighbours that only took what this run left idle
LEAST_FREE = 0.1
SOME = 0.1  # of a time: enough to be told
MOSTLY_STARVED = 0.3  # of its workers' time, a stage certainly was not what held the run back
PRESSED = 0.9  # with this share of the machine busy, what others used is what they took from this run


BLOCKED = ("network", "disk_or_lock", "blocked")  # categories of a time breakdown


class RunModel(Struct, frozen=True, kw_only=True):
    """One run as the model sees it. `rate_per_second` is of items, over the time in which there was work.

    `shares` are the stages' GIL shares; None is unknown, and then the model takes one half. `assumed` names what was
    not measured in this run. `others`: share of the machine that other programs used.
    """

    job: JobModel
    plan: ExecutionPlan
    rate_per_second: float
    working_seconds: float
    shares: Mapping[str, GilShare | None]
    assumed: tuple[str, ...]
    others: float

    @property
    def miss(self) -> float:
        """Predicted over measured rate of this very run, less 1."""
        predicted = predict(self.job, self.plan).rate_per_second
        return predicted / self.rate_per_second - 1.0

    def error_of(self, plan: ExecutionPlan) -> float:
        """Relative error of a plan's predicted ratio: the model's miss of its own run, and what neighbours change.

        Neighbours count as far as the pace is set by CPU, here or there: waiting for a network is not shared.
        """
        exposed = max(cpu_bound_share(self.job, one) for one in (self.plan, plan))
        return max(LEAST_ERROR, abs(self.miss)) + exposed * max(0.0, self.others - QUIET)

    @property
    def fits(self) -> bool:
        """Whether the model may be asked about other modes."""
        return abs(self.miss) <= FIT_LIMIT

    def with_phi(self, edge: str) -> JobModel:
        """The job with every GIL share at its `low`, `point` or `high` end."""
        job = self.job
        stages = {}
        for name, stage in (("download", job.download), ("transform", job.transform)):
            share = self.shares[name]
            phi = float(getattr(share, edge) if share else {"low": 0.0, "point": 0.5, "high": 1.0}[edge])
            stages[name] = replace(stage, phi=phi, turn_seconds=_turn_seconds(stage.cpu_seconds, phi, share))
        return replace(job, download=stages["download"], transform=stages["transform"])


def measure(record: RunRecord) -> RunModel | None:
    """The model's parameters from a run's record; None when the run did nothing, or not both stages."""
    stages = record.stages
    if len(stages) < 2:
        return None
    items, working = record.measured_phase.items, working_seconds(record)
    if not items or working <= 0 or not all(stage.tasks for stage in stages.values()):
        return None
    shares = {
        "download": download_share(stages["download"]),
        "transform": transform_share(stages["transform"], encoder_releases=_encoder_releases(record)),
    }
    assumed: list[str] = []
    job = JobModel(
        download=_stage(stages["download"], items, shares["download"]),
        transform=_stage(stages["transform"], items, shares["transform"]),
        items=items,
        cores=usable_cores(record),
        glue_seconds=_glue_seconds(record, items, assumed),
        origin_cpu_seconds=(process_cpu(record, "origin") or 0.0) / items,
        connections=_connections(record),
        start=_start(record, assumed),
    )
    return RunModel(
        job=job,
        plan=plan_of(record),
        rate_per_second=items / working,
        working_seconds=working,
        shares=shares,
        assumed=tuple(assumed),
        others=_others(record),
    )


def plan_of(record: RunRecord) -> ExecutionPlan:
    """The modes and workers of this run."""
    download, transform = record.stages["download"], record.stages["transform"]
    return ExecutionPlan(
        download=download.mode,
        download_workers=download.workers,
        transform=transform.mode,
        transform_workers=transform.workers,
    )


def working_seconds(record: RunRecord) -> float:
    """The phase's wall time less the waits in which nothing at all was under way: those are no mode's doing."""
    return record.measured_phase.seconds - waited_seconds(record)


def waited_seconds(record: RunRecord) -> float:
    """For how long there was nothing to do in the phase but wait for a retry or a paused host."""
    phase = record.measured_phase
    return (phase.retry_wait_seconds or 0.0) + (phase.pause_wait_seconds or 0.0)


def usable_cores(record: RunRecord) -> float:
    """The cores of this run less what other programs used of them.

    Neighbours of a run that left cores idle may have taken those alone: then at least a fair share counts as free.
    """
    free, busy = 1.0 - _others(record), record.samples.machine.busy_share or 0.0
    return record.host.cores * (max(LEAST_FREE, free) if busy >= PRESSED else max(FAIR_SHARE, free))


def _others(record: RunRecord) -> float:
    return record.samples.machine.others_cpu_share or 0.0


def process_cpu(record: RunRecord, role: str) -> float | None:
    """CPU seconds of all OS processes of one role; None where it was not sampled."""
    found = [usage.cpu_seconds for usage in record.samples.processes if usage.role == role]
    return sum(found) if found else None


def full_workers(record: RunRecord, stage: str, mode: ModeName) -> int:
    """How many workers the config gives a stage in a mode; a serial stage has one."""
    if mode == "serial":
        return 1
    if record.stages[stage].mode != "serial":
        return record.stages[stage].workers
    configured = record.setting(stage, "workers", "auto")
    return record.host.cores if configured == "auto" else int(configured)


def _stage(stage: StageRecord, items: int, share: GilShare | None) -> StageModel:
    account = stage.account
    blocked = sum(account.get(bucket, 0.0) for bucket in BLOCKED)
    if stage.mode == "process":
        parent = stage.ipc_parent_cpu_seconds / items
        starts = stage.worker_starts * TYPICAL_PROCESS_CPU_SECONDS
        beside = max(0.0, (stage.process_cpu_seconds or 0.0) - stage.cpu_seconds - starts) / items
        worker = min(beside, account.get("ipc", 0.0) / items)
    else:
        parent, worker = TYPICAL_IPC_PARENT_SECONDS, TYPICAL_IPC_WORKER_SECONDS
    cpu, phi = stage.cpu_seconds / items, share.point if share else 0.5
    return StageModel(
        cpu_seconds=cpu,
        phi=phi,
        turn_seconds=_turn_seconds(cpu, phi, share),
        blocked_seconds=blocked / items,
        ipc_worker_seconds=worker,
        ipc_parent_seconds=parent,
    )


def _glue_seconds(record: RunRecord, items: int, assumed: list[str]) -> float:
    """The parent's CPU beside the stages: frontier, ledger, progress, the sampler's clocks."""
    main = process_cpu(record, "main")
    stages = record.stages.values()
    inside: float = sum(
        stage.ipc_parent_cpu_seconds + (stage.cpu_seconds if stage.mode != "process" else 0.0)
        for stage in stages
    )
    if main is None or main <= inside:
        assumed.append("the parent's own CPU per image")
        return TYPICAL_GLUE_SECONDS
    return (main - inside) / items


def _start(record: RunRecord, assumed: list[str]) -> StartCosts:
    own = [stage for stage in record.stages.values() if stage.mode == "process" and stage.per_worker]
    lead = record.measured_phase.startup_seconds or 0.0
    if not own:
        assumed.append("the cost of processes (their start, and the pipe)")
        return StartCosts(
            always_seconds=lead,
            first_process_seconds=TYPICAL_FIRST_PROCESS_SECONDS,
            per_process_cpu_seconds=TYPICAL_PROCESS_CPU_SECONDS,
        )
    number = sum(stage.workers for stage in own)
    slowest = max(entry.startup_seconds for stage in own for entry in stage.per_worker)
    beside = number * TYPICAL_PROCESS_CPU_SECONDS / max(1.0, min(usable_cores(record), number))
    return StartCosts(
        always_seconds=max(0.0, lead - slowest),  # the first worker's start holds up whatever comes after it
        first_process_seconds=max(0.0, slowest - beside),
        per_process_cpu_seconds=TYPICAL_PROCESS_CPU_SECONDS,
    )


def _connections(record: RunRecord) -> float | None:
    """Downloads at once that the hosts allow: what they allowed where that held the run back, else the config's.

    The busiest host decides: when it has the share s of the items, at most per_host / s downloads run at once.
    """
    held = held_by_hosts(record)
    if held is not None:
        return held
    top = record.hosts.top
    if not top:
        return None
    return record.hosts.per_host * sum(entry.starts for entry in top) / top[0].starts


def held_by_hosts(record: RunRecord) -> float | None:
    """Mean number of downloads under way where only the hosts' limits can have kept it low; else None.

    Then items waited to be started, while both the download workers and the transform workers waited for input.
    """
    download, transform = record.stages["download"], record.stages["transform"]
    if download.mode == "serial" or record.samples.gauge_means.get("waiting", 0.0) < 1.0:
        return None
    for stage in (download, transform):
        if stage.mode != "serial" and _starved(stage) < MOSTLY_STARVED:
            return None
    if transform.mode == "serial" and transform.busy_seconds > MOSTLY_STARVED * working_seconds(record):
        return None
    return download.busy_seconds / working_seconds(record)


def _starved(stage: StageRecord) -> float:
    """Share of a stage's worker-seconds spent waiting for input."""
    return stage.account["starved"] / stage.whole_seconds if stage.whole_seconds else 0.0


def _encoder_releases(record: RunRecord) -> bool:
    """JPEG releases the GIL only where it is encoded into a file with a descriptor: Linux's memory files."""
    encoder = record.setting("output", "format", "jpeg")
    return encoder in ("png", "webp", "avif") or record.host.system.startswith("Linux")
