"""The table of commands, and the one place where an error becomes words for the user and an exit code."""

import functools
import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from batchproc import lifecycle
from batchproc.cli.bench import bench
from batchproc.cli.commands import check, origin, rebuild, report, schema, shards, status, steps
from batchproc.cli.console import leave_lost_folder, print_errors
from batchproc.cli.help import help
from batchproc.cli.quick import demo, get, init, try_
from batchproc.cli.run import run
from batchproc.errors import BatchprocError, ExitCode, UsageError
from batchproc.shortage import find_shortage
from batchproc.signals import Stopped, doing
from batchproc.version import VERSION

# In the order of `--help`.
COMMANDS = (run, bench, report, check, status, shards, rebuild, steps, schema, init, demo, get, try_, origin, help)

app = typer.Typer(
    name="batchproc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _ended_by_signals(command: Callable[..., None]) -> Callable[..., None]:
    """Before typer meets it, who gives every interrupt the code 130."""

    @functools.wraps(command)
    def ended(*arguments: Any, **options: Any) -> None:
        if command not in (run, demo, get):  # which do so themselves, when they have imported more
            gc.enable()
        try:
            with doing(f"starting batchproc {command.__name__}"):
                command(*arguments, **options)
        except KeyboardInterrupt as error:
            if isinstance(error, Stopped):
                print_errors(error)
            raise typer.Exit(getattr(error, "exit_code", ExitCode.INTERRUPTED)) from None

    return ended


for command in COMMANDS:
    app.command()(_ended_by_signals(command))


def main() -> None:
    """Runs the command line; every message for the user is made here, and the exit code."""
    lifecycle.prepare_streams()
    leave_lost_folder()
    try:
        _run_app()
    finally:
        lifecycle.end_output()


def _split_value(argument: str) -> tuple[str, ...]:
    """`--retry-failed=CODE` in two: typer has no flag whose value may be left out."""
    flag, _, value = argument.partition("=")
    return (flag, f"--retry-codes={value}") if flag == "--retry-failed" and value else (argument,)


def _stop_behind(error: BaseException | None) -> Stopped | None:
    """The signal that came before a command had begun, while typer read the arguments: its exit code is 130 for all."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error


def _run_app() -> None:
    try:
        app(args=[part for argument in sys.argv[1:] for part in _split_value(argument)])
    except UsageError as error:
        print_errors(*error.problems)
        sys.exit(error.exit_code)
    except BatchprocError as error:
        print_errors(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:
        stop = _stop_behind(end)
        if stop is None:
            raise
        sys.exit(stop.exit_code)
    except Exception as error:
        shortage = find_shortage(error)
        if shortage is None:
            raise
        print_errors(shortage)
        sys.exit(shortage.exit_code)


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
