"""A list in segments that end where a line ends, each known by the digest of all the text up to its end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchproc.columns import Columns
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources.lines import Line, split_lines

SEGMENT_BYTES = 4 << 20  # about 50,000 rows: what is read again at most, before the first change

NO_MEMORY = ListMemory(rule="")
OpenBlocks = Callable[[int | None], Iterator[bytes]]  # the blocks of the list from a byte of its text on


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The end of a segment."""

    size_bytes: int
    digest: bytes
    line: int


class Segments:
    """The segments of one list, each the iterator of its numbered lines, to be used up and ended before the next one.

    Without a `memory` a list is one segment, without an end to come back to.
    """

    def __init__(self, open_blocks: OpenBlocks, memory: ListMemory | None, line: int = 0) -> None:
        self.known: Checkpoint | None = None
        self.line = line  # the last one before the first segment
        self._memory = memory
        self._size = 0  # of the text that was given out
        self._digest = (memory or NO_MEMORY).hasher()  # of that text
        self._ends_line = False  # the segment that was given out last
        self._blocks = open_blocks(None)
        self._waiting: list[bytes] = []  # blocks that were read ahead, the next one last
        if memory is not None:
            self._skip_known(open_blocks, memory)

    def __iter__(self) -> Iterator[Iterator[tuple[int, Line]]]:
        if self._memory is None:
            yield enumerate(split_lines(self._blocks), start=self.line + 1)
            return
        while self._look_ahead():
            yield enumerate(split_lines(self._cut()), start=self.line + 1)

    def begin(self, columns: Columns) -> Iterator[Known]:
        """The first entry of a list that is not read from its beginning; `columns` become what they were there."""
        if self.known is not None:
            columns.load(self.known.columns)
            yield Known(checkpoint=self.known)

    def end(self, line: int) -> Place | None:
        """The end of the segment that was just used up with this line; None where nobody could go on there."""
        self.line = line
        return Place(size_bytes=self._size, digest=self._digest.digest(), line=line) if self._ends_line else None

    def _cut(self) -> Iterator[bytes]:
        """The blocks of the next segment: to the first line end behind `SEGMENT_BYTES`, or the last of the list."""
        end = self._size + SEGMENT_BYTES
        self._ends_line = False
        while not self._ends_line and self._look_ahead():
            block = self._waiting.pop()
            is_last = not self._look_ahead()
            if (is_last or self._size + len(block) >= end) and (cut := block.rfind(b"\n") + 1):
                self._waiting += filter(None, [block[cut:]])
                block = block[:cut]
                self._ends_line = True
            self._digest.update(block)
            self._size += len(block)
            yield block

    def _look_ahead(self) -> bool:
        """Whether there is another block."""
        if not self._waiting:
            self._waiting += filter(None, [next(self._blocks, b"")])
        return bool(self._waiting)

    def _skip_known(self, open_blocks: OpenBlocks, memory: ListMemory) -> None:
        """Goes to the last checkpoint up to which the list is as it was."""
        digest, read = memory.hasher(), 0
        for checkpoint in memory.checkpoints:
            while read < checkpoint.size_bytes and self._look_ahead():
                block = self._waiting.pop()
                wanted = checkpoint.size_bytes - read
                self._waiting += filter(None, [block[wanted:]])
                digest.update(block[:wanted])
                read += min(wanted, len(block))
            if read < checkpoint.size_bytes or digest.digest() != checkpoint.digest:
                break
            self.known, self._digest, self._size, self.line = checkpoint, digest.copy(), read, checkpoint.line
        if read != self._size:
            self._waiting, self._blocks = [], open_blocks(self._size)
