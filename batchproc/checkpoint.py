"""Places in a list up to which it is known, so that a list whose beginning is as it was is read from there on."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A place between two rows of a list, where a line begins, and what its reader has to know to go on there."""

    size_bytes: int  # of the text before it, unpacked and without a byte order mark
    digest: bytes  # of how the list is read, and of that text, by `hasher`
    line: int  # the last one before it
    header: tuple[str, ...]  # of a table
    columns: str  # what was learned of them so far, by `Columns.dump`


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The first entry of a list whose beginning is as it was: what follows is behind that place."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of the list as it was read last. `rule`: all that decides what its bytes mean."""

    rule: str
    checkpoints: tuple[Checkpoint, ...] = ()  # in the order of the list

    def hasher(self) -> "hashlib._Hash":
        """What makes the digest of a checkpoint: fed with the text before it."""
        return hashlib.sha256(self.rule.encode("utf-8", "surrogatepass") + b"\n")
