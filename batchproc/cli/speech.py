"""What the user reads: results on stdout, everything else on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from batchproc import streams
from batchproc.errors import BatchprocError


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def complain(*problems: object) -> None:
    """Each problem as an `error:` line on stderr."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


@contextmanager
def errors_in_one_line(job: str, *, wanted: bool) -> Iterator[None]:
    """What ends a quiet run is told in one line, as cron mails it; else it is left to the command line's end."""
    try:
        yield
    except BatchprocError as error:
        if not wanted:
            raise
        from batchproc.last_line import error_line

        complain(error_line(job, error))
        raise typer.Exit(error.exit_code) from None


def print_json(value: Any) -> None:
    """JSON on stdout; escaped where stdout does not take every character."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=not streams.speaks_unicode()))
