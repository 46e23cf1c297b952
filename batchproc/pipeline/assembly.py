"""From the config to what runs: stages, executors, origin and list, as plain values that workers may be given."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from batchproc.config import STDIN, Config, OriginTable
from batchproc.download.stage import Download
from batchproc.errors import Problem, Retry, UsageError
from batchproc.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from batchproc.ledger import ListedItem, input_fingerprint
from batchproc.measure.cores import usable_cores
from batchproc.model import Mode, Source
from batchproc.origin import OriginSettings
from batchproc.sink import Layout
from batchproc.sources import BadRow, Entry, Unusable, is_stream, read_sources
from batchproc.transform.stage import Transform
from batchproc.transform.steps.step import Step

STUCK_MARGIN_SECONDS = 15.0
KEY_BYTES = 16
RESULT_ROOM = 2  # outcomes per worker that may wait for the next stage


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
        max_retry_after_seconds=table.max_retry_after,
    )


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


def make_executors(config: Config, download: Download, transform: Transform, log_folder: Path) -> list[Executor]:
    """The executors of both stages, download first, not entered yet."""
    preload = tuple(dict.fromkeys((*download.preload, *transform.preload)))
    table = config.transform
    download_workers = int(config.download.workers)
    kinds = ((Mode(config.download.mode), download_workers), (Mode(table.mode), table.worker_count(usable_cores())))
    executors: list[Executor] = []
    for (mode, workers), is_transform in zip(kinds, (False, True), strict=True):
        if mode is Mode.SERIAL:
            executors.append(SerialExecutor())
        elif mode is Mode.THREAD:
            executors.append(ThreadExecutor(workers=workers))
        else:
            executors.append(
                ProcessExecutor(
                    workers=workers,
                    capacity=None if is_transform else RESULT_ROOM * workers,
                    timeout_seconds=table.timeout if is_transform else _longest_download(config),
                    timeout_retry=Retry.NEVER if is_transform else Retry.BACKOFF,
                    memory_bytes=table.memory_limit if is_transform else 0,
                    preload=preload,
                    log_stem=log_folder / ("transform" if is_transform else "download"),
                )
            )
    return executors


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


def check_list(config: Config) -> None:
    """Reads the list's first entry, so that a bad list is known before anything is touched. Raises `UsageError`.

    Stdin and pipes can be read only once: they are checked when they are imported.
    """
    if config.paths.input == STDIN and sys.stdin is None:
        raise UsageError([Problem(where="[job] input", message="stdin is closed, and the list is to be read from it.")])
    if not is_stream(config.paths.input):
        _read(config, config.job.base_url)


def listed_items(config: Config, base_url: str) -> Iterator[ListedItem]:
    """The list as the ledger takes it. Opened at the first item. Raises `UsageError`."""
    for entry in _read(config, base_url):
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


def _read(config: Config, base_url: str) -> Iterator[Entry]:
    return read_sources(
        config.paths.input,
        url_column=config.job.url_column,
        id_column=config.job.id_column,
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
    return input_fingerprint(Path(path), config.job.url_column, config.job.id_column, base_url)
