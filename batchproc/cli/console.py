"""What the user reads: results on stdout, everything else on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from batchproc import lifecycle
from batchproc.errors import BatchprocError
from batchproc.report import draw_page
from batchproc.signals import doing


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
