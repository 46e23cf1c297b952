"""What a part came to, as it is committed: the one object that says that it is done, and where all that it made is."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A shard of images in the output."""

    name: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartManifest:
    """One part, or what was left of one (`generation` 1 and up). Names are of objects in the output.

    `rest`: lines of `list.jsonl` of the `due` items that are to be tried again, of which `pending` were not reached.
    `staged`: a folder with images that have to be moved to their places. `record`: what run.json says, in short.
    `columns`: tells the columns of its rows from others.
    """

    plan: str
    number: int
    generation: int
    attempt: str
    worker: str
    exit_code: int
    seconds: float
    rows: str
    failures: str
    columns: str = ""
    rest: str = ""
    rest_bytes: int = 0
    due: int = 0
    pending: int = 0
    staged: str = ""
    shards: tuple[Made, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The object's content."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, ensure_ascii=False).encode() + b"\n"


def manifest_name(plan: str, number: int, generation: int) -> str:
    """Where the manifest of a part is."""
    return f"cluster/{plan}/parts/{number:06d}-{generation}.json"


def parse_manifest(content: bytes) -> PartManifest:
    """The manifest with this content. Raises ValueError for one of another version."""
    values = json.loads(content)
    if values.pop("schema", None) != SCHEMA:
        raise ValueError("of another version of batchproc")
    return PartManifest(**values | {"shards": tuple(Made(**one) for one in values["shards"])})
