"""`python -m batchproc.report FOLDER`: makes a page in a process of its own, for `batchproc run` and `bench`.

Prints where the page is, or on stderr why there is none.
"""

import sys
from pathlib import Path


def main() -> int:
    """Makes the page of the folder that the command line names; returns the exit code."""
    try:
        from batchproc.report.html import make_report

        page = make_report(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - whatever a drawing library raises
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f"{page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
