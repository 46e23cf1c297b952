"""What every run checks and opens before any work, and those checks alone: `run --dry-run` and `check`.

What only work needs is in `stages`.
"""

import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from batchproc.config import Config, DownloadTable, HostTable, is_in_bucket
from batchproc.errors import Problem, UsageError
from batchproc.ledger import Ledger, LedgerView
from batchproc.pipeline.import_list import JobList, refuse_lost_ledger, refused_plan
from batchproc.shortage import file_limit, raise_file_limit
from batchproc.sink import ImageFolder, Layout
from batchproc.transform.plan import Transform, fingerprint, keeps_images, plan_settings
from batchproc.transform.steps.step import Step

PORTS = range(20_000, 30_000)  # of the embedded origin, below what Linux gives to outgoing connections
OTHER_DESCRIPTORS = 40  # of a run, for its ledger, its logs and its pipes: 27 were seen; no run is begun with less


def check_descriptors() -> None:
    """Raises `UsageError` where this process may not have as many open files as any run needs."""
    if raise_file_limit() < OTHER_DESCRIPTORS:
        raise UsageError(
            f"the limit of open files is {file_limit()} (ulimit -n), and a run needs {OTHER_DESCRIPTORS} at "
            "least; raise it."
        )


def make_transform(config: Config, steps: tuple[Step, ...]) -> Transform:
    """What the transform stage is to do; it writes into the job's own temporary folder."""
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
        originals_root=str(config.paths.output) if config.download.keep_originals else "",
    )


def open_ledger(config: Config, layout: Layout) -> Ledger:
    """The job's ledger, made on demand. Raises as `Ledger.open` does."""
    power = config.output.durability == "power"
    images = ImageFolder(layout.output, power=power)
    return Ledger.open(layout.ledger_path, images=images, reserve_path=layout.reserve_path, power=power)


def check_layout(config: Config) -> None:
    """Raises `UsageError` where the lists or the output need what is not installed."""
    output = config.output
    buckets = [*filter(None, [config.paths.bucket]), *(name for name in config.paths.inputs if is_in_bucket(name))]
    if buckets and find_spec("obstore") is None:
        message = "is reached by obstore, which is not installed: pip install 'batchproc[cloud]'."
        raise UsageError([Problem(where=address, message=message) for address in buckets])
    if output.splits and output.layout != "files":
        message = f'must be empty with layout = "{output.layout}": shards are not split.'
        raise UsageError([Problem(where="[output] splits", message=message)])
    asked = {'layout = "parquet"': output.layout == "parquet", "metadata_parquet": output.metadata_parquet}
    wanted = [key for key, is_asked in asked.items() if is_asked]
    if wanted and find_spec("pyarrow") is None:
        message = "needs pyarrow, which is not installed: pip install 'batchproc[parquet]'."
        raise UsageError([Problem(where=f"[output] {key}", message=message) for key in wanted])


def check_job(config: Config) -> None:
    """Raises `UsageError` where the list, or a file that the config names, cannot be read, or an extra is missing."""
    JobList.of(config, config.job.base_url).check()
    check_layout(config)
    check_certificates(config)


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


def check_certificates(config: Config) -> None:
    """Reads the files of certificates and keys, so that a bad one is known before any work. Raises `UsageError`."""
    tables: dict[str, DownloadTable | HostTable] = {"[download]": config.download}
    tables |= {f'[download.hosts."{pattern}"]': host for pattern, host in config.download.hosts.items()}
    problems = [problem for where, table in tables.items() for problem in _certificate_problems(config, where, table)]
    if problems:
        raise UsageError(problems)


def _certificate_problems(config: Config, where: str, table: DownloadTable | HostTable) -> Iterator[Problem]:
    at_root = config.paths.at_root
    cert, key = at_root(table.client_cert or ""), at_root(table.client_key or "")
    if key and not cert:
        yield Problem(where=f"{where} client_key", message="needs client_cert beside it.")
    for name, files in (("ca_file", (at_root(table.ca_file or ""),)), ("client_cert", ("", cert, key))):
        try:
            if any(files):
                _load(*files)
        except OSError as error:
            import ssl

            is_read = isinstance(error, ssl.SSLError)
            reason = "it is no PEM of that kind, or its key is missing or encrypted" if is_read else error.strerror
            yield Problem(where=f"{where} {name}", message=f"{max(files[:2])} cannot be used: {reason}.")


def _load(*files: str) -> None:
    from batchproc.download.connection import tls_context  # a tenth of the start, for jobs that name such files

    tls_context(*files)


def refuse(config: Config, steps: tuple[Step, ...], *, any_plan: bool = False) -> None:
    """Raises what a run would end with before any work, in the same words: `UsageError` or `DiskError`.

    `any_plan`: images of another plan would be made again. Not told are what only the attempt can show (a quota), and
    a lock that another run holds: that passes.
    """
    check_job(config)
    layout = Layout(output=config.paths.output)
    layout.check()
    refuse_lost_ledger(layout)
    if any_plan or not layout.ledger_path.exists():
        return
    transform = make_transform(config, steps)
    settings = plan_settings(transform)
    with LedgerView.open_view(layout.ledger_path) as ledger:
        change = ledger.compare_plan(fingerprint(transform))
    if change is not None and not keeps_images(change.settings, settings):
        raise refused_plan(config, change, settings)


def preview(config: Config) -> str:
    """What a run would find. Raises `UsageError` for a list that cannot be read."""
    keys: set[bytes] = set()
    lines = bad = 0
    base_url = config.job.base_url or ("http://origin.invalid/" if config.origin else "")
    for item in JobList.of(config, base_url).items():
        lines += 1
        bad += bool(item.code)
        keys.add(item.key)
    duplicates = lines - len(keys)
    text = f"{config.job.name}: {len(keys):,} items in {lines:,} lines, {duplicates:,} duplicates, {bad:,} bad rows"
    path = Layout(output=config.paths.output).ledger_path
    if not path.exists():
        return f"{text}; no run yet"
    with LedgerView.open_view(path) as ledger:
        counts = ledger.counts()
    return f"{text}; the ledger holds {counts.done:,} done, {counts.failed:,} failed, {counts.pending:,} pending"
