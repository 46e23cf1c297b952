"""The command line: each command parses, loads, calls, prints and exits. Heavy imports wait until a command runs."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from batchproc import streams
from batchproc.errors import BatchprocError, DiskError, ExitCode, Problem, UsageError
from batchproc.version import VERSION

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.transform.steps.step import Step

app = typer.Typer(
    name="batchproc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the job's TOML file")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="any config key, as download.per_host=16; repeatable"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON to stdout")]


def main() -> None:
    """Runs the command line; every message for the user is made here, and the exit code."""
    streams.prepare()
    try:
        _run_app()
    finally:
        lost = streams.finish()
        if lost is not None:
            _complain(f"stdout cannot be written: {lost.strerror}")
            sys.exit(ExitCode.INTERNAL)


def _run_app() -> None:
    try:
        app()
    except UsageError as error:
        _complain(*error.problems)
        sys.exit(error.exit_code)
    except BatchprocError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(VERSION)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Download a list of images, transform them, and see why each stage ran best in threads or in processes.

    Example: batchproc run configs/demo.toml
    """


@app.command()
def run(
    config: ConfigPath,
    download_mode: Annotated[str, typer.Option(help="serial | thread | process")] = "",
    transform_mode: Annotated[str, typer.Option(help="serial | thread | process")] = "",
    download_workers: Annotated[str, typer.Option(metavar="N", help="threads or OS processes")] = "",
    transform_workers: Annotated[str, typer.Option(metavar="N", help="threads or OS processes, or auto")] = "",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="items at most in this run; 0 = all")] = 0,
    output: Annotated[Optional[str], typer.Option(metavar="DIR", help="output folder")] = None,  # noqa: UP045
    setting: Settings = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try failed items again, and quarantined ones")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="ask servers whether what is done has changed (conditional GETs)")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="every item is pending again")] = False,
    accept_config_change: Annotated[
        bool, typer.Option("--accept-config-change", help="make again what another plan made")
    ] = False,
    max_duration: Annotated[str, typer.Option(metavar="TIME", help="stop after this time, as 1h30m")] = "",
    wait: Annotated[str, typer.Option(metavar="TIME", help="wait so long for another run's lock, as 10m")] = "0s",
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first failed item")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="write trace.json for Perfetto's viewer")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read the list, count the work, touch nothing")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="say nothing unless something is wrong")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="say more")] = False,
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
        "job.output": "" if output is None else _read_folder("--output", output),
        "report.trace": "true" if trace else "",
    }
    overrides = [*(f"{key}={value}" for key, value in flags.items() if value), *(setting or ())]
    job, steps = _load(config, overrides)
    from batchproc.pipeline import RunOptions, run_job
    from batchproc.progress import Bar, Quiet

    if dry_run:
        from batchproc.pipeline.preview import preview

        print(preview(job))
        return
    run_options = RunOptions(
        limit=limit,
        retry_failed=retry_failed,
        refresh=refresh,
        fresh=fresh,
        accept_config_change=accept_config_change,
        strict=strict,
        wait_seconds=_read_duration("--wait", wait),
    )
    with redirect_stdout(sys.stderr):  # what a step of the user's prints is no result
        result = run_job(job, steps, run_options, Quiet() if quiet else Bar())
    if job.report.trace:
        from batchproc.report.trace import write_trace

        write_trace(result.folder)
    _tell_result(result, quiet=quiet, verbose=verbose, as_json=as_json)
    if job.report.html and result.facts["counts"]["processed"]:
        page = _make_page(result.folder)
        if page is not None and not quiet and not as_json:
            print(f"  report      {page}")
    lost = streams.forgive()
    if lost is not None:
        _say(f"warning: stdout cannot be written: {lost.strerror}; see {result.folder / 'run.json'}")
    raise typer.Exit(result.exit_code)


@app.command()
def bench(
    config: ConfigPath,
    quick: Annotated[bool, typer.Option("--quick", help="few rounds, few pictures: indicative only")] = False,
    rounds: Annotated[int, typer.Option(min=0, metavar="N", help="rounds that count; 0 = as the config says")] = 0,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="look after 10, 20 and 30 rounds, stop when nothing is undecided")
    ] = False,
    modes: Annotated[str, typer.Option(metavar="LIST", help="as thread,process or serial+thread,thread+process")] = "",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="pictures per run at most; 0 = all")] = 0,
    setting: Settings = None,
    alone: Annotated[bool, typer.Option("--alone", help="also each stage by itself, in every mode")] = False,
    claims: Annotated[
        bool, typer.Option("--claims", help="judge the textbook's thirteen claims by experiments; alone: no rounds")
    ] = False,
    experiments: Annotated[bool, typer.Option("--experiments", help="the same with all experiments")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="keep what every run made")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="do not continue an interrupted bench")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the modes of both stages on real runs of a job; an interrupted bench is continued by the same command.

    Example: batchproc bench configs/bench.toml --quick
    """
    from batchproc.bench.claims_command import run_with_claims
    from batchproc.bench.claims_summary import summarise_with_claims
    from batchproc.bench.command import BenchOptions

    bench_options = BenchOptions(
        rounds=rounds,
        quick=quick,
        until_decided=until_decided,
        modes=tuple(filter(None, modes.split(","))),
        limit=limit,
        alone=alone,
        keep=keep,
        fresh=fresh,
        claims=claims,
        experiments=experiments,
    )
    result = run_with_claims(lambda more: _load(config, [*(setting or ()), *more]), bench_options, _say)
    if as_json:
        _print_json(result.facts)
    else:
        print(summarise_with_claims(result.facts, result.folder))
    if result.facts["config"]["report"]["html"]:
        page = _make_page(result.folder)
        if page is not None and not as_json:
            print(f"  report      {page}")


@app.command()
def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a run's or a bench's folder, or a job's output folder")],
) -> None:
    """Make the HTML report again, of a run, a bench, or a job's output folder (its last run, else its last bench).

    Example: batchproc report outputs/demo
    """
    from batchproc.report.html import make_report

    try:
        print(make_report(path))
    except OSError as error:
        raise DiskError(f"{error.filename or path}: {error.strerror}. The page before it stays.") from error


@app.command()
def check(config: ConfigPath, setting: Settings = None, as_json: AsJson = False) -> None:
    """Validate a config and show the plan it resolves to; touches nothing.

    Example: batchproc check configs/demo.toml
    """
    job, _ = _load(config, setting or ())
    from batchproc.report.plan import describe_plan, plan_facts

    facts = plan_facts(job)
    if as_json:
        _print_json(facts)
    else:
        print(describe_plan(facts))


@app.command()
def status(config: ConfigPath, setting: Settings = None, as_json: AsJson = False) -> None:
    """Show what the job's ledger holds: done, pending, failed by code, the last runs; changes nothing.

    Example: batchproc status configs/demo.toml
    """
    job, _ = _load(config, setting or ())
    from batchproc.report.status import describe_status, status_facts

    facts = status_facts(job)
    if as_json:
        _print_json(facts)
    else:
        print(describe_status(facts))


@app.command()
def steps(as_json: AsJson = False) -> None:
    """List the steps with their keys and an example of each.

    Example: batchproc steps
    """
    from batchproc.report.plan import describe_step
    from batchproc.transform.steps.table import describe_steps

    if as_json:
        _print_json(_steps_schema())
    else:
        print("\n\n".join(describe_step(step) for step in describe_steps()))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors.

    Example: batchproc schema > batchproc.schema.json
    """
    from batchproc.config import json_schema

    _print_json(json_schema(_steps_schema()))


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path()) -> None:
    """Write a commented starter config and an input list; never overwrites.

    Example: batchproc init myjob
    """
    from batchproc.starter import write_starter

    for path in write_starter(folder):
        print(f"wrote {path}")
    print(f"next: put URLs into the list, then batchproc run {folder / 'job.toml'}", file=sys.stderr)


@app.command()
def origin(
    photos: Annotated[str, typer.Option(metavar="DIR", help="serve this folder's pictures")] = "",
    images: Annotated[int, typer.Option(min=1, help="pictures to make")] = 240,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one")] = 0,
    latency: Annotated[str, typer.Option(metavar="TIME", help="before each reply, as 60ms")] = "60ms",
    jitter: Annotated[float, typer.Option(min=0, max=2, help="sigma of the latency's log-normal factor")] = 0.3,
    bandwidth: Annotated[str, typer.Option(metavar="SIZE", help="per second and connection; 0 = unlimited")] = "0",
    faults: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--faults/--no-faults", help="misbehave for 5 % of the URLs; by default only without --photos"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of pictures, latencies and faults")] = 7,
) -> None:
    """Serve demo pictures, or your own, until Ctrl-C.

    Example: batchproc origin --photos ~/Pictures --port 8000 --latency 200ms
    """
    from batchproc.origin import OriginSettings, serve

    settings = OriginSettings(
        images=images,
        seed=seed,
        latency_seconds=_read_duration("--latency", latency),
        jitter=jitter,
        bandwidth_bytes_per_second=_read_size("--bandwidth", bandwidth),
        faults=faults,
        photos=photos,
        port=port,
    )
    raise typer.Exit(serve(settings))


def _load(path: Path, overrides: Sequence[str]) -> "tuple[Config, tuple[Step, ...]]":
    """The config and its steps. A user's own steps need `[job] root`, so they are checked when it is known."""
    from batchproc.config import load
    from batchproc.measure.cores import usable_cores
    from batchproc.transform.steps.table import build_steps

    def check_steps(tables: Sequence[Mapping[str, object]]) -> Sequence[Problem]:
        try:
            build_steps([table for table in tables if ":" not in str(table.get("op"))])
        except UsageError as error:
            return error.problems
        return ()

    job = load(path, overrides=overrides, environ=os.environ, check_steps=check_steps, cores=usable_cores())
    with redirect_stdout(sys.stderr):  # importing a step of the user's may print
        return job, build_steps(job.transform.steps, search_path=job.paths.root)


def _read_duration(flag: str, text: str) -> float:
    from batchproc.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def _read_size(flag: str, text: str) -> int:
    from batchproc.config.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def _read_folder(flag: str, text: str) -> str:
    """The absolute path; an empty one would be the working directory, which nobody meant."""
    if not text.strip():
        raise UsageError([Problem(where=flag, message='must name a folder; "." is the working directory.')])
    return str(Path(text).absolute())


def _steps_schema() -> Any:
    from batchproc.transform.steps.table import steps_json_schema

    return steps_json_schema()


def _tell_result(result: Any, *, quiet: bool, verbose: bool, as_json: bool) -> None:
    from batchproc.report.terminal import summarise

    if as_json:
        _print_json(result.facts)
    elif not quiet:
        _print_summary(summarise(result.facts, result.folder, verbose=verbose))
    if result.error is not None:
        _complain(result.error)
    elif quiet and result.exit_code:
        _complain(summarise(result.facts, result.folder, one_line=True))


def _print_summary(text: str) -> None:
    """Set off by rich on a terminal, plain everywhere else."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console

    from batchproc.report.terminal import styled

    Console(soft_wrap=True, highlight=False).print(styled(text))


def _make_page(folder: Path) -> Path | None:
    """The page of a run or a bench, or None with a warning: a page that fails must not make work look undone."""
    try:
        from batchproc.report.html import make_report

        return make_report(folder)
    except Exception as error:  # noqa: BLE001 - whatever a drawing library raises
        text = f"warning: no report: {type(error).__name__}: {error}; batchproc report {folder} tries again"
        print(text, file=sys.stderr)
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=not streams.speaks_unicode()))


def _complain(*problems: object) -> None:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
