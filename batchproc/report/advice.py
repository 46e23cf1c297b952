"""What to say of failures as a whole."""

from collections.abc import Mapping


def can_be_retried(counts: Mapping[str, int]) -> int:
    """How many items `--retry-failed` would try again: all that failed or are quarantined, but no bad lines."""
    return counts["failed"] + counts["quarantined"] - counts["bad_rows"]
