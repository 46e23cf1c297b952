"""The sentence on a bottleneck: every reason has one, with its numbers."""

import pytest

from batchproc.explain.bottleneck import Reason
from batchproc.explain.wording import bottleneck_text
from batchproc.record.run import Bottleneck, RunCounts, RunRecord
from batchproc.record.stage import PhaseRecord, StageLoad, StageRecord

RECORD = RunRecord(
    counts=RunCounts(items=35, processed=4),
    leg=PhaseRecord(items=4, seconds=2.9, retry_wait_seconds=1.9),
    stages={
        "download": StageRecord(mode="thread", workers=32, busy_seconds=14.5),
        "transform": StageRecord(mode="process", workers=2, busy_seconds=4.0),
    },
)
LOADS = {"download": StageLoad(busy=0.1), "transform": StageLoad(busy=0.98, starved=0.86)}
SENTENCES = {
    (Reason.NOTHING_DONE, None): "nothing was processed, so nothing held the run back",
    (Reason.MOSTLY_WAITED, None): "for 1.9 s of 2.9 s there was nothing to do but wait for a retry",
    (Reason.LITTLE_TO_DO, None): "nearly nothing to do: 4 of 35 items were due, and for 1.9 s of 2.9 s there was",
    (Reason.NO_IMAGE_CAME, None): "no download brought an image",
    (Reason.ONE_THREAD, "download"): "14.5 s of it in download and 4 s in transform",
    (Reason.BUSY, "transform"): "transform: its 2 processes were busy 98% of the time; the 32 threads of",
    (Reason.BUSY, "download"): "while the 2 processes of transform waited for input 86% of the time",
    (Reason.NEARLY_BUSY, "transform"): "the 32 threads of download only 10%",
    (Reason.STARTS_LIMITED, "download"): "busy only 10%; the hosts' limits (per_host) let 3.9 downloads run at once",
    (Reason.UNDECIDED, None): "unknown: download workers were busy 10% and transform workers 98% of the time",
}


@pytest.mark.parametrize(("reason", "stage"), SENTENCES, ids=str)
def test_every_reason_has_its_sentence(reason: Reason, stage: str | None) -> None:
    found = Bottleneck(stage=stage, reason=reason, loads=LOADS, downloads_allowed=3.9)

    assert SENTENCES[reason, stage] in bottleneck_text(RECORD, found)
    assert set(Reason) == {one for one, _ in SENTENCES}
