"""Which stage held the run back, and whether the run tells enough of its modes to judge them. Unknown is an answer."""

from collections.abc import Mapping

from batchproc.explain.reasons import Doubt, Reason
from batchproc.explain.run_model import held_by_hosts, waited_seconds
from batchproc.record.run_json import Bottleneck, RunRecord
from batchproc.record.run_parts import StageLoad, StageRecord

# The time of an item differs from the next one's by some 0.7 of their mean (sizes of the open web's images). The mean
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


BUSY = 0.9  # a stage whose workers are busier than that sets the pace (EVIDENCE: utilisation >= 90%)
SOME = 0.1
RESERVE = 0.75  # below that share of their time a stage's workers could have done clearly more


def find_bottleneck(record: RunRecord) -> Bottleneck:
    """Judges by independent measures: how busy each stage's workers were, and who waited for whom."""
    stages = record.stages
    if not record.counts.processed or len(stages) < 2:
        return Bottleneck(reason=Reason.NOTHING_DONE)
    download, transform = stages["download"], stages["transform"]
    loads = {name: stages[name].load for name in ("download", "transform")}
    if mostly_waited(record):
        return Bottleneck(reason=Reason.MOSTLY_WAITED, loads=loads)
    if download.mode == transform.mode == "serial":
        longer = "download" if download.busy_seconds >= transform.busy_seconds else "transform"
        return Bottleneck(stage=longer, reason=Reason.ONE_THREAD, loads=loads)
    for name, stage in (("transform", transform), ("download", download)):
        if loads[name].busy >= BUSY and not is_little(record, stage.workers):
            return Bottleneck(stage=name, reason=Reason.BUSY, loads=loads)
    if is_little(record, download.workers):
        return Bottleneck(reason=Reason.LITTLE_TO_DO, loads=loads)
    return _less_than_full(record, transform, loads)


def _less_than_full(record: RunRecord, transform: StageRecord, loads: Mapping[str, StageLoad]) -> Bottleneck:
    """No stage is full: who waits for input tells where the pace was set, if anybody does."""
    busy, starved = loads["transform"].busy, loads["transform"].starved
    if not transform.tasks:
        return Bottleneck(reason=Reason.NO_IMAGE_CAME, loads=loads)
    if starved > SOME and busy < RESERVE:
        allowed = held_by_hosts(record)
        return Bottleneck(stage="download", reason=Reason.STARTS_LIMITED, loads=loads, downloads_allowed=allowed)
    if busy >= RESERVE:
        return Bottleneck(stage="transform", reason=Reason.NEARLY_BUSY, loads=loads)
    return Bottleneck(reason=Reason.UNDECIDED, loads=loads)

