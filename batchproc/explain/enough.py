"""Whether a run tells enough of its modes to judge them, and what to say where it does not."""

from batchproc.explain.measured import waited_seconds
from batchproc.explain.words import count, seconds
from batchproc.record.run import RunRecord

# The time of an item differs from the next one's by some 0.7 of their mean (sizes of the open web's pictures). The mean
# over 50 is known to a tenth then, and a tenth is the error that the model is granted anyway.
LEAST_ITEMS = 50
# With more of the run spent waiting for a retry or a paused host, what is left is mostly the edges of those waits: a
# few items at once, with an empty line before and behind them.
MOST_WAITED = 0.5
LEAST_EACH = 3  # items per worker: below that most of a stage's time is its first item and its last


def doubt_about_modes(record: RunRecord) -> str:
    """Why this run has no verdict on modes; empty when it has one."""
    items = record.measured_leg.items
    if items < LEAST_ITEMS:
        return f"no verdict on modes: {count(items, 'item')} are too few to compare them ({LEAST_ITEMS} at least)"
    return f"no verdict on modes: {waiting_text(record)}" if mostly_waited(record) else ""


def mostly_waited(record: RunRecord) -> bool:
    """Whether a run spent most of its time waiting for what was no work of anybody's."""
    leg = record.measured_leg
    return waited_seconds(record) > MOST_WAITED * leg.seconds and leg.items >= LEAST_ITEMS


def is_little(record: RunRecord, workers: int) -> bool:
    """Whether a stage with so many workers had nearly nothing to do."""
    items = record.measured_leg.items
    return items < LEAST_ITEMS and items < LEAST_EACH * workers


def waiting_text(record: RunRecord) -> str:
    """How long a run waited, and for what."""
    leg = record.measured_leg
    retry, pause = leg.retry_wait_seconds or 0.0, leg.pause_wait_seconds or 0.0
    what = "a paused or paced host" if pause > retry else "a retry"
    return f"for {seconds(retry + pause)} of {seconds(leg.seconds)} there was nothing to do but wait for {what}"
