"""What is in a shard: an image with its row, the settings that decide how it is written, and tar as the first format.

The bytes of a tar file depend on nothing but its members: POSIX ustar, read by `tar` and all loaders. No time, no user,
no padding to a tape's record: two blocks of zeros end the file (IEEE Std 1003.1, pax, "ustar Interchange Format").
"""

import json
from collections.abc import Callable, Iterable, Iterator
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


BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
_NAME, _SIZE, _MAGIC = slice(0, 100), slice(124, 135), slice(257, 263)


class Member(Struct, frozen=True, kw_only=True):
    """Where the content of one member stands in a tar file."""

    name: str
    start_bytes: int
    size_bytes: int


def header(name: str, size_bytes: int) -> bytes:
    """The block before a member's content: a regular file, no link, nobody's. Raises ValueError for a name too long."""
    from tarfile import USTAR_FORMAT, TarInfo  # only who makes shards pays for its import

    member = TarInfo(name)
    member.size = size_bytes
    return member.tobuf(USTAR_FORMAT)


def padding(size_bytes: int) -> bytes:
    """What fills a member's last block."""
    return bytes(-size_bytes % BLOCK_BYTES)


def members(file: BinaryIO) -> Iterator[Member]:
    """The members of a tar file as `header` makes them. Raises ValueError where it is another, or cut short."""
    position = 0
    while True:
        file.seek(position)
        block = file.read(BLOCK_BYTES)
        if block == END[:BLOCK_BYTES]:
            return
        if len(block) != BLOCK_BYTES or block[_MAGIC] != b"ustar\0":
            raise ValueError("not a whole tar file of ours")
        size_bytes = int(block[_SIZE], 8)
        name = block[_NAME].rstrip(b"\0").decode("ascii")
        yield Member(name=name, start_bytes=position + BLOCK_BYTES, size_bytes=size_bytes)
        position += BLOCK_BYTES + size_bytes + -size_bytes % BLOCK_BYTES


def write_tar(file: ByteSink, settings: ShardSettings, samples: list[Sample], read: Read) -> None:
    """Writes a WebDataset: each sample is its image, its row and, if there are captions, its text; all have them all.

    Raises OSError, and what `read` raises.
    """
    for sample in samples:
        contents = {sample.file_name: read(sample), f"{sample.name}.json": sample.row_json}
        if settings.caption:
            contents[f"{sample.name}.txt"] = _text(sample.row.get(settings.caption))
        for name, content in contents.items():
            file.write(header(name, len(content)) + content + padding(len(content)))
    file.write(END)


class OpenedTar:
    """A tar shard whose images can be read. Raises OSError and ValueError where it is damaged."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members = {member.name: member for member in members(file)}

    def names(self) -> Iterable[str]:
        """The names of the images, and of whatever else is there."""
        return self._members

    def size_of(self, name: str) -> int | None:
        """The size of the image of this name; None where there is none."""
        member = self._members.get(name)
        return member.size_bytes if member else None

    def read(self, name: str) -> bytes:
        """The image. Raises OSError."""
        member = self._members[name]
        self._file.seek(member.start_bytes)
        return self._file.read(member.size_bytes)

    def close(self) -> None:
        self._file.close()


def _text(value: object) -> bytes:
    """A caption as the content of a file; empty where there is none."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")
