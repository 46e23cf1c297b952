"""The explanation of a run that cannot be explained: every part of it is there and says why."""

from dataclasses import replace

from batchproc.record.run import Bottleneck, BreakEven, Crossover, RunRecord

LITTLE = "unknown: too little was processed to explain"
NOTHING_DONE = "nothing was processed, so nothing held the run back"


def unknown(record: RunRecord, bottleneck: Bottleneck, why: str = LITTLE) -> RunRecord:
    """The record with `bottleneck` and `why` as all that is known."""
    return replace(
        record,
        verdict=(bottleneck.because, why, why),
        bottleneck=bottleneck,
        choices=(),
        ceilings={},
        measured_rate_per_second={},
        hints=(),
        crossover=Crossover(text=why),
        break_even=BreakEven(text=why),
    )


def nothing_done(record: RunRecord) -> RunRecord:
    """The explanation of a run that found nothing to do."""
    return unknown(record, Bottleneck(reason="nothing_done", because=NOTHING_DONE))
