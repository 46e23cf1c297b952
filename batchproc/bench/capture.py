"""Fetches the user's own URLs once, politely, into a local cache, with the wait of each: the bench then replays them.

It is the download half of an ordinary run: the same stage, limits per host, robots and retries. What was fetched or
failed is not asked for again; delete the cache's folder to fetch anew.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchproc.config import Config
from batchproc.errors import Problem, UsageError
from batchproc.executors import ThreadExecutor
from batchproc.frontier import host_of
from batchproc.measure.hardware import usable_cores
from batchproc.model import Failure, Item, Original, Outcome, Rejection, Source
from batchproc.origin.replies import content_type
from batchproc.pipeline.assembly import read_list
from batchproc.pipeline.stages import make_download, make_frontier

INDEX_NAME = "index.jsonl"
WAITING_PARTS = ("first_byte", "body")
SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/tiff": ".tiff",
    "image/bmp": ".bmp",
}
OTHER_SUFFIX = ".jpg"  # the origin serves what is named like an image, and tells its type by its content


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The cache as a bench uses it: paths as the origin names them, in the list's order, and their waits in seconds."""

    folder: Path
    paths: tuple[str, ...]
    waits: Mapping[str, float]
    hosts: int
    left_out: int


def capture(config: Config, folder: Path, *, limit: int, tell: Callable[[str], None]) -> Captured:
    """Brings the first `limit` items of the list into the cache. Raises `UsageError` when none can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(itertools.islice(_sources(config), limit))
    known = _read_index(folder / INDEX_NAME)
    missing = [source for source in wanted if source.key_hex not in known]
    if missing:
        tell(f"fetching {len(missing)} originals once, as politely as a run does; they stay in {folder}")
        _fetch(config, missing, folder)
        known = _read_index(folder / INDEX_NAME)
    rows = [(source, known[source.key_hex]) for source in wanted if known.get(source.key_hex, {}).get("file")]
    if not rows:
        message = f"none of the first {len(wanted)} items could be fetched; `batchproc run` says why"
        raise UsageError([Problem(where=config.job.input, message=message)])
    return Captured(
        folder=folder,
        paths=tuple(f"/{row['file']}" for _, row in rows),
        waits={f"/{row['file']}": row["wait_seconds"] for _, row in rows},
        hosts=len({host_of(source.url) for source, _ in rows}),
        left_out=len(wanted) - len(rows),
    )


def _sources(config: Config) -> Iterator[Source]:
    """The list's items, each once."""
    seen: set[bytes] = set()
    for entry in read_list(config, config.job.base_url):
        if isinstance(entry, Source) and entry.key not in seen:
            seen.add(entry.key)
            yield entry


def _fetch(config: Config, sources: list[Source], folder: Path) -> None:
    """Downloads in threads and writes each original, then its line of the index."""
    frontier = make_frontier(config, iter(sources))
    workers = min(len(sources), config.download.worker_count("thread", usable_cores()))
    with ThreadExecutor(workers=workers) as executor, (folder / INDEX_NAME).open("a", encoding="utf-8") as index:
        index.write("\n")  # a killed bench may have left half a line
        for outcome in executor.run(make_download(config), frontier):
            passed = frontier.downloaded(outcome)
            final = frontier.heard(passed) if passed is not None else None
            if final is not None:
                index.write(json.dumps(_keep(final, folder)) + "\n")
                index.flush()


def _keep(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Writes an original under its key; the index's line says where, and how long it took to come."""
    key = outcome.source.key_hex
    if not isinstance(outcome, Item):
        return {"key": key, "code": outcome.code if isinstance(outcome, Failure | Rejection) else ""}
    original: Original = outcome.value
    name = f"{key}{SUFFIXES.get(content_type(original.content), OTHER_SUFFIX)}"
    (folder / name).write_bytes(original.content)
    parts = outcome.spans[-1].parts
    wait = sum(parts[part][0] for part in WAITING_PARTS if part in parts)
    return {"key": key, "file": name, "wait_seconds": wait}


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """The index by key; a line that a killed bench left half-written is passed over."""
    rows = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            row = json.loads(line)
            rows[row["key"]] = row
    return rows
