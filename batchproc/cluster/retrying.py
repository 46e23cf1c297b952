"""`--retry-failed` on a cluster: what failed for good in committed parts is due again, in parts of its own."""

import json
from collections.abc import Collection, Iterator
from uuid import uuid4

from msgspec.structs import replace

from batchproc.cluster.manifest import PartManifest
from batchproc.cluster.merge import by_number, rest_keys
from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.plan import FOLDER, ClusterPlan, decode_line
from batchproc.cluster.shared_store import Store
from batchproc.ledger.url_changes import INPUT_STAGE

FAILED = ("failed", "quarantined")


def retry_failed(plan: ClusterPlan, ledger: PartLedger, store: Store, codes: Collection[str]) -> None:
    """Parts in quarantine, and items that failed for good, are due again; with `codes` only what failed as these.

    Not bad lines. Raises `DiskError`.
    """
    if not codes:
        ledger.forgive()
    lists = {shard.number: shard for shard in plan.shards}
    for group in by_number(ledger.manifests()):
        keys = set(_failed_keys(store, group, codes))
        if keys:
            shard, last = lists[group[-1].number], group[-1]
            lines = store.get_range(f"{FOLDER}/{plan.name}/{shard.list_name}", shard.offset, shard.size_bytes)
            ledger.commit(_with_rest(store, last, lines, keys | rest_keys(store, last)))


def _failed_keys(store: Store, group: list[PartManifest], codes: Collection[str]) -> Iterator[str]:
    """What no later generation of the part has tried again."""
    for manifest, later in zip(group, [*group[1:], None], strict=True):
        superseded = rest_keys(store, manifest) if later is not None else set()
        for line in (store.get(manifest.failures) or b"").splitlines():
            row = json.loads(line)
            is_wanted = row["outcome"] in FAILED and row["stage"] != INPUT_STAGE
            if is_wanted and row["key"] not in superseded and (not codes or row["code"] in codes):
                yield row["key"]


def _with_rest(store: Store, manifest: PartManifest, lines: bytes, keys: set[str]) -> PartManifest:
    """The manifest as if its part had left these items; for the driver alone: the committed one stays."""
    rest = b"".join(line for line in lines.splitlines(keepends=True) if decode_line(line).key.hex() in keys)
    name = f"{FOLDER}/{manifest.plan}/retried/{manifest.number:06d}-{manifest.generation}-{uuid4().hex}.jsonl"
    store.replace(name, rest)
    return replace(manifest, rest=name, rest_bytes=len(rest), due=len(keys))
