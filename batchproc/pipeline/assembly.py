"""From the config to what every run needs: list, ledger, settings. What only work needs is in `stages`."""

import hashlib
import json
import os
import socket
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from batchproc.columns import Columns
from batchproc.config import STDIN, Config
from batchproc.errors import Problem, UsageError
from batchproc.ledger import Ledger, ListedItem, input_fingerprint
from batchproc.model import Source
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.shortage import file_limit, raise_file_limit
from batchproc.sink import ImageFolder, Layout
from batchproc.sources import BadRow, Entry, ListFormat, Unusable, is_stream, read_sources
from batchproc.transform.settings import MODULES, TransformSettings
from batchproc.transform.steps.step import Step
from batchproc.version import VERSION

KEY_BYTES = 16
PORTS = range(20_000, 30_000)  # of the embedded origin, below what Linux gives to outgoing connections
OTHER_DESCRIPTORS = 40  # of a run, for its ledger, its logs and its pipes: 27 were seen; no run is begun with less


def check_descriptors() -> None:
    """Raises `UsageError` where this process may not have as many open files as any run needs."""
    if raise_file_limit() < OTHER_DESCRIPTORS:
        raise UsageError(
            f"the limit of open files is {file_limit()} (ulimit -n), and a run needs {OTHER_DESCRIPTORS} at "
            "least; raise it."
        )


def transform_settings(config: Config, steps: tuple[Step, ...]) -> TransformSettings:
    """What the transform stage is to do; it writes into the job's own temporary folder."""
    table, output = config.transform, config.output
    return TransformSettings(
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


def open_ledger(config: Config, layout: Layout) -> Ledger:
    """The job's ledger, made on demand. Raises as `Ledger.open` does."""
    power = config.output.durability == "power"
    images = ImageFolder(layout.output, power=power)
    return Ledger.open(layout.ledger_path, images=images, reserve_path=layout.reserve_path, power=power)


def warm_up(config: Config) -> None:
    """Starts the fork server ahead of its first worker, if there will be one: its imports take longer than all else
    that comes before."""
    if "process" in (config.download.first_mode, config.transform.first_mode):
        from batchproc.executors import start_context

        start_context(worker_modules(config))


def worker_modules(config: Config) -> tuple[str, ...]:
    """What the fork server imports once for all workers: of downloads only where a process may be given some."""
    downloads = ("batchproc.download.stage",) if config.download.mode in ("process", "auto") else ()
    return (*downloads, *MODULES)


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
    return (row for row in listed_rows(config, base_url, columns, None) if isinstance(row, ListedItem))


def listed_rows(
    config: Config, base_url: str, columns: Columns | None, memory: ListMemory | None
) -> Iterator[ListedItem | Known | Checkpoint]:
    """The same, without the beginning that is as it was by what is remembered, and with the checkpoints of the rest."""
    for entry in read_list(config, base_url, columns, memory):
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
        elif isinstance(entry, Known | Checkpoint):
            yield entry


def read_list(
    config: Config, base_url: str, columns: Columns | None = None, memory: ListMemory | None = None
) -> Iterator[Entry]:
    """The list as the config says to read it; `columns` learns of it. Raises `UsageError`."""
    return read_sources(config.paths.input, list_format(config, base_url), columns=columns, memory=memory)


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
    return "" if is_stream(path) else input_fingerprint(Path(path), *_reading_settings(config, base_url))


def list_memory(config: Config, base_url: str, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
    """What is remembered of this list, if it is read as it was then; None for stdin and pipes."""
    path = config.paths.input
    kind = Path(path.lower().removesuffix(".gz")).suffix
    rule = json.dumps([VERSION, kind, *_reading_settings(config, base_url)])
    return None if is_stream(path) else ListMemory(rule=rule, checkpoints=checkpoints)


def _reading_settings(config: Config, base_url: str) -> tuple[str, ...]:
    """The settings that decide what is read of a list."""
    job = config.job
    return job.url_column, job.id_column, job.delimiter, job.quoting, job.duplicates, base_url
