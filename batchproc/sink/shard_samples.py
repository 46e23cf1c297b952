"""What is in a shard: an image with its row, and the settings that decide how it is written."""

import json
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol, TypeAlias

from msgspec import Struct

from batchproc.columns import Type
from batchproc.redact import printable
from batchproc.remembered import Row

FORMAT = 1  # raised when the same rows make other bytes than before


class Column(Struct, frozen=True, kw_only=True):
    """A column of the rows; `own` is its name in the list, None for a fact of ours."""

    name: str
    type: Type
    own: str | None = None


class ShardSettings(Struct, frozen=True, kw_only=True):
    """What decides how rows become shards, beside the rows."""

    layout: str
    shard_items: int
    columns: tuple[Column, ...]
    caption: str = ""  # the column of the rows with the captions; empty = none

    @property
    def suffix(self) -> str:
        """How the names of the shards end."""
        return {"webdataset": ".tar", "parquet": ".parquet"}[self.layout]

    def text(self) -> str:
        """All of it, for comparing."""
        columns = [(column.name, column.type) for column in self.columns]
        return json.dumps([FORMAT, self.layout, self.shard_items, self.caption, columns])


class Sample(Struct, frozen=True, kw_only=True):
    """One image of a shard, with its row."""

    item: int
    key_hex: str
    name: str  # in its shard: the key, and a number behind it for a further row of the same item
    suffix: str
    size_bytes: int
    sha256_hex: str
    row: Row
    row_json: bytes

    @property
    def file_name(self) -> str:
        return f"{self.name}{self.suffix}"

    @property
    def packed_name(self) -> str:
        """The name of its image in a shard; the first where it has several."""
        return packed_name(self.key_hex, self.suffix)


class LostImageError(Exception):
    """The image of an item is not what its row says, wherever it is."""

    def __init__(self, item: int) -> None:
        super().__init__(item)
        self.item = item


class UnfitRowError(Exception):
    """A row has a value that is not of its column's type, as it may come from an earlier list."""

    def __init__(self, item: int, column: str) -> None:
        super().__init__(f'its value of the column "{printable(column)}" is not of the column\'s type')
        self.item = item


def packed_name(key_hex: str, suffix: str) -> str:
    """The name of an image inside its shard."""
    return f"{key_hex}{suffix}"


def make_samples(rows: Iterable[tuple[int, Row]]) -> list[Sample]:
    """What the rows of a shard's items, in their order, become."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    samples: list[Sample] = []
    number = 1
    for item, row in rows:
        key_hex = str(row["key"])
        number = number + 1 if samples and samples[-1].item == item else 1
        sample = Sample(
            item=item,
            key_hex=key_hex,
            name=key_hex if number == 1 else f"{key_hex}-{number}",
            suffix=str(row["file_name"]).removeprefix(key_hex),
            size_bytes=int(str(row["size_bytes"])),
            sha256_hex=str(row["sha256"]),
            row=row,
            row_json=encode(row).encode("utf-8", "backslashreplace"),
        )
        samples.append(sample)
    return samples


Read: TypeAlias = "Callable[[Sample], bytes]"


class ByteSink(Protocol):
    """What a shard is written to."""

    def write(self, content: bytes, /) -> int: ...


class OpenedShard(Protocol):
    """An earlier shard, whose images can be read."""

    def names(self) -> Iterable[str]:
        """The names of the images, and in a tar file those of all members."""
        ...

    def size_of(self, name: str) -> int | None:
        """The size of the image of this name; None where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """The image of this name. Raises OSError and ValueError."""
        ...

    def close(self) -> None: ...


class ShardFormat(Protocol):
    """How shards of one layout are written and read."""

    def write(self, file: ByteSink, settings: ShardSettings, samples: "list[Sample]", read: Read) -> None:
        """Writes a whole shard. Raises OSError, and what `read` raises."""
        ...

    def open(self, file: BinaryIO) -> OpenedShard:
        """Opens one; the file is closed with it. Raises OSError and ValueError where it is damaged."""
        ...
