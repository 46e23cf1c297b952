"""What the record says of what a run made: the data set as it is afterwards, and a shared run's workers and parts."""

from msgspec import Struct


class ImageClass(Struct, frozen=True, kw_only=True):
    """Images of about one size or shape, and the originals of the data set that are. `name`: as people say it."""

    name: str
    images: int
    originals: int = 0


class RejectedExample(Struct, frozen=True, kw_only=True):
    """An item that a check rejected. URLs are redacted. `like`: that of the earlier image that it looks like."""

    url: str
    message: str
    like: str = ""


class RejectedItems(Struct, frozen=True, kw_only=True):
    """All items that were rejected for one reason, with the first ones of the list."""

    code: str
    items: int
    examples: tuple[RejectedExample, ...] = ()


class HostImages(Struct, frozen=True, kw_only=True):
    """The images that came from one host."""

    host: str
    images: int


class ShardSize(Struct, frozen=True, kw_only=True):
    """One shard."""

    name: str
    images: int
    size_bytes: int


class ShardsRecord(Struct, frozen=True, kw_only=True):
    """The shards of a data set; `first` are those at its beginning."""

    count: int = 0
    size_bytes: int = 0
    least_bytes: int = 0
    most_bytes: int = 0
    first: tuple[ShardSize, ...] = ()


class DataSetRecord(Struct, frozen=True, kw_only=True):
    """The data set as it is after a run, of whichever runs. `hosts`: those with the most images, of `hosts_total`."""

    images: int = 0
    size_bytes: int = 0
    sides: tuple[ImageClass, ...] = ()
    shapes: tuple[ImageClass, ...] = ()
    hosts: tuple[HostImages, ...] = ()
    hosts_total: int = 0
    rejected: tuple[RejectedItems, ...] = ()
    shards: ShardsRecord | None = None


class ClusterWorker(Struct, frozen=True, kw_only=True):
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


class ClusterPart(Struct, frozen=True, kw_only=True):
    """One part as it was committed in this run."""

    number: int
    generation: int
    worker: str
    seconds: float
    processed: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0


class ClusterRecord(Struct, frozen=True, kw_only=True):
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
