"""The plan of a job as its driver keeps it: made once, and grown by what is new when the list has changed."""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from batchproc.cluster.comparison import Changes, amend
from batchproc.cluster.driver import Part
from batchproc.cluster.partition import Earlier, make_plan
from batchproc.cluster.plan import CURRENT_NAME, FOLDER, LIST_NAME, ClusterPlan, read_plan
from batchproc.cluster.shared_store import Store
from batchproc.columns import Columns
from batchproc.config import ClusterTable, Config
from batchproc.errors import UsageError
from batchproc.pipeline.import_list import JobList, check_list
from batchproc.sink import Layout, write_atomically


class Plans(Struct, frozen=True, kw_only=True):
    """The plans of one job. `settings`: what decides what its images are; `home`: on this machine's disk."""

    config: Config
    table: ClusterTable
    settings: str
    layout: Layout
    store: Store

    def find(self, job_list: JobList, *, fresh: bool, accept: bool) -> ClusterPlan:
        """The plan of the list as it is; a new one where everything is made again (`fresh`).

        Raises `UsageError` for settings that have changed, unless that is accepted, and for a list that the config does
        not allow.
        """
        known = self._current()
        plan = read_plan(self.layout.output / FOLDER / known["plan"]) if known else None
        if known is None or plan is None or fresh or (accept and known["settings"] != self.settings):
            return self._make(job_list, known["times"] + 1 if known else 0)
        if known["settings"] != self.settings:
            raise UsageError(
                f"{self.layout.output}: the settings have changed since its parts were planned. "
                "--accept-config-change makes every image again; another --output keeps both."
            )
        self._send_lists(plan)
        if plan.fingerprint and plan.fingerprint == job_list.fingerprint():
            return plan
        return self._grow(job_list, plan)

    def changes(self, plan: ClusterPlan) -> Changes:
        """What became of the lines of its parts."""
        index = {part: (offset, size_bytes) for part, offset, size_bytes in plan.changed}
        return Changes(path=self.layout.output / FOLDER / plan.name / plan.changes, index=index)

    def amended(self, plan: ClusterPlan, part: Part) -> Part:
        """A part that is still to be done, with its lines as the list has them now."""
        changes = self.changes(plan).of(part.number)
        if not changes:
            return part
        content = amend(self.store.get_range(part.list_name, part.offset, part.size_bytes), changes)
        name = f"{FOLDER}/{plan.name}/amended/{plan.changes}-{part.number:06d}-{part.generation}.jsonl"
        self.store.replace(name, content)
        return replace(part, list_name=name, offset=0, size_bytes=len(content), items=content.count(b"\n"))

    def _make(self, job_list: JobList, times: int) -> ClusterPlan:
        """A plan that has nothing of earlier ones: `times` is in its name."""
        home = self.layout.output / FOLDER
        new = home / "new"
        plan = make_plan(
            job_list, new, shard_urls=self.table.shard_urls, salt=f"{self.settings} {times}", check=self._check
        )
        place = home / plan.name
        place.mkdir(exist_ok=True)
        for path in new.iterdir():
            path.replace(place / path.name)
        new.rmdir()
        self._send_lists(plan)
        content = json.dumps({"plan": plan.name, "settings": self.settings, "times": times}).encode()
        write_atomically(home / CURRENT_NAME, [content])
        return plan

    def _grow(self, job_list: JobList, plan: ClusterPlan) -> ClusterPlan:
        place = self.layout.output / FOLDER / plan.name
        earlier = Earlier(plan=plan, lines=self._lines(plan), changes=self.changes(plan))
        grown = make_plan(
            job_list, place, shard_urls=self.table.shard_urls, earlier=earlier, check=self._check
        )
        self._send_lists(grown)
        return grown

    def _check(self, columns: Columns, items: int, bad_rows: int) -> None:
        check_list(self.config, lambda: columns, items=items, bad_rows=bad_rows)

    def _lines(self, plan: ClusterPlan) -> Iterator[tuple[int, bytes]]:
        """The lines of all parts as they were planned."""
        for shard in plan.shards:
            name = f"{FOLDER}/{plan.name}/{shard.list_name}"
            content = self.store.get_range(name, shard.offset, shard.size_bytes)
            yield from ((shard.number, line) for line in content.splitlines(keepends=True))

    def _send_lists(self, plan: ClusterPlan) -> None:
        """Sends what is still here to the bucket, if it is one: a folder is where the workers see it."""
        if not self.config.paths.bucket:
            return
        for name in dict.fromkeys([LIST_NAME, *(shard.list_name for shard in plan.shards)]):
            path = self.layout.output / FOLDER / plan.name / name
            if path.exists():
                self.store.put(f"{FOLDER}/{plan.name}/{name}", path)

    def _current(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.layout.output / FOLDER / CURRENT_NAME).read_bytes())
        except FileNotFoundError:
            return None
        return found
