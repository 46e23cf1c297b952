"""What the record says of the data set that there is after a run: its shards, its images by size and shape, and what
was left out of it on purpose.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClass:
    """Images of about one size or shape, and the originals of the data set that are. `name`: as people say it."""

    name: str
    images: int
    originals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedExample:
    """An item that a check rejected. URLs are redacted. `like`: that of the earlier image that it looks like."""

    url: str
    message: str
    like: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedItems:
    """All items that were rejected for one reason, with the first ones of the list."""

    code: str
    items: int
    examples: tuple[RejectedExample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostImages:
    """The images that came from one host."""

    host: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSize:
    """One shard."""

    name: str
    images: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsRecord:
    """The shards of a data set; `first` are those at its beginning."""

    count: int = 0
    size_bytes: int = 0
    least_bytes: int = 0
    most_bytes: int = 0
    first: tuple[ShardSize, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetRecord:
    """The data set as it is after a run, of whichever runs. `hosts`: those with the most images, of `hosts_total`."""

    images: int = 0
    size_bytes: int = 0
    sides: tuple[ImageClass, ...] = ()
    shapes: tuple[ImageClass, ...] = ()
    hosts: tuple[HostImages, ...] = ()
    hosts_total: int = 0
    rejected: tuple[RejectedItems, ...] = ()
    shards: ShardsRecord | None = None
