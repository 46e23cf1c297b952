"""What held a run back, as a sentence: made from the reason and its numbers, in one place."""

from batchproc.explain.bottleneck import SOME, Reason
from batchproc.explain.enough import waiting_text
from batchproc.explain.measured import waited_seconds
from batchproc.explain.unknown import NOTHING_DONE
from batchproc.explain.words import count, seconds, share, workers
from batchproc.record.run import Bottleneck, RunRecord

SOME_LIMIT = "what may start at once was limited (per_host, start-up, or a short list)"


def bottleneck_text(record: RunRecord, found: Bottleneck) -> str:
    """Why the stage that `found` names, or none, held the run back."""
    if found.reason == Reason.NOTHING_DONE:
        return NOTHING_DONE
    if found.reason == Reason.MOSTLY_WAITED:
        return waiting_text(record)
    if found.reason == Reason.LITTLE_TO_DO:
        return _little_text(record)
    if found.reason == Reason.NO_IMAGE_CAME:
        return "no download brought an image, so transform had nothing to do"
    return _stages_text(record, found)


def _stages_text(record: RunRecord, found: Bottleneck) -> str:
    """The two stages beside each other."""
    download, transform = record.stages["download"], record.stages["transform"]
    load, other = found.loads["download"], found.loads["transform"]
    fetchers, makers = workers(download), workers(transform)
    if found.reason == Reason.ONE_THREAD:
        times = {name: seconds(stage.busy_seconds) for name, stage in record.stages.items()}
        longer, shorter = found.stage or "", "transform" if found.stage == "download" else "download"
        return (
            f"{longer}: one thread did everything in turn, {times[longer]} of it in {longer} and {times[shorter]} in "
            f"{shorter}"
        )
    if found.reason == Reason.BUSY and found.stage == "download":
        return (
            f"download: its {fetchers} were busy {share(load.busy)} of the time, while the {makers} of "
            f"transform waited for input {share(other.starved)} of the time"
        )
    if found.reason == Reason.BUSY:
        text = f"transform: its {makers} were busy {share(other.busy)} of the time"
        if load.held_up > SOME:
            return f"{text}, and finished downloads waited for room {share(load.held_up)} of the time"
        return f"{text}; the {fetchers} of download {share(load.busy)}"
    if found.reason == Reason.NEARLY_BUSY:
        return (
            f"transform, most likely: its {makers} were busy {share(other.busy)} of the time, the "
            f"{fetchers} of download only {share(load.busy)}"
        )
    if found.reason == Reason.STARTS_LIMITED:
        return (
            f"download: the {makers} of transform waited for input {share(other.starved)} of the time, though the "
            f"{fetchers} of download were busy only {share(load.busy)}; {_limit_text(record, found)}"
        )
    return (
        f"unknown: download workers were busy {share(load.busy)} and transform workers {share(other.busy)} of the "
        "time, neither at its limit"
    )


def _limit_text(record: RunRecord, found: Bottleneck) -> str:
    """What let no more downloads run at once."""
    if found.downloads_allowed is None:
        return SOME_LIMIT
    limits = "the hosts' limits (per_host)"
    if record.concurrency:
        limits = f'{limits} and that of workers = "auto", at most {record.concurrency.highest} by then,'
    return f"{limits} let {found.downloads_allowed:.1f} downloads run at once on average, while items waited"


def _little_text(record: RunRecord) -> str:
    counts = record.counts
    due = f"{counts.processed:,} of {count(counts.items, 'item')}" if counts.items else "few items"
    text = f"nearly nothing to do: {due} {'was' if counts.processed == 1 else 'were'} due"
    waited = waited_seconds(record) > SOME * record.measured_leg.seconds
    return f"{text}, and {waiting_text(record)}" if waited else text
