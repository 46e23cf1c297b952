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
    waiting = mostly_waited(record)
    return f"no verdict on modes: {waiting}" if waiting else ""


def mostly_waited(record: RunRecord) -> str:
    """What a run spent most of its time waiting for, that was no work of anybody's; empty for every other run."""
    leg = record.measured_leg
    if waited_seconds(record) <= MOST_WAITED * leg.seconds or leg.items < LEAST_ITEMS:
        return ""
    return _waiting(record)


def is_little(record: RunRecord, workers: int) -> bool:
    """Whether a stage with so many workers had nearly nothing to do."""
    items = record.measured_leg.items
    return items < LEAST_ITEMS and items < LEAST_EACH * workers


def little_text(record: RunRecord) -> str:
    """What to say instead of a bottleneck."""
    counts = record.counts
    due = f"{counts.processed:,} of {count(counts.items, 'item')}" if counts.items else "few items"
    text = f"nearly nothing to do: {due} {'was' if counts.processed == 1 else 'were'} due"
    return f"{text}, and {_waiting(record)}" if waited_seconds(record) > 0.1 * record.measured_leg.seconds else text


def _waiting(record: RunRecord) -> str:
    leg = record.measured_leg
    retry, pause = leg.retry_wait_seconds or 0.0, leg.pause_wait_seconds or 0.0
    what = "a paused or paced host" if pause > retry else "a retry"
    return f"for {seconds(retry + pause)} of {seconds(leg.seconds)} there was nothing to do but wait for {what}"
