"""`python -m batchproc.origin --embedded`: the child of an `EmbeddedOrigin`. By itself it is `batchproc origin`."""

import sys

from batchproc.errors import ExitCode, UsageError
from batchproc.origin.server import serve_embedded


def main() -> int:
    """Serves what stdin asks for, until stdin ends; returns the exit code."""
    try:
        serve_embedded()
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
