"""From the config to what every run needs: list, ledger, settings. What only work needs is in `stages`."""

import os
import socket
import zlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from batchproc.config import Config
from batchproc.errors import Problem, UsageError
from batchproc.ledger import Ledger
from batchproc.shortage import file_limit, raise_file_limit
from batchproc.sink import ImageFolder, Layout
from batchproc.transform.settings import MODULES, TransformSettings
from batchproc.transform.steps.step import Step

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


def check_layout(config: Config) -> None:
    """Raises `UsageError` where the layout of the output needs what is not installed."""
    if config.output.layout == "parquet" and find_spec("pyarrow") is None:
        message = "needs pyarrow, which is not installed: pip install 'batchproc[parquet]'."
        raise UsageError([Problem(where='[output] layout = "parquet"', message=message)])


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
