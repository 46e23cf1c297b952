"""Arguments and options that several commands share, and how their values are read.

What cannot be read is a `UsageError` that quotes flag and value.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from batchproc.errors import Problem, UsageError

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.transform.steps.step import Step

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the job's TOML file")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="any config key, as download.per_host=16; repeatable"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON to stdout")]

_is_lost = False  # set once, before any command runs


def read_duration(flag: str, text: str) -> float:
    """Seconds of a duration as "1h30m", or a number of seconds."""
    from batchproc.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def read_size(flag: str, text: str) -> int:
    """Bytes of a size as "32MB", or a number of bytes."""
    from batchproc.config.units import parse_size

    try:
        return parse_size(text)
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


def load_job(path: Path, overrides: Sequence[str]) -> "tuple[Config, tuple[Step, ...]]":
    """The config under `overrides` (KEY=VALUE) and its steps. Raises `UsageError` with all problems at once."""
    from batchproc.job_file import load

    from_here(path)
    with redirect_stdout(sys.stderr):  # importing a step of the user's may print
        job = load(path, settings=overrides)
    return job.config, job.steps
