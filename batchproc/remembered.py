"""What is remembered of files, by digest, so that what is as it was is neither read nor written again.

Of a list: places up to which it is known, so that a list whose beginning is as it was is read from there on. Of a
manifest: its rows in blocks of `BLOCK_ITEMS` neighbouring items, each known by where it stood. A block that is as it
was is copied as bytes; the ledger forgets it with the same commit that changes one of its rows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A place between two rows of a list, where a line begins, and what its reader has to know to go on there."""

    size_bytes: int  # of the text before it, unpacked and without a byte order mark; of several lists, their lines
    digest: bytes  # of how the list is read, and of that text, by `hasher`
    line: int  # the last one before it
    header: tuple[str, ...]  # of a table
    columns: str  # what was learned of them so far, by `Columns.dump`


class Known(Struct, frozen=True, kw_only=True):
    """The first entry of a list whose beginning is as it was: what follows is behind that place."""

    checkpoint: Checkpoint


class ListMemory(Struct, frozen=True, kw_only=True):
    """What is remembered of the list as it was read last. `rule`: all that decides what its bytes mean."""

    rule: str
    checkpoints: tuple[Checkpoint, ...] = ()  # in the order of the list
    files: tuple[str, ...] = ()  # what distinguishes several lists from others; such are known as a whole

    def hasher(self) -> "hashlib._Hash":
        """What makes the digest of a checkpoint: fed with the text before it."""
        return _hasher(self.rule)


BLOCK_ITEMS = 256  # 140 KB of metadata.jsonl: a changed row costs as many others, a file of 1,000,000 has 4,000 blocks

Row: TypeAlias = Mapping[str, object]


class Block(Struct, frozen=True, kw_only=True):
    """Where the rows of a block stand in a manifest, and what they are."""

    start_bytes: int
    size_bytes: int
    digest: bytes  # of the manifest's form and these bytes, by `hasher`


class Part(Struct, frozen=True, kw_only=True):
    """The rows of one block. `rows` are not touched where `known` is still what the file holds."""

    rows: Iterable[Row]
    known: Block | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """What a manifest is to hold: its parts in their order. `form` is what decides how all of its rows are written."""

    parts: Iterator[Part]
    form: str = ""

    def hasher(self) -> "hashlib._Hash":
        """What makes the digest of a block: fed with its bytes. Another form makes another digest of the same bytes."""
        return _hasher(self.form)


def _hasher(rule: str) -> "hashlib._Hash":
    """A digest of bytes and of what decides what they mean."""
    return hashlib.sha256(rule.encode("utf-8", "surrogatepass") + b"\n")


class Shard(Struct, frozen=True, kw_only=True):
    """A file that holds the images of neighbouring items, with their rows. Its name says what is in it."""

    name: str  # relative to the output folder
    first: int  # of the items that it is for
    last: int
    samples: int
    size_bytes: int
    sha256: bytes  # of the file
