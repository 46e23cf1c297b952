"""Whether a run tells enough of its modes to judge them."""

from batchproc.explain.measured import waited_seconds
from batchproc.explain.reasons import Doubt
from batchproc.record.run import RunRecord

# The time of an item differs from the next one's by some 0.7 of their mean (sizes of the open web's pictures). The mean
# over 50 is known to a tenth then, and a tenth is the error that the model is granted anyway.
LEAST_ITEMS = 50
# With more of the run spent waiting for a retry or a paused host, what is left is mostly the edges of those waits: a
# few items at once, with an empty line before and behind them.
MOST_WAITED = 0.5
LEAST_EACH = 3  # items per worker: below that most of a stage's time is its first item and its last


def doubt_about_modes(record: RunRecord) -> Doubt | None:
    """Why this run has no verdict on modes; None when it has one."""
    if record.measured_leg.items < LEAST_ITEMS:
        return Doubt.FEW_ITEMS
    return Doubt.MOSTLY_WAITED if mostly_waited(record) else None


def mostly_waited(record: RunRecord) -> bool:
    """Whether a run spent most of its time waiting for what was no work of anybody's."""
    leg = record.measured_leg
    return waited_seconds(record) > MOST_WAITED * leg.seconds and leg.items >= LEAST_ITEMS


def is_little(record: RunRecord, workers: int) -> bool:
    """Whether a stage with so many workers had nearly nothing to do."""
    items = record.measured_leg.items
    return items < LEAST_ITEMS and items < LEAST_EACH * workers
