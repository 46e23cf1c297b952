"""Rows of parts that were done when the list was another one, as they are to be now."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from batchproc.cluster.comparison import LEFT, Change, Changes, Kind
from batchproc.cluster.manifest import PartManifest
from batchproc.cluster.plan import FOLDER, ClusterPlan, decode_line, form_of
from batchproc.cluster.shared_store import Store
from batchproc.columns import Columns
from batchproc.ledger import FACT_TYPES, name_columns
from batchproc.model import LINES_PER_LIST, ListedItem
from batchproc.sink.manifests import encode_rows


class Dropped(Struct):
    """What a part has no more: images and bad rows."""

    images: int = 0
    bad_rows: int = 0


class Amending:
    """The rows of one job's parts. `remove`: is given the names of images whose items left the list."""

    def __init__(
        self, store: Store, plan: ClusterPlan, changes: Changes, caption: str, remove: Callable[[str], None] | None
    ) -> None:
        self._store = store
        self._plan = plan
        self._changes = changes
        self._remove = remove
        self._columns = Columns.parse(plan.columns)
        self._names = name_columns(self._columns.types, caption)
        self._form = form_of(plan.columns)
        self._shards = {shard.number: shard for shard in plan.shards}

    def changes_of(self, number: int) -> dict[str, Change]:
        """What became of the items of one part, by key."""
        return self._changes.of(number)

    def rows(
        self, content: bytes, manifest: PartManifest, changes: Mapping[str, Change], dropped: Dropped
    ) -> bytes:
        """The rows of images, as they are to be; `dropped` comes to count those that are none any more."""
        is_other = manifest.columns != self._form
        if not changes and not is_other:
            return content
        planned = self._planned(manifest.number) if is_other else {}
        return b"".join(encode_rows(self._amended(content, planned, changes, dropped)))

    def _amended(
        self,
        content: bytes,
        planned: Mapping[str, list[ListedItem]],
        changes: Mapping[str, Change],
        dropped: Dropped,
    ) -> Iterator[dict[str, Any]]:
        places: dict[str, int] = {}  # the rows of a key, so far
        for line in content.splitlines():
            row = json.loads(line)
            key = row["key"]
            place = places[key] = places.get(key, -1) + 1
            change = changes.get(key)
            if change is None or change.kind == Kind.MOVED:
                yield self._fitted(row, planned[key][place]) if key in planned else row
            elif change.kind == Kind.CHANGED:
                yield self._fitted(row, change.items[place])
            elif not place:
                dropped.images += 1
                if self._remove is not None and change.kind == Kind.GONE:
                    self._remove(row["file_name"])

    def _fitted(self, row: Mapping[str, Any], item: ListedItem) -> dict[str, Any]:
        facts = {name: value for name, value in row.items() if name in FACT_TYPES}
        listed = self._columns.fit(json.loads(item.extra_json or "{}"))
        return facts | {self._names[column]: value for column, value in listed.items()}

    def failures(
        self, content: bytes, changes: Mapping[str, Change], dropped: Dropped
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The rows of what left early, as they are to be, each with its line."""
        for line in content.splitlines(keepends=True):
            row = json.loads(line)
            change = changes.get(row["key"])
            if change is None:
                yield row, line
            elif change.kind in LEFT:
                dropped.bad_rows += row["stage"] == "input"
            else:
                number, row["line"] = divmod(change.items[0].line, LINES_PER_LIST)
                if self._plan.names:
                    row["list"] = self._plan.names[number]
                yield row, b"".join(encode_rows([row]))

    def _planned(self, number: int) -> dict[str, list[ListedItem]]:
        shard = self._shards[number]
        name = f"{FOLDER}/{self._plan.name}/{shard.list_name}"
        found: dict[str, list[ListedItem]] = {}
        for line in self._store.get_range(name, shard.offset, shard.size_bytes).splitlines():
            item = decode_line(line)
            found.setdefault(item.key.hex(), []).append(item)
        return found
