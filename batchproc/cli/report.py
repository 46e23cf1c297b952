"""`batchproc report`: makes a page again."""

from pathlib import Path
from typing import Annotated

import typer

from batchproc.cli.values import from_here
from batchproc.errors import DiskError

ReportPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="a run's or a bench's folder, or a job's output folder")
]


def report(path: ReportPath) -> None:
    """Make the HTML report again, of a run, a bench, or a job's output folder (its last run, else its last bench).

    Example: batchproc report outputs/demo
    """
    from batchproc.report.html import make_report

    from_here(path)
    try:
        print(make_report(path))
    except OSError as error:
        raise DiskError(f"{error.filename or path}: {error.strerror}. The page before it stays.") from error
