"""Says what came of the HTML page that a run or a bench ends with."""

from pathlib import Path

from batchproc.cli.speech import say
from batchproc.report.drawing import draw_page
from batchproc.signals import doing


def make_page(folder: Path, *, tell: bool) -> None:
    """Makes the page of a run or a bench and, if `tell`, prints where it is. Only warns when there is none."""
    try:
        with doing("making the page"):
            path, problem = draw_page(folder)
    except KeyboardInterrupt:  # the work is done and its exit code stands
        say(f"no report: interrupted; batchproc report {folder} makes it")
        return
    if problem:
        say(f"warning: no report: {problem}; batchproc report {folder} tries again")
    elif tell:
        print(f"  report      {path}")
