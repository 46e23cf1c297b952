"""What the record says of a run on several machines: its workers, its parts, and those that were given up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWorker:
    """One worker: the parts that it did in this run, the items that came to their end there, and its rate.

    `choices`: whether each stage's mode was right there, as the run's own `choices` say it of all workers.
    """

    worker: str
    parts: int = 0
    processed: int = 0
    done: int = 0
    seconds: float = 0.0
    images_per_second: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPart:
    """One part as it was committed in this run."""

    number: int
    generation: int
    worker: str
    seconds: float
    processed: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """A run that shared out its list. `parts` are those of this run that took longest; `parts.jsonl` has them all.

    `skew`: the seconds of the slowest part, divided by the mean. `quarantined`: a line for each part that was given up.
    """

    scheduler: str = ""
    dashboard: str = ""
    plan: str = ""
    parts_planned: int = 0
    parts_committed: int = 0
    parts_this_run: int = 0
    skew: float | None = None
    workers: tuple[ClusterWorker, ...] = ()
    parts: tuple[ClusterPart, ...] = ()
    quarantined: tuple[str, ...] = ()
