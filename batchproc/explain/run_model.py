"""From the record of a run to the parameters of the model: what was measured, and what had to be assumed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from batchproc.explain.phi import GilShare, download_share, transform_share
from batchproc.explain.predict import JobModel, StartCosts, cpu_bound_share, predict
from batchproc.record.explanation import StageModel, Variant
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import ModeName, StageRecord

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
MOSTLY_STARVED = 0.3  # of its workers' time, a stage certainly was not what held the run back
PRESSED = 0.9  # with this share of the machine busy, what others used is what they took from this run


BLOCKED = ("network", "disk_or_lock", "blocked")  # categories of a time breakdown


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModel:
    """One run as the model sees it. `rate_per_second` is of items, over the time in which there was work.

    `shares` are the stages' GIL shares; None is unknown, and then the model takes one half. `assumed` names what was
    not measured in this run. `others`: share of the machine that other programs used.
    """

    job: JobModel
    variant: Variant
    rate_per_second: float
    working_seconds: float
    shares: Mapping[str, GilShare | None]
    assumed: tuple[str, ...]
    others: float

    @property
    def miss(self) -> float:
        """Predicted over measured rate of this very run, less 1."""
        predicted = predict(self.job, self.variant).rate_per_second
        return predicted / self.rate_per_second - 1.0

    def error_of(self, variant: Variant) -> float:
        """Relative error of a variant's predicted ratio: the model's miss of its own run, and what neighbours change.

        Neighbours count as far as the pace is set by CPU, here or there: waiting for a network is not shared.
        """
        exposed = max(cpu_bound_share(self.job, one) for one in (self.variant, variant))
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
            phi = getattr(share, edge) if share else {"low": 0.0, "point": 0.5, "high": 1.0}[edge]
            stages[name] = replace(stage, phi=float(phi))
        return replace(job, download=stages["download"], transform=stages["transform"])


def measure(record: RunRecord) -> RunModel | None:
    """The model's parameters from a run's record; None when the run did nothing, or not both stages."""
    stages = record.stages
    if len(stages) < 2:
        return None
    items, working = record.measured_leg.items, working_seconds(record)
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
        variant=variant_of(record),
        rate_per_second=items / working,
        working_seconds=working,
        shares=shares,
        assumed=tuple(assumed),
        others=_others(record),
    )


def variant_of(record: RunRecord) -> Variant:
    """The modes and workers of this run."""
    download, transform = record.stages["download"], record.stages["transform"]
    return Variant(
        download=download.mode,
        download_workers=download.workers,
        transform=transform.mode,
        transform_workers=transform.workers,
    )


def working_seconds(record: RunRecord) -> float:
    """The leg's wall time less the waits in which nothing at all was under way: those are no mode's doing."""
    return record.measured_leg.seconds - waited_seconds(record)


def waited_seconds(record: RunRecord) -> float:
    """For how long there was nothing to do in the leg but wait for a retry or a paused host."""
    leg = record.measured_leg
    return (leg.retry_wait_seconds or 0.0) + (leg.pause_wait_seconds or 0.0)


def usable_cores(record: RunRecord) -> float:
    """The cores of this run less what other programs used of them.

    Neighbours of a run that left cores idle may have taken those alone: then at least a fair share counts as free.
    """
    free, busy = 1.0 - _others(record), record.sampled.machine.busy_share or 0.0
    return record.host.cores * (max(LEAST_FREE, free) if busy >= PRESSED else max(FAIR_SHARE, free))


def _others(record: RunRecord) -> float:
    return record.sampled.machine.others_cpu_share or 0.0


def process_cpu(record: RunRecord, role: str) -> float | None:
    """CPU seconds of all OS processes of one role; None where it was not sampled."""
    found = [usage.cpu_seconds for usage in record.sampled.processes if usage.role == role]
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
    return StageModel(
        cpu_seconds=stage.cpu_seconds / items,
        phi=share.point if share else 0.5,
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
    lead = record.measured_leg.startup_seconds or 0.0
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
    if download.mode == "serial" or record.sampled.gauge_means.get("waiting", 0.0) < 1.0:
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
