"""`python -m batchproc.report FOLDER`: makes a page in a process of its own, for `batchproc run` and `bench`.

Prints where the page is, or on stderr why there is none.
"""

import gc
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """Makes the page of the folder that the command line names; returns the exit code."""
    try:
        page = _load_maker()(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - whatever a drawing library raises
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f"{page}\n")
    return 0


def _load_maker() -> Callable[[Path], Path]:
    """What makes a page, with all the libraries that it imports.

    Meanwhile nothing becomes garbage, and looking for it again and again took a sixth of the whole page's time.
    """
    gc.disable()
    try:
        from batchproc.report.html import make_report
    finally:
        gc.freeze()
        gc.enable()
    return make_report


if __name__ == "__main__":
    sys.exit(main())
