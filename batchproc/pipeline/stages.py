"""From the config to the stages, their executors and what lets items in, as plain values that workers may be given.

Imported where there is something to do: a run that finds everything done needs none of it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from batchproc.config import MOST_THREADS, Config, HostTable, OriginTable
from batchproc.download.fetch import Download
from batchproc.download.settings import Site
from batchproc.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from batchproc.frontier import Concurrency, Frontier, HostLimit, host_asked
from batchproc.job_file import worker_modules
from batchproc.measure.processes import usable_cores
from batchproc.model import Source
from batchproc.origin import OriginSettings
from batchproc.pipeline.import_list import local_roots
from batchproc.pipeline.opening import OTHER_DESCRIPTORS
from batchproc.record.explanation import ExecutionPlan
from batchproc.record.run_parts import ModeName
from batchproc.shortage import file_limit
from batchproc.transform.plan import Transform

STUCK_MARGIN_SECONDS = 15.0
RESULT_ROOM = 2  # outcomes per worker that may wait for the next stage
DESCRIPTORS_PER_PROCESS = 8
DESCRIPTORS_PER_THREAD = 2  # a connection, and the clock of its run-queue delay
CONNECTIONS_PER_THREAD = 8  # idle ones included
LEAST_CONNECTIONS = 64
FIRST_CONNECTIONS = 16  # of `workers = "auto"`: a second of ramp on a slow network is worth more than politeness costs


def make_download(config: Config, origin_address: str = "", robots_folder: str = "") -> Download:
    """The download stage; the embedded origin's own address is allowed for its run."""
    table = config.download
    return Download(
        connect_timeout_seconds=table.connect_timeout,
        first_byte_timeout_seconds=table.first_byte_timeout,
        total_timeout_seconds=table.total_timeout,
        min_speed_bytes_per_second=table.min_speed,
        max_bytes=table.max_bytes,
        user_agent=table.user_agent,
        allow_addresses=(*table.allow_addresses, *([origin_address] if origin_address else [])),
        headers=tuple(table.headers.items()),
        proxy=table.proxy,
        honour_robots=table.robots == "honour",
        per_host=table.per_host,
        robots_folder=robots_folder,
        local_roots=local_roots(config),
        ca_file=config.paths.at_root(table.ca_file),
        client_cert=config.paths.at_root(table.client_cert),
        client_key=config.paths.at_root(table.client_key),
        sites=tuple((pattern, _site(config, host)) for pattern, host in table.hosts.items()),
    )


def _site(config: Config, host: HostTable) -> Site:
    """How the hosts of one pattern are asked: what their table says, else what holds for all."""
    usual, at_root = config.download, config.paths.at_root
    return Site(
        per_host=host.per_host or usual.per_host,
        honour_robots=(host.robots or usual.robots) == "honour",
        headers=tuple(host.headers.items()),
        proxy=usual.proxy if host.proxy is None else host.proxy,
        ca_file=at_root(usual.ca_file if host.ca_file is None else host.ca_file),
        client_cert=at_root(usual.client_cert if host.client_cert is None else host.client_cert),
        client_key=at_root(usual.client_key if host.client_key is None else host.client_key),
    )


def for_plan(download: Download, plan: ExecutionPlan) -> Download:
    """The stage as its mode needs it: threads share connections, as many as this machine allows and the run can use.

    Processes cannot, so each may have one, to its last host. What they share of robots.txt, threads have in memory.
    """
    if plan.download == "process":
        return replace(download, most_connections=1)
    wanted = max(LEAST_CONNECTIONS, CONNECTIONS_PER_THREAD * plan.download_workers)
    most = max(1, min(wanted, _spare_descriptors(plan) - 2 * plan.download_workers))
    return replace(download, most_connections=most, robots_folder="")


def _spare_descriptors(plan: ExecutionPlan) -> int:
    """How many files and sockets may be open for downloads, once all else has what it needs."""
    processes = plan.transform_workers if plan.transform == "process" else 0
    return file_limit() - OTHER_DESCRIPTORS - DESCRIPTORS_PER_PROCESS * processes


def with_gallery(transform: Transform, config: Config, run_folder: Path, work: int) -> Transform:
    """The same stage, which also leaves small images of about `[report] gallery` of the `work` items for the page."""
    wanted = config.report.gallery if config.report.html else 0
    if not wanted:
        return transform
    folder = run_folder / "gallery"
    folder.mkdir()
    return replace(transform, gallery_folder=str(folder), gallery_every=max(1, work // wanted))


def make_frontier(
    config: Config,
    sources: Iterator[Source],
    *,
    reread: Callable[[Sequence[int]], Sequence[Source]] | None = None,
    concurrency: Concurrency | None = None,
) -> Frontier:
    """What decides which of the sources may start; `reread` gives them again by their positions, see `Frontier`."""
    return Frontier(
        sources,
        reread=reread,
        longest_pause_seconds=config.download.max_retry_after,
        per_host=config.download.per_host,
        host_limits={
            pattern: HostLimit(
                per_host=host.per_host or config.download.per_host,
                requests_per_second=host.requests_per_second or None,
            )
            for pattern, host in config.download.hosts.items()
        },
        retries=config.download.retries,
        buffer_bytes=config.download.buffer,
        concurrency=concurrency,
    )


def make_concurrency(config: Config) -> Concurrency | None:
    """What finds out how many downloads may run at once; None where the config says it, or only one can."""
    if config.download.workers != "auto" or config.download.mode == "serial":
        return None
    return Concurrency(start=FIRST_CONNECTIONS, most=MOST_THREADS)


def make_plan(config: Config, download: ModeName | None = None, transform: ModeName | None = None) -> ExecutionPlan:
    """The given modes, else those that the config begins in, with the workers that it gives them."""
    download, transform = download or config.download.first_mode, transform or config.transform.first_mode
    cores = usable_cores()
    plan = ExecutionPlan(
        download=download,
        download_workers=config.download.worker_count(download, cores),
        transform=transform,
        transform_workers=1 if transform == "serial" else config.transform.worker_count(cores),
    )
    per_worker = DESCRIPTORS_PER_PROCESS if download == "process" else DESCRIPTORS_PER_THREAD
    return replace(plan, download_workers=max(1, min(plan.download_workers, _spare_descriptors(plan) // per_worker)))


def why_fewer_workers(config: Config, plan: ExecutionPlan) -> str:
    """A sentence when the limit of open files allows fewer download workers than the config says; else nothing."""
    wanted = config.download.worker_count(plan.download, usable_cores())
    if plan.download_workers == wanted:
        return ""
    return (
        f"the limit of open files, {file_limit()}, allows {plan.download_workers} of {wanted} download "
        "workers; raise it (ulimit -n)"
    )


def make_executors(
    config: Config, plan: ExecutionPlan, log_folder: Path
) -> tuple[Executor, Executor]:
    """The executors of both stages, download first, not entered yet. Workers' prints go to files in `log_folder`."""
    table, preload = config.transform, worker_modules(config)
    downloaders = partial(
        ProcessExecutor,
        capacity=RESULT_ROOM * plan.download_workers,
        timeout_seconds=_longest_download(config),
        preload=preload,
        log_stem=log_folder / "download",
        affinity=host_asked,
    )
    transformers = partial(
        ProcessExecutor,
        timeout_seconds=table.timeout,
        memory_bytes=table.memory_limit,
        preload=preload,
        log_stem=log_folder / "transform",
    )
    return (
        _make_executor(plan.download, plan.download_workers, downloaders),
        _make_executor(plan.transform, plan.transform_workers, transformers),
    )


def _make_executor(mode: ModeName, workers: int, processes: Callable[..., ProcessExecutor]) -> Executor:
    if mode == "serial":
        return SerialExecutor()
    return ThreadExecutor(workers=workers) if mode == "thread" else processes(workers=workers)


def _longest_download(config: Config) -> float:
    """Seconds after which a download's worker must be stuck: its own limits, robots.txt's included, are long past."""
    table = config.download
    return 2 * table.total_timeout + table.connect_timeout + table.first_byte_timeout + STUCK_MARGIN_SECONDS


def make_origin_settings(config: Config, port: int) -> OriginSettings:
    """What the embedded origin is asked to be; for a config that has one."""
    table = config.origin or OriginTable()
    return OriginSettings(
        port=port,
        images=table.images,
        seed=table.seed,
        latency_seconds=table.latency,
        jitter=table.jitter,
        bandwidth_bytes_per_second=table.bandwidth,
        faults=table.faults if "faults" in table.model_fields_set else None,
        photos=str(config.paths.photos or ""),
    )
