"""What a bench works on: the pictures, the order they are listed in, and how long the origin lets each of them wait.

Every case meets the same waits: each URL has one of its own, drawn once, so that no case is lucky. The origin of a
bench never misbehaves, because the pauses before retries are drawn by lot and would drown what is compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from batchproc.bench.capture import Captured, capture
from batchproc.config import STDIN, Config, OriginTable
from batchproc.errors import Problem, UsageError
from batchproc.model import Source
from batchproc.origin import OriginSettings, listing
from batchproc.origin.settings import LONGEST_LATENCY_SECONDS
from batchproc.pipeline.assembly import read_list
from batchproc.pipeline.stages import make_origin_settings

REPLAYED_ITEMS = 120  # of a list of the user's own, unless `--limit` says otherwise
ORIGIN = "http://origin.invalid"  # stands in for the origin's address before it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Relative URLs in their order, and the origin that serves them. `kind` is origin, photos or replay.

    `left_out` counts what the list has beyond them: not served here, not fetched, or beyond the limit's items.
    """

    kind: str
    paths: tuple[str, ...]
    origin: OriginSettings
    per_host: int
    left_out: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """The `material` object of bench.json; its waits in short."""
        waits = [self.origin.latencies[path] for path in self.paths]
        return {
            "kind": self.kind,
            "items": len(self.paths),
            "left_out": self.left_out,
            "per_host": self.per_host,
            "latency_seconds": {"median": median(waits), "min": min(waits), "max": max(waits)},
            "text": self.text,
        }

    def identity(self) -> dict[str, Any]:
        """All that decides the work, for the fingerprint of the bench."""
        return {"kind": self.kind, "paths": self.paths, "origin": asdict(self.origin), "per_host": self.per_host}


def find_material(config: Config, cache: Path, *, limit: int, tell: Any) -> Material:
    """The pictures of `[bench] photos`, of the embedded origin, or of the user's own URLs, at most `limit` (0 = all).

    The user's own URLs are fetched into `cache`, once. Raises `UsageError`.
    """
    if config.paths.bench_photos:
        return _served(config, "photos", photos=str(config.paths.bench_photos), limit=limit)
    if config.paths.input == STDIN:
        raise UsageError("bench cannot read its list from stdin: every case needs it again; put it into a file")
    if config.origin:
        return _served(config, "origin", photos=str(config.paths.photos or ""), limit=limit)
    return _replayed(config, capture(config, cache, limit=limit or REPLAYED_ITEMS, tell=tell))


def spread(paths: Sequence[str], *, latency_seconds: float, jitter: float, seed: int) -> dict[str, float]:
    """A wait for each path: log-normal around the median `latency_seconds`, decided by the seed."""
    rng = Random(f"{seed}/bench latency")
    waits = (latency_seconds * math.exp(rng.gauss(0.0, jitter)) for _ in paths)
    return {path: min(wait, float(LONGEST_LATENCY_SECONDS)) for path, wait in zip(paths, waits, strict=True)}


def _served(config: Config, kind: str, *, photos: str, limit: int) -> Material:
    table = config.origin or OriginTable()
    settings = replace(make_origin_settings(config, 0), photos=photos, faults=0.0)
    served = [entry.path for entry in listing(settings)]
    listed, total = (served, len(served)) if kind == "photos" else _listed_paths(config, frozenset(served))
    paths = tuple(islice(listed, limit or None))
    waits = spread(served, latency_seconds=table.latency, jitter=table.jitter, seed=table.seed)
    latency = f"{1000 * table.latency:g} ms of latency (median)"
    source = f"{photos}" if photos else "the embedded origin's own"
    return Material(
        kind=kind,
        paths=paths,
        origin=replace(settings, latencies=waits),
        per_host=config.download.per_host,
        left_out=total - len(paths),
        text=f"{len(paths)} pictures, {source}, from one local origin without faults, with {latency}",
    )


def _listed_paths(config: Config, served: frozenset[str]) -> tuple[list[str], int]:
    """What the list names of the origin's pictures, each once, in the list's order; and how many URLs it has."""
    entries = read_list(config, ORIGIN)
    found = dict.fromkeys(entry.url.removeprefix(ORIGIN) for entry in entries if isinstance(entry, Source))
    paths = [path for path in found if path in served]
    if not paths:
        where = f'[job] input = "{config.job.input}"'
        message = "names no picture of the embedded origin; without [origin] its URLs are fetched once and replayed"
        raise UsageError([Problem(where=where, message=message)])
    return paths, len(found)


def _replayed(config: Config, captured: Captured) -> Material:
    """The waits as they were measured; the hosts of the list become one, with room for as many connections."""
    waits: Mapping[str, float] = {path: min(wait, LONGEST_LATENCY_SECONDS) for path, wait in captured.waits.items()}
    per_host = min(1024, config.download.per_host * captured.hosts)
    hosts = f"{captured.hosts} host{'' if captured.hosts == 1 else 's'}"
    return Material(
        kind="replay",
        paths=captured.paths,
        origin=OriginSettings(photos=str(captured.folder), jitter=0.0, latency_seconds=0.0, latencies=waits),
        per_host=per_host,
        left_out=captured.left_out,
        text=(
            f"{len(captured.paths)} pictures of your list, fetched once from {hosts} and served again by a local "
            "origin, each after the wait that it had then (first byte and body; connecting and TLS are not replayed)"
        ),
    )
