"""What a bench works on: the images, the order they are listed in, and how long the origin lets each of them wait.

Every case meets the same waits: each URL has one of its own, drawn once, so that no case is lucky. The origin of a
bench never misbehaves, because the pauses before retries are drawn by lot and would drown what is compared.

The user's own URLs are fetched once into a local cache, with the wait of each, and then replayed. That is the download
half of an ordinary run: the same stage, limits per host, robots and retries. What was fetched or failed is not asked
for again; delete the cache's folder to fetch anew.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from statistics import median

from msgspec import Struct, to_builtins
from msgspec.structs import asdict, replace

from batchproc.bench.bench_json import BenchDataset, Latencies
from batchproc.config import STDIN, Config, OriginTable
from batchproc.download.fetch import Download
from batchproc.errors import Problem, UsageError
from batchproc.executors import Executor, ThreadExecutor
from batchproc.explain.words import count
from batchproc.frontier import Frontier, host_of
from batchproc.measure.processes import usable_cores
from batchproc.model import Failure, Item, Outcome, Rejection, Source, SourceImage
from batchproc.origin import OriginSettings, listing
from batchproc.origin.site import LONGEST_LATENCY_SECONDS, content_type
from batchproc.pipeline.import_list import JobList
from batchproc.pipeline.stages import make_download, make_frontier, make_origin_settings
from batchproc.sink import write_atomically

REPLAYED_ITEMS = 120  # of a list of the user's own, unless `--limit` says otherwise
ORIGIN = "http://origin.invalid"  # stands in for the origin's address before it has one
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


class Dataset(Struct, frozen=True, kw_only=True):
    """Relative URLs in their order, and the origin that serves them. `kind` is origin, photos or replay.

    `left_out` counts what the list has beyond them: not served here, not fetched, or beyond the limit's items.
    """

    kind: str
    paths: tuple[str, ...]
    origin: OriginSettings
    per_host: int
    left_out: int
    text: str

    def describe(self) -> BenchDataset:
        """What bench.json says of it; its waits in short."""
        waits = [self.origin.latencies[path] for path in self.paths]
        return BenchDataset(
            kind=self.kind,
            items=len(self.paths),
            left_out=self.left_out,
            per_host=self.per_host,
            latency_seconds=Latencies(median=median(waits), min=min(waits), max=max(waits)),
            text=self.text,
        )

    def identity(self) -> dict[str, object]:
        """All that decides the work, for the fingerprint of the bench."""
        return {"kind": self.kind, "paths": self.paths, "origin": to_builtins(self.origin), "per_host": self.per_host}


class CacheEntry(Struct, frozen=True, kw_only=True):
    """A line of the cache's index: where an item's original is and how long it took to come, or why there is none."""

    key: str
    file: str = ""
    wait_seconds: float = 0.0
    code: str = ""


def find_dataset(config: Config, cache: Path, *, limit: int, notify: Callable[[str], None]) -> Dataset:
    """The images of `[bench] photos`, of the embedded origin, or of the user's own URLs, at most `limit` (0 = all).

    The user's own URLs are fetched into `cache`, once. Raises `UsageError`.
    """
    if config.paths.bench_photos:
        return _served(config, "photos", photos=str(config.paths.bench_photos), limit=limit)
    if STDIN in config.paths.inputs:
        raise UsageError("bench cannot read its list from stdin: every case needs it again; put it into a file")
    if config.origin:
        return _served(config, "origin", photos=str(config.paths.photos or ""), limit=limit)
    return capture(config, cache, limit=limit or REPLAYED_ITEMS, notify=notify)


def spread(paths: Sequence[str], *, latency_seconds: float, jitter: float, seed: int) -> dict[str, float]:
    """A wait for each path: log-normal around the median `latency_seconds`, decided by the seed."""
    rng = Random(f"{seed}/bench latency")
    waits = (latency_seconds * math.exp(rng.gauss(0.0, jitter)) for _ in paths)
    return {path: min(wait, float(LONGEST_LATENCY_SECONDS)) for path, wait in zip(paths, waits, strict=True)}


def _served(config: Config, kind: str, *, photos: str, limit: int) -> Dataset:
    table = config.origin or OriginTable()
    settings = replace(make_origin_settings(config, 0), photos=photos, faults=0.0)
    served = [entry.path for entry in listing(settings)]
    listed, total = (served, len(served)) if kind == "photos" else _listed_paths(config, frozenset(served))
    paths = tuple(itertools.islice(listed, limit or None))
    waits = spread(served, latency_seconds=table.latency, jitter=table.jitter, seed=table.seed)
    latency = f"{1000 * table.latency:g} ms of latency (median)"
    source = f"{photos}" if photos else "the embedded origin's own"
    return Dataset(
        kind=kind,
        paths=paths,
        origin=replace(settings, latencies=waits),
        per_host=config.download.per_host,
        left_out=total - len(paths),
        text=f"{len(paths)} images, {source}, from one local origin without faults, with {latency}",
    )


def _listed_paths(config: Config, served: frozenset[str]) -> tuple[list[str], int]:
    """What the list names of the origin's images, each once, in the list's order; and how many URLs it has."""
    items = JobList.of(config, ORIGIN).items()
    found = dict.fromkeys(item.url.removeprefix(ORIGIN) for item in items if not item.code)
    paths = [path for path in found if path in served]
    if not paths:
        where = f'[job] input = "{config.job.input_text}"'
        message = "names no image of the embedded origin; without [origin] its URLs are fetched once and replayed"
        raise UsageError([Problem(where=where, message=message)])
    return paths, len(found)


def capture(config: Config, folder: Path, *, limit: int, notify: Callable[[str], None]) -> Dataset:
    """The first `limit` items of the list, brought into the cache. Raises `UsageError` when none can be had.

    Waits are as they were measured; the hosts of the list become one, with room for as many connections.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(itertools.islice(sources(config), limit))
    known = _read_index(folder / INDEX_NAME)
    missing = [one for one in wanted if one.key_hex not in known]
    if missing:
        notify(f"fetching {len(missing)} originals once, as politely as a run does; they stay in {folder}")
        _fetch(config, missing, folder)
        known = _read_index(folder / INDEX_NAME)
    entries = [(source, found) for source in wanted if (found := known.get(source.key_hex)) and found.file]
    if not entries:
        message = f"none of the first {len(wanted)} items could be fetched; `batchproc run` says why"
        raise UsageError([Problem(where=config.job.input_text, message=message)])
    waits = {f"/{entry.file}": min(entry.wait_seconds, LONGEST_LATENCY_SECONDS) for _, entry in entries}
    hosts = len({host_of(source.url) for source, _ in entries})
    return Dataset(
        kind="replay",
        paths=tuple(f"/{entry.file}" for _, entry in entries),
        origin=OriginSettings(photos=str(folder), jitter=0.0, latency_seconds=0.0, latencies=waits),
        per_host=min(1024, config.download.per_host * hosts),
        left_out=len(wanted) - len(entries),
        text=(
            f"{len(entries)} images of your list, fetched once from {count(hosts, 'host')} and served again by a local "
            "origin, each after the wait that it had then (first byte and body; connecting and TLS are not replayed)"
        ),
    )


def sources(config: Config) -> Iterator[Source]:
    """The list's items, each once."""
    seen: set[bytes] = set()
    for item in JobList.of(config, config.job.base_url).items():
        if not item.code and item.key not in seen:
            yield Source(index=len(seen), line=item.line, url=item.url, key=item.key, extra_json=item.extra_json)
            seen.add(item.key)


def _fetch(config: Config, missing: list[Source], folder: Path) -> None:
    """Downloads in threads and writes each original, then its line of the index."""
    frontier = make_frontier(config, iter(missing))
    workers = min(len(missing), config.download.worker_count("thread", usable_cores()))
    with ThreadExecutor(workers=workers) as executor, (folder / INDEX_NAME).open("a", encoding="utf-8") as index:
        index.write("\n")  # a killed bench may have left half a line
        for final in fetch(executor, make_download(config), frontier):
            index.write(json.dumps(asdict(_keep(final, folder))) + "\n")
            index.flush()


def fetch(executor: Executor, download: Download, frontier: Frontier) -> Iterator[Outcome]:
    """The download half of a run: what becomes of each item in the end."""
    for outcome in executor.run(download, frontier):
        passed = frontier.downloaded(outcome)
        final = frontier.on_outcome(passed) if passed is not None else None
        if final is not None:
            yield final


def _keep(outcome: Outcome, folder: Path) -> CacheEntry:
    """Writes an original under its key."""
    key = outcome.source.key_hex
    if not isinstance(outcome, Item):
        return CacheEntry(key=key, code=outcome.code if isinstance(outcome, Failure | Rejection) else "")
    original: SourceImage = outcome.value
    name = f"{key}{SUFFIXES.get(content_type(original.content), OTHER_SUFFIX)}"
    (folder / name).write_bytes(original.content)
    parts = outcome.spans[-1].parts
    wait = sum(parts[part][0] for part in WAITING_PARTS if part in parts)
    return CacheEntry(key=key, file=name, wait_seconds=wait)


def _read_index(path: Path) -> dict[str, CacheEntry]:
    """The index by key; a line that a killed bench left half-written is passed over."""
    entries = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError):
            entry = CacheEntry(**json.loads(line))
            entries[entry.key] = entry
    return entries


LOOPBACK = "127.0.0.1/32"
PRIVATE = 0o600


def write_job_file(path: Path, config: Config, *, items: Path, base_url: str, per_host: int) -> None:
    """Writes the job that every case runs. Raises OSError.

    `items` is a list of relative URLs, joined with `base_url`. Reports, metrics and the embedded origin are off; no
    exit code depends on failures, for the bench compares them itself; nothing that is meant for other people's servers
    (headers, proxies, certificates, tables of hosts) is kept.
    """
    tables = config.model_dump(mode="json", exclude_none=True, exclude={"origin", "bench", "metrics"})
    tables["job"] |= {
        "root": str(config.paths.root),
        "input": str(items),
        "id_column": "",
        "delimiter": "",
        "quoting": "auto",
        "columns": {},
        "duplicates": "first",
        "base_url": base_url,
        "output": str(path.parent / "unused"),  # every run is given its own
        "max_failed_ratio": 1.0,
        "max_failed": 0,
        "max_bad_rows": 0,
        "fail_on_empty": False,
        "max_duration": 0.0,
        "exit_on_limit": False,
        "prune": False,
    }
    tables["download"] |= {"allow_addresses": [LOOPBACK], "per_host": per_host, "headers": {}, "proxy": "", "hosts": {}}
    tables["download"] |= {"ca_file": "", "client_cert": "", "client_key": ""}
    tables["output"]["caption"] = ""  # the items have no columns
    tables["report"] |= {"html": False, "trace": False, "gallery": 0, "sampling": True}
    write_atomically(path, [toml_text(tables).encode()], mode=PRIVATE)


def child_environment() -> dict[str, str]:
    """The environment without the config's own variables: they are in the job file already."""
    return {name: value for name, value in os.environ.items() if not (name.startswith("BATCHPROC_") and "__" in name)}


def toml_text(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of values as TOML."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{toml_value(key)} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """A text, number, boolean, list, tuple or table as an inline TOML value (v1.0.0)."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")
