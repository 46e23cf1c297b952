"""The parts of a list that is shared out among machines: where each stands, what may not meet, and what each came to.

`list.jsonl` has a line per line of the job's lists, as `PartList` reads it; a part is a range of its bytes. `plan.json`
is written behind it: who finds the one finds the other whole. A part's manifest says that it is done.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, convert, field
from msgspec.json import encode
from msgspec.structs import asdict

from batchproc.columns import Columns
from batchproc.errors import UsageError
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint, ListMemory
from batchproc.sink import write_atomically

FOLDER = "cluster"  # in the output: all that is of plans and parts
CURRENT_NAME = "current.json"  # which plan the last run worked on, and which files of the list it was made of
PLAN_NAME = "plan.json"
LIST_NAME = "list.jsonl"
SCHEMA = 2
MANIFEST_SCHEMA = 1
_quote = json.encoder.encode_basestring_ascii
TEXTS = ("url", "extra_json", "code", "message")  # of a line, behind its number and its key


class ListShard(Struct, frozen=True, kw_only=True):
    """One part: a range of bytes of the list. All of a registrable domain's URLs are in one, or in slices of it.

    `after`: the part that must have ended before this one begins, as both ask the hosts of `domain`.
    """

    number: int  # from 0
    offset: int
    size_bytes: int
    items: int  # lines, bad rows and duplicates included
    hosts: int
    after: int | None = None
    domain: str | None = None  # of a slice
    list_name: str = LIST_NAME  # where its lines are


class DomainSize(Struct, frozen=True, kw_only=True):
    """A registrable domain, and how many lines of the list are of it."""

    domain: str
    items: int


class ClusterPlan(Struct, frozen=True, kw_only=True):
    """All parts of a list, and of what it grew by later.

    `digest`: of the first list's content and what decides how it is read and shared out. `fingerprint`: tells the
    list's files from others, without reading them. `changed`: part, offset and bytes of what became of its lines since.
    """

    digest: str
    fingerprint: str
    columns: str  # `Columns.dump` of the whole list: each part's rows have the types of all
    names: tuple[str, ...]  # of several lists
    items: int
    bad_rows: int  # of these, which never come to a host
    hosts: int
    shards: tuple[ListShard, ...]
    largest: tuple[DomainSize, ...] = ()  # domains, the largest first
    lists: int = 1  # in which the parts' lines are: the first one, and what was added each time
    duplicates: int | None = None  # None: the parts count theirs
    changes: str = ""  # the name of the file
    changed: tuple[tuple[int, int, int], ...] = ()

    @property
    def name(self) -> str:
        """A short name for folders."""
        return self.digest[:16]


def encode_line(item: ListedItem) -> bytes:
    """A line of the list as a line of `list.jsonl`."""
    texts = [item.url, item.extra_json, item.code, item.message]
    while len(texts) > 1 and not texts[-1]:
        texts.pop()
    return f'[{item.line},"{item.key.hex()}",{",".join(map(_quote, texts))}]\n'.encode()


def decode_line(line: bytes) -> ListedItem:
    """The same back."""
    number, key_hex, *texts = json.loads(line)
    return ListedItem(line=number, key=bytes.fromhex(key_hex), **dict(zip(TEXTS, texts, strict=False)))


class PendingPart(Struct, frozen=True, kw_only=True):
    """A part to be done: a range of lines in an object of the output. `avoid`: workers where it failed before."""

    number: int
    generation: int
    list_name: str
    offset: int
    size_bytes: int
    items: int
    first_shard: int
    domain: str | None = None
    tries: int = 0
    avoid: frozenset[str] = frozenset()

    @property
    def place(self) -> tuple[int, int]:
        """What tells it from others."""
        return self.number, self.generation

    @property
    def name(self) -> str:
        """The same in names of objects."""
        return part_name(self.place)


class PartList(Struct, frozen=True, kw_only=True):
    """Lines of `list.jsonl` in a file of their own. A `batchproc.pipeline.types.Listing`."""

    path: Path
    columns: str  # of the whole list
    names: tuple[str, ...]

    def check(self) -> None:
        """Nothing: it was written by this program."""

    def rows(self, columns: Columns, memory: ListMemory | None) -> Iterator[ListedItem]:
        """Its lines; `columns` comes to hold those of the whole list, so that the rows of all parts are alike."""
        columns.load(self.columns)
        with self.path.open("rb") as file:
            yield from map(decode_line, file)

    def memory(self, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
        """Nothing: it is read once."""
        return None

    def fingerprint(self) -> str:
        """Nothing."""
        return ""


def form_of(columns: str) -> str:
    """What tells rows with these columns from others, from what `Columns.dump` wrote."""
    return hashlib.blake2b(Columns.parse(columns).form.encode(), digest_size=8).hexdigest()


def write_plan(folder: Path, plan: ClusterPlan) -> None:
    """Writes `plan.json`; `list.jsonl` stands beside it already. Raises OSError."""
    write_atomically(folder / PLAN_NAME, [encode({"schema": SCHEMA, **asdict(plan)})])


def read_plan(folder: Path) -> ClusterPlan | None:
    """The plan in a folder; None where there is none. Raises `UsageError` when it is of another version."""
    try:
        content: dict[str, Any] = json.loads((folder / PLAN_NAME).read_bytes())
    except FileNotFoundError:
        return None
    if content.pop("schema", None) != SCHEMA:
        raise UsageError(f"{folder / PLAN_NAME}: is of another version of batchproc; use that, or remove it.")
    return convert(content, ClusterPlan)


class MadeShard(Struct, frozen=True, kw_only=True):
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
    shards: tuple[MadeShard, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def part(self) -> str:
        """Which part it is of, as `part_name` has it."""
        return part_name((self.number, self.generation))

    def to_json(self) -> bytes:
        """The object's content."""
        return encode({"schema": MANIFEST_SCHEMA, **asdict(self)}) + b"\n"


def part_name(place: tuple[int, int]) -> str:
    """A part, or what was left of one, in names of objects."""
    return f"{place[0]:06d}-{place[1]}"


def manifest_name(plan: str, place: tuple[int, int]) -> str:
    """Where the manifest of a part is."""
    return f"{FOLDER}/{plan}/parts/{part_name(place)}.json"


def parse_manifest(content: bytes) -> PartManifest:
    """The manifest with this content. Raises ValueError for one of another version."""
    values = json.loads(content)
    if values.pop("schema", None) != MANIFEST_SCHEMA:
        raise ValueError("of another version of batchproc")
    return convert(values, PartManifest)
