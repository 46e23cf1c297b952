"""What the ledger and the files share of a manifest: its rows in blocks, each known by where it stood and its digest.

The rows of `BLOCK_ITEMS` neighbouring items are a block. One that is as it was when the manifest was last written is
copied as bytes; the ledger forgets a block with the same commit that changes one of its rows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

BLOCK_ITEMS = 256  # 140 KB of metadata.jsonl: a changed row costs as many others, a file of 1,000,000 has 4,000 blocks

Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Where the rows of a block stand in a manifest, and what they are."""

    start_bytes: int
    size_bytes: int
    digest: bytes  # of the manifest's form and these bytes, by `hasher`


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one block. `rows` are not touched where `known` is still what the file holds."""

    rows: Iterable[Row]
    known: Block | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest is to hold: its parts in their order. `form` is what decides how all of its rows are written."""

    parts: Iterator[Part]
    form: str = ""

    def hasher(self) -> "hashlib._Hash":
        """What makes the digest of a block: fed with its bytes. Another form makes another digest of the same bytes."""
        return hashlib.sha256(self.form.encode("utf-8", "surrogatepass") + b"\n")
