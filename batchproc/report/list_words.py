"""What is said of the list itself: rows that became no item, and values that were changed on the way."""

from collections.abc import Iterator, Sequence

from batchproc.explain.words import count
from batchproc.record.run import Counts

REMARKS_SHOWN = 5


def list_lines(counts: Counts, remarks: Sequence[str], *, keeps_rows: bool, pruned: int) -> Iterator[str]:
    """A sentence for each thing that whoever wrote the list should know; none where all is plain."""
    if counts.duplicates:
        kept = "each has its row in metadata.jsonl" if keeps_rows else 'duplicates = "rows" keeps their columns too'
        yield f"{count(counts.duplicates, 'further row')} of items listed before: {kept}"
    if counts.bad_rows:
        yield f"{count(counts.bad_rows, 'bad row')}: see failures.jsonl"
    if pruned:
        yield f"{count(pruned, 'file')} pruned: their sources left the list"
    yield from remarks[:REMARKS_SHOWN]
    if len(remarks) > REMARKS_SHOWN:
        yield f"and {len(remarks) - REMARKS_SHOWN} remarks more, in run.json"
