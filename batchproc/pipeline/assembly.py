"""From the config to what runs: stages, executors, origin and list, as plain values that workers may be given."""

import hashlib
import os
import socket
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from batchproc import descriptors
from batchproc.columns import Columns
from batchproc.config import MOST_THREADS, STDIN, Config, HostTable, OriginTable
from batchproc.download.settings import Site
from batchproc.download.stage import Download
from batchproc.errors import Problem, UsageError
from batchproc.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor, start_context
from batchproc.explain import ModeName, Variant
from batchproc.frontier import Concurrency, Frontier, HostLimit, host_asked
from batchproc.ledger import Ledger, ListedItem, input_fingerprint
from batchproc.measure.cores import usable_cores
from batchproc.model import Source
from batchproc.origin import OriginSettings
from batchproc.sink import ImageFolder, Layout
from batchproc.sources import BadRow, Entry, ListFormat, Unusable, is_stream, read_sources
from batchproc.transform.stage import Transform
from batchproc.transform.steps.step import Step

STUCK_MARGIN_SECONDS = 15.0
KEY_BYTES = 16
RESULT_ROOM = 2  # outcomes per worker that may wait for the next stage
PORTS = range(20_000, 30_000)  # of the embedded origin, below what Linux gives to outgoing connections
OTHER_DESCRIPTORS = 40  # of a run, for its ledger, its logs and its pipes: 27 were seen; no run is begun with less
DESCRIPTORS_PER_PROCESS = 6
DESCRIPTORS_PER_THREAD = 2  # a connection, and the clock of its run-queue delay
CONNECTIONS_PER_THREAD = 8  # idle ones included
LEAST_CONNECTIONS = 64
FIRST_CONNECTIONS = 16  # of `workers = "auto"`: a second of ramp on a slow network is worth more than politeness costs


def make_download(config: Config, origin_address: str = "") -> Download:
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


def check_descriptors() -> None:
    """Raises `UsageError` where this process may not have as many open files as any run needs."""
    if descriptors.raise_limit() < OTHER_DESCRIPTORS:
        raise UsageError(
            f"the limit of open files is {descriptors.limit()} (ulimit -n), and a run needs {OTHER_DESCRIPTORS} at "
            "least; raise it."
        )


def for_crew(download: Download, crew: Variant) -> Download:
    """The stage as its mode needs it: threads share connections, as many as this machine allows and the run can use.

    Processes cannot, so each may have one, to its last host.
    """
    if crew.download == "process":
        return replace(download, most_connections=1)
    wanted = max(LEAST_CONNECTIONS, CONNECTIONS_PER_THREAD * crew.download_workers)
    return replace(download, most_connections=max(1, min(wanted, _spare_descriptors(crew) - crew.download_workers)))


def _spare_descriptors(crew: Variant) -> int:
    """How many files and sockets may be open for downloads, once all else has what it needs."""
    processes = crew.transform_workers if crew.transform == "process" else 0
    return descriptors.limit() - OTHER_DESCRIPTORS - DESCRIPTORS_PER_PROCESS * processes


def make_transform(config: Config, steps: tuple[Step, ...]) -> Transform:
    """The transform stage, writing into the job's own temporary folder."""
    table, output = config.transform, config.output
    return Transform(
        steps=steps,
        quality=table.quality,
        formats=table.formats,
        max_pixels=table.max_pixels,
        output_format=output.format,
        output_quality=output.quality,
        background=output.background,
        temporary_folder=str(Layout(output=config.paths.output).temporary_folder),
        durability=output.durability,
    )


def with_gallery(transform: Transform, config: Config, run_folder: Path, work: int) -> Transform:
    """The same stage, which also leaves small pictures of about `[report] gallery` of the `work` items for the page."""
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


def open_ledger(config: Config, layout: Layout) -> Ledger:
    """The job's ledger, made on demand. Raises as `Ledger.open` does."""
    power = config.output.durability == "power"
    images = ImageFolder(layout.output, power=power)
    return Ledger.open(layout.ledger_path, images=images, ballast_path=layout.ballast_path, power=power)


def make_concurrency(config: Config) -> Concurrency | None:
    """What finds out how many downloads may run at once; None where the config says it, or only one can."""
    if config.download.workers != "auto" or config.download.mode == "serial":
        return None
    return Concurrency(start=FIRST_CONNECTIONS, most=MOST_THREADS)


def make_crew(config: Config, download: ModeName | None = None, transform: ModeName | None = None) -> Variant:
    """The given modes, else those that the config begins in, with the workers that it gives them."""
    download, transform = download or config.download.first_mode, transform or config.transform.first_mode
    cores = usable_cores()
    crew = Variant(
        download=download,
        download_workers=config.download.worker_count(download, cores),
        transform=transform,
        transform_workers=1 if transform == "serial" else config.transform.worker_count(cores),
    )
    per_worker = DESCRIPTORS_PER_PROCESS if download == "process" else DESCRIPTORS_PER_THREAD
    return replace(crew, download_workers=max(1, min(crew.download_workers, _spare_descriptors(crew) // per_worker)))


def why_fewer_workers(config: Config, crew: Variant) -> str:
    """A sentence when the limit of open files allows fewer download workers than the config says; else nothing."""
    wanted = config.download.worker_count(crew.download, usable_cores())
    if crew.download_workers == wanted:
        return ""
    return (
        f"the limit of open files, {descriptors.limit()}, allows {crew.download_workers} of {wanted} download "
        "workers; raise it (ulimit -n)"
    )


def make_executors(
    config: Config, crew: Variant, download: Download, transform: Transform, log_folder: Path
) -> tuple[Executor, Executor]:
    """The executors of both stages, download first, not entered yet. Workers' prints go to files in `log_folder`."""
    table, preload = config.transform, _preload(download, transform)
    downloaders = partial(
        ProcessExecutor,
        capacity=RESULT_ROOM * crew.download_workers,
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
        _make_executor(crew.download, crew.download_workers, downloaders),
        _make_executor(crew.transform, crew.transform_workers, transformers),
    )


def warm_up(config: Config, transform: Transform) -> None:
    """Starts the fork server ahead of its first worker, if there will be one: its imports take longer than all else
    that comes before. Call it before any thread exists."""
    crew = make_crew(config)
    if "process" in (crew.download, crew.transform):
        start_context(_preload(make_download(config), transform))


def _preload(download: Download, transform: Transform) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*download.preload, *transform.preload)))


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


def origin_port(output: Path) -> int:
    """The embedded origin's port: the same for the same job, so that its URLs are, too; another if that one is taken.

    Known before the origin starts, because the list is joined with it even when there turns out to be nothing to do.
    """
    preferred = PORTS.start + zlib.crc32(os.fsencode(output)) % len(PORTS)
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise UsageError("no port of 127.0.0.1 is free for the embedded origin")


def check_list(config: Config) -> None:
    """Reads the list's first entry, so that a bad list is known before anything is touched. Raises `UsageError`.

    Stdin and pipes can be read only once: they are checked when they are imported.
    """
    if config.paths.input == STDIN and sys.stdin is None:
        raise UsageError([Problem(where="[job] input", message="stdin is closed, and the list is to be read from it.")])
    if not is_stream(config.paths.input):
        read_list(config, config.job.base_url)


def listed_items(config: Config, base_url: str, columns: Columns | None = None) -> Iterator[ListedItem]:
    """The list as the ledger takes it. Opened at the first item. `columns` learns of it. Raises `UsageError`."""
    for entry in read_list(config, base_url, columns):
        if isinstance(entry, Source):
            yield ListedItem(key=entry.key, line=entry.line, url=entry.url, extra_json=entry.extra_json)
        elif isinstance(entry, Unusable):
            source = entry.source
            yield ListedItem(
                key=source.key,
                line=source.line,
                url=source.url,
                extra_json=source.extra_json,
                code=entry.code,
                message=entry.message,
            )
        elif isinstance(entry, BadRow):
            yield ListedItem(
                key=_row_key(entry), line=entry.line, url=entry.text, code=entry.code, message=entry.message
            )


def read_list(config: Config, base_url: str, columns: Columns | None = None) -> Iterator[Entry]:
    """The list as the config says to read it; `columns` learns of it. Raises `UsageError`."""
    return read_sources(config.paths.input, list_format(config, base_url), columns=columns)


def list_format(config: Config, base_url: str) -> ListFormat:
    """How the config says to read its list."""
    job = config.job
    return ListFormat(
        url_column=job.url_column,
        id_column=job.id_column,
        delimiter=job.delimiter,
        quoting=job.quoting,
        base_url=base_url,
    )


def _row_key(row: BadRow) -> bytes:
    """A bad row has no identity but its place and its text."""
    text = f"{row.line}\0{row.text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


def list_fingerprint(config: Config, base_url: str) -> str:
    """What tells this list from another; empty for stdin and pipes."""
    path = config.paths.input
    if is_stream(path):
        return ""
    job = config.job
    return input_fingerprint(
        Path(path), job.url_column, job.id_column, job.delimiter, job.quoting, job.duplicates, base_url
    )
