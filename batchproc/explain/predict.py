"""What a pair of modes would do: a pure model of the line as two overlapping stages that share cores and one GIL.

A run is bound by the slowest of these, in items per second:

    workers   n / (W + c)             each stage by itself (Little's law); a serial stage is its puller's thread
    cores     P / sum of all CPU      both stages, glue, pipes, and an embedded origin share the cores
    gil       1 / (glue + phi c ...)  everything that runs Python in the parent shares one GIL
              n / (W + c + (n - 1) h) and threads whose step holds it at a stretch, for h, go in a convoy;
                                      downloads beside them wait twice, if they find it held
    pipe      1 / i_parent            what the parent's GIL spends on handing values to processes, alone
    per_host  connections / (W + c)   politeness: more workers do not help

Serial + serial has one thread for everything, so its times add up. A run also pays for its start: processes have to be
started before the first item. All functions are pure; times in seconds, rates in items per second.
"""

import math

from msgspec import Struct

from batchproc.record.explanation import ExecutionPlan, JobModel, StageModel

HALVINGS = 40
SWITCH_SECONDS = 0.005  # `sys.getswitchinterval`: how long a thread may keep the GIL when another asks for it
DOWNLOAD_ASKS = 2  # 1.6 to 2.6 were measured beside a thread that computes in Python


class Limit(Struct, frozen=True, kw_only=True):
    """One ceiling of the line. `stage` is None where both stages share it."""

    name: str  # workers | cores | gil | pipe | per_host
    stage: str | None
    rate_per_second: float


class Prediction(Struct, frozen=True, kw_only=True):
    """`rate_per_second` of the whole run, its start included; `steady_rate_per_second` without; `bound` binds."""

    rate_per_second: float
    steady_rate_per_second: float
    seconds: float
    start_seconds: float
    bound: Limit


def predict(job: JobModel, plan: ExecutionPlan) -> Prediction:
    """The whole run of `job.items` items in the given modes, from its first worker to its last item."""
    bound = min(limits(job, plan), key=lambda limit: limit.rate_per_second)
    steady, start = bound.rate_per_second, start_seconds(job, plan)
    first_item = _alone(job.download) + _alone(job.transform)  # the line is empty at first
    seconds = start + first_item + max(0, job.items - 1) / steady
    return Prediction(
        rate_per_second=job.items / seconds if seconds else 0.0,
        steady_rate_per_second=steady,
        seconds=seconds,
        start_seconds=start,
        bound=bound,
    )


def limits(job: JobModel, plan: ExecutionPlan) -> list[Limit]:
    """Every ceiling of the line in these modes."""
    gil = min(_rate(1.0, gil_seconds(job, plan)), _convoy_rate(job, plan), _overtaken_rate(job, plan))
    found = [
        Limit(name="cores", stage=None, rate_per_second=_rate(job.cores, cpu_seconds(job, plan))),
        Limit(name="gil", stage=None, rate_per_second=gil),
    ]
    if plan.download == plan.transform == "serial":
        whole = _alone(job.download) + _alone(job.transform) + job.glue_seconds
        found.append(Limit(name="workers", stage=None, rate_per_second=_rate(1.0, whole)))
        return found
    found += _worker_limits(job, plan)
    pipe = sum(stage.ipc_parent_seconds for stage in _in_processes(job, plan))
    if pipe:
        found.append(Limit(name="pipe", stage=None, rate_per_second=1.0 / pipe))
    return found


def cpu_seconds(job: JobModel, plan: ExecutionPlan) -> float:
    """CPU per item on this machine, whoever uses it."""
    ipc = sum(stage.ipc_worker_seconds + stage.ipc_parent_seconds for stage in _in_processes(job, plan))
    own = job.download.cpu_seconds + job.transform.cpu_seconds
    return own + ipc + job.glue_seconds + job.origin_cpu_seconds


def gil_seconds(job: JobModel, plan: ExecutionPlan) -> float:
    """Seconds per item for which the parent's GIL is held."""
    inside = [
        stage.phi * stage.cpu_seconds
        for stage, mode in ((job.download, plan.download), (job.transform, plan.transform))
        if mode != "process"
    ]
    return job.glue_seconds + sum(inside) + sum(stage.ipc_parent_seconds for stage in _in_processes(job, plan))


def _convoy_rate(job: JobModel, plan: ExecutionPlan) -> float:
    """Items per second of transform threads of which each waits for a whole turn of every other.

    For Pillow and files a thread lets go of the GIL and asks for it again some six times an image, and each time waits
    for up to 5 ms while a step in Python keeps it: hardly anything goes on beside that.
    """
    if plan.transform != "thread":
        return float("inf")
    others = (plan.transform_workers - 1) * job.transform.turn_seconds
    return _rate(plan.transform_workers, _alone(job.transform) + others)


def _overtaken_rate(job: JobModel, plan: ExecutionPlan) -> float:
    """Items per second of downloads in threads of which each asks for the GIL twice: for a reply's head and its body.

    The rate r makes the step hold it for r h of the time; who finds it held waits until h ends, or 5 ms have passed.
    So n workers come to r (W + c + 2 r h w) = n.
    """
    turn, alone = job.transform.turn_seconds, _alone(job.download)
    if not turn or not alone or "process" in (plan.download, plan.transform):
        return float("inf")
    workers = 1 if plan.download == "serial" else plan.download_workers
    most = min(turn, SWITCH_SECONDS)
    waits = DOWNLOAD_ASKS * turn * (most - most**2 / (2.0 * turn))
    return (math.sqrt(alone**2 + 4.0 * waits * workers) - alone) / (2.0 * waits)


def cpu_bound_share(job: JobModel, plan: ExecutionPlan) -> float:
    """How much of what sets the pace is CPU, 0 to 1: all of it for cores, GIL and pipe, c / (W + c) for workers."""
    bound = predict(job, plan).bound
    if bound.name in ("cores", "gil", "pipe"):
        return 1.0
    stages = {"download": [job.download], "transform": [job.transform]}.get(
        bound.stage or "", [job.download, job.transform]
    )
    whole = sum(_alone(stage) for stage in stages)
    return sum(stage.cpu_seconds for stage in stages) / whole if whole else 1.0


def start_seconds(job: JobModel, plan: ExecutionPlan) -> float:
    """Seconds until the last worker has started: the processes share the cores while they start."""
    processes = (plan.download_workers if plan.download == "process" else 0) + (
        plan.transform_workers if plan.transform == "process" else 0
    )
    if not processes:
        return job.start.always_seconds
    own = processes * job.start.per_process_cpu_seconds / max(1.0, min(job.cores, processes))
    return job.start.always_seconds + job.start.first_process_seconds + own


def _worker_limits(job: JobModel, plan: ExecutionPlan) -> list[Limit]:
    found = []
    stages = (
        ("download", job.download, plan.download, plan.download_workers),
        ("transform", job.transform, plan.transform, plan.transform_workers),
    )
    for name, stage, mode, workers in stages:
        each = _alone(stage) + (stage.ipc_worker_seconds if mode == "process" else 0.0)
        if name == "transform" and mode == "serial":
            each += job.glue_seconds  # the puller hears every outcome too
        number = 1 if mode == "serial" else workers
        found.append(Limit(name="workers", stage=name, rate_per_second=_rate(number, each)))
        if name == "download" and job.connections is not None and mode != "serial":
            found.append(Limit(name="per_host", stage=name, rate_per_second=_rate(job.connections, each)))
    return found


def _in_processes(job: JobModel, plan: ExecutionPlan) -> list[StageModel]:
    stages = ((job.download, plan.download), (job.transform, plan.transform))
    return [stage for stage, mode in stages if mode == "process"]


def _alone(stage: StageModel) -> float:
    return stage.blocked_seconds + stage.cpu_seconds


def _rate(servers: float, seconds: float) -> float:
    return servers / seconds if seconds else float("inf")


def held_fraction(speed: float, threads: int) -> tuple[float, float]:
    """Least and most of its CPU time that a task holds the GIL, 0 to 1, from what waiting for it costs.

    `speed`: of one of several threads that all have work, against one that never waits for the GIL. In a convoy each
    waits for a whole turn of every other: speed 1/(1 + (n-1) phi), the least. With random arrivals the threads are
    customers of one server, the GIL, by exact mean value analysis: the most. For two threads and S2 = 2 speed that is
    between 2/S2 - 1 and sqrt(2/S2 - 1).
    """
    if speed >= 1:
        return 0.0, 0.0
    convoy = min(1.0, (1 / speed - 1) / (threads - 1))
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _queueing_speed(middle, threads) > speed else (low, middle)
    return convoy, max(convoy, (low + high) / 2)


def _queueing_speed(phi: float, threads: int) -> float:
    """Speed of one of n threads against one alone, by mean value analysis of one server and n customers."""
    waiting = passed = 0.0
    for customers in range(1, threads + 1):
        inside = phi * (1 + waiting)
        passed = customers / (1 - phi + inside)
        waiting = passed * inside
    return passed / threads
