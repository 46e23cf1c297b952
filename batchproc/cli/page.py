"""The HTML page that a run or a bench ends with."""

from pathlib import Path

from batchproc.cli.speech import say
from batchproc.leaving import within
from batchproc.signals import doing

LONGEST_SECONDS = 180.0  # it takes one or two; a disk may hang


def make_page(folder: Path, *, tell: bool, exit_code: int = 0) -> None:
    """Makes the page of a run or a bench and, if `tell`, prints where it is.

    It never raises, only warns: a page that fails must not make work look undone. One that hangs is left with
    `exit_code`.
    """
    try:
        with doing("making the page"), within(LONGEST_SECONDS, exit_code):
            from batchproc.report.html import make_report

            page = make_report(folder)
    except KeyboardInterrupt:  # the work is done and its exit code stands
        say(f"no report: interrupted; batchproc report {folder} makes it")
        return
    except Exception as error:  # noqa: BLE001 - whatever a drawing library raises
        say(f"warning: no report: {type(error).__name__}: {error}; batchproc report {folder} tries again")
        return
    if tell:
        print(f"  report      {page}")
