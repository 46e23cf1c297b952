"""What the user gives and reads: options that several commands share, results on stdout, everything else on stderr.

What cannot be read is a `UsageError` that quotes flag and value.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import typer

from batchproc import lifecycle
from batchproc.errors import BatchprocError, Problem, UsageError
from batchproc.report import draw_page
from batchproc.signals import doing

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.transform.steps.step import Step

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the job's TOML file")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="any config key, as download.per_host=16; repeatable"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON to stdout")]

T = TypeVar("T")

_is_lost = False  # set once, before any command runs


def read_duration(flag: str, text: str) -> float:
    """Seconds of a duration as "1h30m", or a number of seconds."""
    from batchproc.config.units import parse_duration

    return _parsed(parse_duration, flag, text)


def read_size(flag: str, text: str) -> int:
    """Bytes of a size as "32MB", or a number of bytes."""
    from batchproc.config.units import parse_size

    return _parsed(parse_size, flag, text)


def _parsed(parse: Callable[[object], T], flag: str, text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def read_folder(flag: str, text: str) -> str:
    """The absolute path, or the address; an empty one would be the working directory, which nobody meant."""
    from batchproc.config.units import is_remote

    if is_remote(text):
        return text
    if not text.strip():
        raise UsageError([Problem(where=flag, message='must name a folder; "." is the working directory.')])
    return str(from_here(Path(text)))


def leave_lost_folder() -> None:
    """Goes on from the root when the working directory was deleted: nothing could be started in it."""
    global _is_lost
    try:
        Path.cwd()
    except OSError:
        _is_lost = True
        os.chdir("/")


def from_here(path: Path) -> Path:
    """The absolute path of one that was given on the command line. Raises `UsageError` when there is no "here"."""
    if _is_lost and not path.is_absolute():
        raise UsageError(f"{path}: the working directory is gone; give the whole path, or change to another folder.")
    return path.absolute()


def load_config(path: Path, overrides: Sequence[str]) -> "Config":
    """The config alone under `overrides`: whoever does not run the steps need not wait for their import."""
    from batchproc.config import load
    from batchproc.measure.processes import usable_cores

    from_here(path)
    return load(path, overrides=overrides, environ=os.environ, cores=usable_cores())


def load_job(path: Path, overrides: Sequence[str]) -> "tuple[Config, tuple[Step, ...]]":
    """The config under `overrides` (KEY=VALUE) and its steps. Raises `UsageError` with all problems at once."""
    from batchproc.job_file import load

    from_here(path)
    with redirect_stdout(sys.stderr):  # importing a step of the user's may print
        job = load(path, settings=overrides)
    return job.config, job.steps


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a config with its steps."""
    from batchproc.config import json_schema
    from batchproc.transform.plan import steps_json_schema

    return json_schema(steps_json_schema())


def print_message(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def print_errors(*problems: object) -> None:
    """Each problem as an `error:` line on stderr."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


@contextmanager
def errors_in_one_line(job: str, *, wanted: bool) -> Iterator[None]:
    """What ends a quiet run is printed as one line, as cron mails it; else it is left to the command line's end."""
    try:
        yield
    except BatchprocError as error:
        if not wanted:
            raise
        from batchproc.exit_reason import error_line

        print_errors(error_line(job, error))
        raise typer.Exit(error.exit_code) from None


def print_json(value: Any) -> None:
    """JSON on stdout; escaped where stdout does not take every character."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=not lifecycle.speaks_unicode()))


def print_found(facts: Callable[[], Any], text: Callable[[], str], *, as_json: bool) -> None:
    """What a command found, for programs or for people."""
    print_json(facts()) if as_json else print(text())


def make_page(folder: Path, *, announce: bool) -> None:
    """Makes the page of a run or a bench and, if `announce`, prints where it is. Only warns when there is none."""
    try:
        with doing("making the page"):
            path, problem = draw_page(folder)
    except KeyboardInterrupt:  # the work is done and its exit code stands
        print_message(f"no report: interrupted; batchproc report {folder} makes it")
        return
    if problem:
        print_message(f"warning: no report: {problem}; batchproc report {folder} tries again")
    elif announce:
        print(f"  report      {path}")
