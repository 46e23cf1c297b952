"""A list on disk, shared out among parts, and what a run of each part gets to read."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchproc.cluster.partition import make_plan
from batchproc.cluster.shard_plan import LIST_NAME, ClusterPlan, PartList
from batchproc.columns import Columns
from batchproc.ledger import Imported
from batchproc.model import ListedItem
from batchproc.pipeline.import_list import JobList
from batchproc.sources import ListFormat
from batchproc.sources.url import is_same_url
from tests.ledger.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A list and its parts. `folder`: of the plan."""

    job_list: JobList
    folder: Path
    plan: ClusterPlan

    def parts(self) -> Iterator[PartList]:
        """Each part as its worker has it: a file of its own."""
        whole = (self.folder / LIST_NAME).read_bytes()
        for shard in self.plan.shards:
            path = self.folder / f"part-{shard.number}.jsonl"
            path.write_bytes(whole[shard.offset : shard.offset + shard.size_bytes])
            yield PartList(path=path, columns=self.plan.columns, names=self.plan.names)

    def items(self) -> list[list[ListedItem]]:
        """What each part lists."""
        return [[*part.rows(Columns(), None)] for part in self.parts()]


def share_out(paths: Sequence[Path], folder: Path, *, shard_urls: int = 10, **how: Any) -> Shared:
    """Shares out lists; `how` to read them, as `ListFormat` names it."""
    job_list = JobList(paths=tuple(map(str, paths)), format=ListFormat(**how), duplicates="first")
    return Shared(job_list=job_list, folder=folder, plan=make_plan(job_list, folder, shard_urls=shard_urls))


def rows_after_import(
    listing: JobList | PartList, folder: Path, *, keyed_by_id: bool = False, keep_rows: bool = False
) -> tuple[Imported, list[dict[str, Any]]]:
    """What a run that begins with this list finds, and the rows of what can never be downloaded."""
    columns = Columns()
    with Job(folder).open() as ledger:
        imported = ledger.import_sources(
            listing.rows(columns, None), names=listing.names, keyed_by_id=keyed_by_id, same_url=is_same_url,
            columns=columns, keep_rows=keep_rows,
        )  # fmt: skip
        rows = [dict(row) for row in ledger.failure_rows()]
        rows += [
            {"key": source.key.hex(), "url": source.url, "line": source.line, "extra": source.extra_json}
            for source in ledger.pending(1_000)
        ]
    return imported, sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
