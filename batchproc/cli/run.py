"""`batchproc run`: runs a job, and continues what an earlier run left."""

import gc
import sys
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Optional

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
        job, steps = load_job(config, overrides)
    if dry_run:
        _preview(job, steps, any_plan=accept_config_change or fresh)
        return
    from batchproc.job_file import warm_up_first_run

    if job.cluster is None:
        warm_up_first_run(job)
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
    from batchproc.lifecycle import speaks_unicode
    from batchproc.report.terminal import summarise, wrapped

    if as_json:
        print_json(result.facts)
    elif not quiet:
        _print_summary(wrapped(summarise(result.record, result.folder, verbose=verbose, unicode=speaks_unicode())))
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
