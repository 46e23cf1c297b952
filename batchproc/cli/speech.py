"""What the user reads: results on stdout, everything else on stderr."""

import sys
from typing import Any

from batchproc import streams


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def complain(*problems: object) -> None:
    """Each problem as an `error:` line on stderr."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


def print_json(value: Any) -> None:
    """JSON on stdout; escaped where stdout does not take every character."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=not streams.speaks_unicode()))
