"""What a part came to, as it is committed: the one object that says that it is done, and where all that it made is."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field, to_builtins
from msgspec.structs import fields

from batchproc.cluster.plan import FOLDER

SCHEMA = 1


class Made(Struct, frozen=True, kw_only=True):
    """A shard of images in the output."""

    name: str
    count: int
    bytes: int
    sha256: str


class PartManifest(Struct, frozen=True, kw_only=True):
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

    @property
    def part(self) -> str:
        """Which part it is of, as `part_name` has it."""
        return part_name(self.number, self.generation)

    def to_json(self) -> bytes:
        """The object's content."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # `record` is large, and JSON already
        values |= {"schema": SCHEMA, "shards": [to_builtins(shard) for shard in self.shards]}
        return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def part_name(number: int, generation: int) -> str:
    """A part, or what was left of one, in names of objects."""
    return f"{number:06d}-{generation}"


def manifest_name(plan: str, number: int, generation: int) -> str:
    """Where the manifest of a part is."""
    return f"{FOLDER}/{plan}/parts/{part_name(number, generation)}.json"


def parse_manifest(content: bytes) -> PartManifest:
    """The manifest with this content. Raises ValueError for one of another version."""
    values = json.loads(content)
    if values.pop("schema", None) != SCHEMA:
        raise ValueError("of another version of batchproc")
    return PartManifest(**values | {"shards": tuple(Made(**one) for one in values["shards"])})
