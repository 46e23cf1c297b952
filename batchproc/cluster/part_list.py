"""A part of a list, as a run of the job takes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchproc.cluster.plan import decode_line
from batchproc.columns import Columns
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint, ListMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class PartList:
    """Lines of `list.jsonl` in a file of their own. A `batchproc.pipeline.types.Listing`."""

    path: Path
    columns: str  # of the whole list
    names: tuple[str, ...]

    def check(self) -> None:
        """Nothing: it was written by this program."""

    def rows(self, columns: Columns, memory: ListMemory | None) -> Iterator[ListedItem]:
        """Its lines; `columns` comes to hold those of the whole list, so that the rows of all parts are alike."""
        columns.load(self.columns)
        with self.path.open("rb") as file:
            yield from map(decode_line, file)

    def memory(self, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
        """Nothing: it is read once."""
        return None

    def fingerprint(self) -> str:
        """Nothing."""
        return ""
