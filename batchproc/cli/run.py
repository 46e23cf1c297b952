"""`batchproc run`: runs a job, and continues what an earlier run left."""

import gc
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from batchproc import lifecycle
from batchproc.cli.console import (
    AsJson,
    ConfigPath,
    Settings,
    errors_in_one_line,
    load_job,
    make_page,
    print_errors,
    print_json,
    print_message,
    read_duration,
    read_folder,
)
from batchproc.errors import check_codes
from batchproc.signals import shown_by

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.pipeline import RunOptions, RunResult
    from batchproc.transform.steps.step import Step

MOST_BYTES = 100_000  # of a config that is looked at twice

StageMode = Annotated[
    str,
    typer.Option(
        help="serial | thread | process | auto", autocompletion=lambda: ["serial", "thread", "process", "auto"]
    ),
]
DownloadWorkers = Annotated[str, typer.Option(metavar="N", help="threads or OS processes, or auto")]
TransformWorkers = Annotated[str, typer.Option(metavar="N", help="threads or OS processes, or auto")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="items at most in this run; 0 = all")]
Output = Annotated[Optional[str], typer.Option(metavar="DIR", help="output folder")]  # noqa: UP045 - typer reads it
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="try failed items again, and quarantined ones; =CODE,... only those")
]
RetryCodes = Annotated[str, typer.Option("--retry-codes", hidden=True)]  # what `--retry-failed=CODE` becomes
Refresh = Annotated[
    bool, typer.Option("--refresh", help="ask servers whether what is done has changed (conditional GETs)")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="every item is pending again")]
AcceptConfigChange = Annotated[bool, typer.Option("--accept-config-change", help="make again what another plan made")]
Repair = Annotated[bool, typer.Option("--repair", help="make again what is done and has no file, or another one")]
MaxDuration = Annotated[str, typer.Option(metavar="TIME", help="stop after this time, as 1h30m")]
WaitForLock = Annotated[str, typer.Option(metavar="TIME", help="wait so long for another run's lock, as 10m")]
Strict = Annotated[bool, typer.Option("--strict", help="stop at the first failed item, with exit code 3")]
Trace = Annotated[bool, typer.Option("--trace", help="write trace.json for Perfetto's viewer")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="read the list, count the work, touch nothing")]
SayNothing = Annotated[bool, typer.Option("-q", "--quiet", help="say nothing unless something is wrong")]
SayMore = Annotated[bool, typer.Option("-v", "--verbose", help="say more; on a pipe, how far it is every minute")]


def run(
    config: ConfigPath,
    download_mode: StageMode = "",
    transform_mode: StageMode = "",
    download_workers: DownloadWorkers = "",
    transform_workers: TransformWorkers = "",
    limit: Limit = 0,
    output: Output = None,
    setting: Settings = None,
    retry_failed: RetryFailed = False,
    retry_codes: RetryCodes = "",
    refresh: Refresh = False,
    fresh: Fresh = False,
    accept_config_change: AcceptConfigChange = False,
    repair: Repair = False,
    max_duration: MaxDuration = "",
    wait: WaitForLock = "0s",
    strict: Strict = False,
    trace: Trace = False,
    dry_run: DryRun = False,
    quiet: SayNothing = False,
    verbose: SayMore = False,
    as_json: AsJson = False,
) -> None:
    """Run a job; the same command continues what an earlier run left.

    Example: batchproc run configs/demo.toml --transform-mode thread
    """
    flags = {
        "download.mode": download_mode,
        "transform.mode": transform_mode,
        "download.workers": download_workers,
        "transform.workers": transform_workers,
        "job.max_duration": max_duration,
        "job.output": "" if output is None else read_folder("--output", output),
        "report.trace": "true" if trace else "",
    }
    with errors_in_one_line(config.name, wanted=quiet):
        overrides = [*(f"{key}={value}" for key, value in flags.items() if value), *(setting or ())]
        if not dry_run:
            start_workers_ahead(config, overrides)
        job, steps = load_job(config, overrides)
    if dry_run:
        _preview(job, steps, any_plan=accept_config_change or fresh)
        return
    from batchproc.measure.clocks import process_started
    from batchproc.pipeline import RunOptions

    if not gc.isenabled():  # since the program's first line
        gc.freeze()
        gc.enable()
    options = RunOptions(
        limit=limit,
        retry_failed=retry_failed,
        retry_codes=check_codes([code.strip() for code in retry_codes.split(",")] if retry_codes else []),
        refresh=refresh,
        fresh=fresh,
        accept_config_change=accept_config_change,
        repair=repair,
        strict=strict,
        wait_seconds=read_duration("--wait", wait),
        command_started=process_started(),
    )
    with errors_in_one_line(job.job.name, wanted=quiet):
        result = _work(job, steps, options, quiet=quiet, verbose=verbose)
    _print_result(result, quiet=quiet, verbose=verbose, as_json=as_json)
    if job.report.html and result.record.counts.processed:
        make_page(result.folder, announce=not quiet and not as_json)
    lost = lifecycle.ignore_lost_output()
    if lost is not None:
        print_message(f"warning: stdout cannot be written: {lost.strerror}; see {result.folder / 'run.json'}")
    raise typer.Exit(result.exit_code)


def start_workers_ahead(config: Path, overrides: Sequence[str]) -> None:
    """Starts the fork server for a job that was never run, beside the check of its config: both take as long.

    By a look at the TOML alone, before there is anything to read it properly with. Where that is wrong, an idle process
    ends with the command; where it says nothing, the run itself starts what it needs.
    """
    tables = _tables(config, overrides)
    job, download, transform = (tables.get(name, {}) for name in ("job", "download", "transform"))
    is_usual = transform.get("mode", "auto") in ("process", "auto") and download.get("mode") != "process"
    if not (is_usual and isinstance(job.get("output"), str)) or "cluster" in tables:
        return
    if not _is_new(config.parent / str(job.get("root", ".")) / job["output"]):
        return
    from batchproc.executors import start_context
    from batchproc.transform.plan import worker_modules

    steps = transform.get("steps")
    ops = [str(step.get("op")) for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    start_context(worker_modules(ops), by_fork=True)


def _tables(config: Path, overrides: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The config's tables as far as they are tables, under `overrides`; none of a file that cannot be read, or once."""
    import tomllib

    with suppress(OSError, ValueError):
        if not config.is_file() or config.stat().st_size > MOST_BYTES:
            return {}
        read = tomllib.loads(config.read_text("utf-8-sig"))
        tables = {name: table for name, table in read.items() if isinstance(table, dict)}
        for override in overrides:
            key, _, value = override.partition("=")
            name, _, key = key.strip().partition(".")
            tables.setdefault(name, {})[key] = value
        return tables
    return {}


def _is_new(output: Path) -> bool:
    """Whether no run was there yet; not where that cannot be told, as in a folder that nobody may look into."""
    from batchproc.sink import Layout

    with suppress(OSError, ValueError):
        return not Layout(output=output).ledger_path.exists()
    return False


def _preview(job: "Config", steps: "tuple[Step, ...]", *, any_plan: bool) -> None:
    from batchproc.api import Job, refuse
    from batchproc.pipeline.opening import preview

    refuse(Job(config=job, steps=steps), any_plan=any_plan)
    print(preview(job))


def _work(
    job: "Config", steps: "tuple[Step, ...]", options: "RunOptions", *, quiet: bool, verbose: bool
) -> "RunResult":
    from batchproc.api import Job, execute
    from batchproc.progress import Bar, Heartbeat, Quiet

    display = Quiet() if quiet else Bar()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # what a step of the user's prints is no result
        stack.enter_context(shown_by(display.answer))
        if verbose and not quiet and not sys.stderr.isatty():
            stack.enter_context(Heartbeat(display.note))
        return execute(Job(config=job, steps=steps), options, display)


def _print_result(result: "RunResult", *, quiet: bool, verbose: bool, as_json: bool) -> None:
    from batchproc.exit_reason import run_line

    if as_json:
        print_json(result.facts)
    elif not quiet:
        from batchproc.report.terminal import summarise, wrapped

        unicode = lifecycle.speaks_unicode()
        _print_summary(wrapped(summarise(result.record, result.folder, verbose=verbose, unicode=unicode)))
    line = run_line(result.record, result.folder)
    if not quiet:
        if result.error is not None:
            print_errors(result.error)
    elif result.exit_code:
        print_errors(line)
    elif line:
        print_message(f"warning: {line}")


def _print_summary(text: str) -> None:
    """Set off by rich on a terminal, plain everywhere else."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console

    from batchproc.report.terminal import styled

    Console(soft_wrap=True, highlight=False).print(styled(text))
