"""Which stage held the run back, in one sentence with its numbers. Unknown is a valid answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from batchproc.explain.enough import is_little, little_text, mostly_waited
from batchproc.explain.measured import held_by_hosts
from batchproc.explain.unknown import NOTHING_DONE
from batchproc.explain.words import seconds, share, workers
from batchproc.record.run import Bottleneck, RunRecord
from batchproc.record.stage import StageRecord

BUSY = 0.9  # a stage whose workers are busier than that sets the pace (EVIDENCE: utilisation >= 90 %)
SOME = 0.1
RESERVE = 0.75  # below that share of their time a stage's workers could have done clearly more


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy a stage's workers were while the line worked: shares of their time, 0 to 1.

    `busy`: with an item in hand. `starved`: waiting for input. `held_up`: finished, waiting for room downstream.
    """

    busy: float
    starved: float
    held_up: float


def find_bottleneck(record: RunRecord) -> Bottleneck:
    """Judges by independent measures: how busy each stage's workers were, and who waited for whom."""
    stages = record.stages
    if not record.counts.processed or len(stages) < 2:
        return Bottleneck(stage=None, because=NOTHING_DONE)
    download, transform = stages["download"], stages["transform"]
    if waiting := mostly_waited(record):
        return Bottleneck(stage=None, because=waiting)
    loads = {name: load_of(record, name) for name in ("download", "transform")}
    if download.mode == transform.mode == "serial":
        return _one_after_the_other(download, transform)
    if loads["transform"].busy >= BUSY and not is_little(record, transform.workers):
        return Bottleneck(stage="transform", because=_transform_text(transform, download, loads))
    if loads["download"].busy >= BUSY and not is_little(record, download.workers):
        return Bottleneck(stage="download", because=_download_text(transform, download, loads))
    if is_little(record, download.workers):
        return Bottleneck(stage=None, because=little_text(record))
    if not transform.tasks:
        return Bottleneck(stage=None, because="no download brought an image, so transform had nothing to do")
    return _less_than_full(download, transform, loads, _held_by(record))


def _held_by(record: RunRecord) -> str:
    """What let no more downloads run at once, where such a limit held the run back."""
    allowed = held_by_hosts(record)
    if allowed is None:
        return ""
    limits = "the hosts' limits (per_host)"
    if record.concurrency:
        limits = f'{limits} and that of workers = "auto", at most {record.concurrency.highest} by then,'
    return f"{limits} let {allowed:.1f} downloads run at once on average, while items waited"


def load_of(record: RunRecord, name: str) -> Load:
    """A stage's load over the time in which it could work: without its start, its end, and what was not yet due."""
    stage = record.stages[name]
    account = stage.account
    absent = sum(account.get(bucket, 0.0) for bucket in ("startup", "unstaffed", "retry_wait", "pause_wait"))
    present = stage.whole_seconds - absent
    if present <= 0:
        return Load(busy=0.0, starved=0.0, held_up=0.0)
    return Load(
        busy=min(1.0, (stage.busy_seconds + account.get("ipc", 0.0)) / present),
        starved=min(1.0, account["starved"] / present),
        held_up=min(1.0, account["output_blocked"] / present),
    )


def _one_after_the_other(download: StageRecord, transform: StageRecord) -> Bottleneck:
    """Both stages share one thread: nobody waits for anybody, so the longer one is to blame."""
    times = {"download": download.busy_seconds, "transform": transform.busy_seconds}
    longer, other = sorted(times, key=lambda name: -times[name])
    return Bottleneck(
        stage=longer,
        because=f"{longer}: one thread did everything in turn, {seconds(times[longer])} of it in {longer} "
        f"and {seconds(times[other])} in {other}",
    )


def _transform_text(transform: StageRecord, download: StageRecord, loads: Mapping[str, Load]) -> str:
    text = f"transform: its {workers(transform)} had an image in hand {share(loads['transform'].busy)} of the time"
    if loads["download"].held_up > SOME:
        return f"{text}, and finished downloads waited for room {share(loads['download'].held_up)} of the time"
    return f"{text}; the {workers(download)} of download were busy {share(loads['download'].busy)}"


def _download_text(transform: StageRecord, download: StageRecord, loads: Mapping[str, Load]) -> str:
    return (
        f"download: its {workers(download)} had an item in hand {share(loads['download'].busy)} of the time, while "
        f"the {workers(transform)} of transform waited for input {share(loads['transform'].starved)} of the time"
    )


def _less_than_full(
    download: StageRecord, transform: StageRecord, loads: Mapping[str, Load], held_by: str
) -> Bottleneck:
    """No stage is full: who waits for input tells where the pace was set, if anybody does.

    `held_by`: what let no more downloads run at once; empty where nothing of the kind is known.
    """
    busy, starved = loads["transform"].busy, loads["transform"].starved
    if starved > SOME and busy < RESERVE:
        why = held_by or "what may start at once was limited (per_host, start-up, or a short list)"
        return Bottleneck(
            stage="download",
            because=f"download: the {workers(transform)} of transform waited for input {share(starved)} of the time, "
            f"though the {workers(download)} of download were busy only {share(loads['download'].busy)}; {why}",
        )
    if busy >= RESERVE:
        return Bottleneck(
            stage="transform",
            because=f"transform, most likely: its {workers(transform)} had an image in hand {share(busy)} of the time, "
            f"the {workers(download)} of download only {share(loads['download'].busy)}",
        )
    return Bottleneck(
        stage=None,
        because=f"unknown: download workers were busy {share(loads['download'].busy)} and transform workers "
        f"{share(busy)} of the time, neither at its limit",
    )
