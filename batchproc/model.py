"""What flows: frozen values that go from stage to stage, thread to thread and process to process.

A source becomes a source image, that becomes an output image; whoever leaves early is a `Rejection` or a `Failure`, as
a value. All are safe to share between threads and to pickle. None is keyword-only: such a Struct is pickled by the
names of its fields, which takes twice as long.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct, field

from batchproc.errors import Retry

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Mode(StrEnum):
    """How a stage is run."""

    SERIAL = "serial"
    THREAD = "thread"
    PROCESS = "process"


class Validators(Struct, frozen=True):
    """What is known of the copy we have, to find out whether it is still the server's; empty = nothing."""

    etag: str = ""  # for a conditional GET, as the next one (RFC 9110, section 13)
    last_modified: str = ""
    source_sha256: str = ""  # of the bytes it came as, 64 hexadecimal digits, for servers that cannot compare


LINES_PER_LIST = 1 << 40  # the lines of the second list of a job begin behind it, of the third behind twice that


def describe_line(line: int, lists: Sequence[str] = ()) -> str:
    """A line of the job's lists for a message; `lists` are their names, where there are several."""
    number, within = divmod(line, LINES_PER_LIST)
    return f"line {within} of {lists[number]}" if lists else f"line {within}"


class ListedItem(NamedTuple):
    """One line of the list, as its reader gives it and the ledger takes it: a tuple, as there are millions of them.

    A line that is no item to download has a `code` and a `message`; where it cannot be read at all, its `url` is its
    beginning, escaped, which may hold secrets.
    """

    key: bytes  # as `Source.key`; of a line that names no URL, made of its text
    line: int  # from 1
    url: str
    extra_json: str = ""
    code: str = ""
    message: str = ""


class Source(Struct, frozen=True):
    """One item of the URL list.

    `key` is 16 bytes of BLAKE2b of the canonical URL as listed, or of the list's own id: the item's identity for ever.
    `extra_json` is a JSON object with the list's other columns, or empty.
    """

    index: int  # position among the items of the ledger, from 0
    line: int  # line number in the list, from 1, for messages; see `describe_line`
    url: str  # absolute: joined with base_url
    key: bytes
    extra_json: str = ""
    refresh: Validators | None = None  # the image is there already: ask whether it has changed

    @property
    def key_hex(self) -> str:
        """The key as 32 hexadecimal digits: the stem of every file name of this item."""
        return self.key.hex()


class Moved(Struct, frozen=True):
    """What comes of a download that was redirected to another host: it goes on there when that host has room."""

    trail: tuple[str, ...]  # the URLs that redirects have led to, the last of them still to be asked for
    spent_seconds: float  # of the item's total time-out


class Fetch(Struct, frozen=True):
    """What the download stage is asked to do for one item, now."""

    attempt: int = 1  # from 1, counted in this run
    etag: str = ""  # of the copy we have, for a conditional GET
    last_modified: str = ""
    refresh: bool = False  # no cache between here and the server may answer for it
    moved: Moved | None = None  # where to go on; None: at the beginning, with the source's URL
    hands_over: bool = True  # a redirect to another host is not followed but given back as `Moved`


class Reply(Struct, frozen=True):
    """The facts of an HTTP reply that outlive its body."""

    status_code: int
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""
    final_url: str = ""  # after redirects; equal to the source's URL without any
    attempts: int = 1


class SourceImage(Struct, frozen=True):
    """The downloaded bytes with their facts."""

    content: bytes
    reply: Reply


class OutputImage(Struct, frozen=True):
    """The image made from an original, written to a temporary file beside its final place."""

    temporary_path: str  # absolute; the ledger's writer renames it
    suffix: str  # of the final name, as ".jpg"
    size_bytes: int
    sha256: str  # of the written file, 64 hexadecimal digits
    format: str  # Pillow's word, as "JPEG"
    mode: str  # Pillow image mode, as "RGB"
    width_px: int
    height_px: int
    original_width_px: int  # as displayed: after the EXIF orientation
    original_height_px: int
    original_format: str
    original_size_bytes: int
    source_sha256: str
    reply: Reply
    kept_bytes: int = 0  # of the original, where it was written too
    image_hash: str = ""  # of what it looks like, 16 hexadecimal digits; empty where nobody asks for it
    notes: tuple[str, ...] = ()  # what was not taken as it stands in the file, as "icc profile dropped: corrupt"


_SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif"}  # all others are as the format's name


def original_name(source_sha256: str, original_format: str) -> str:
    """The path of a kept original relative to the output: what came with the same bytes is one file."""
    kind = original_format.lower()
    return f"originals/{source_sha256[:2]}/{source_sha256}{_SUFFIXES.get(kind, f'.{kind}')}"


class GilAsks(NamedTuple):
    """What asking for the GIL told: how often, the seconds on a core that the answers stand for, the held ones."""

    asks: int = 0
    seconds: float = 0.0
    held_seconds: float = 0.0

    def __add__(self, other: "GilAsks") -> "GilAsks":  # type: ignore[override]
        return GilAsks(self[0] + other[0], self[1] + other[1], self[2] + other[2])


class Span(Struct, frozen=True):
    """The times of one item in one stage: perf_counter seconds, which processes of one Linux machine share.

    `parts` splits the service time: name -> (wall seconds, CPU seconds). `runqueue_seconds` is None where the system
    does not say. `counts` is what happened meanwhile, as `opened img.example.org`. `gil`: what asking for it told, by
    part, since the worker's last span.
    """

    stage: str
    worker: str
    enqueued: float
    started: float
    ended: float
    cpu_seconds: float
    runqueue_seconds: float | None = None
    parts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    gil: Mapping[str, GilAsks] = field(default_factory=dict)

    @property
    def service_seconds(self) -> float:
        """From the start of the work to its end."""
        return self.ended - self.started

    @property
    def waiting_seconds(self) -> float:
        """From entering the stage to the start of the work."""
        return self.started - self.enqueued


class Item(Struct, Generic[T_co], frozen=True):
    """A source on its way, with its present value and the spans of the stages behind it."""

    source: Source
    value: T_co
    spans: tuple[Span, ...] = ()


class Unchanged(Struct, frozen=True):
    """An item whose image we have, and whose server says that it is still the same."""

    source: Source
    reply: Reply | None = None  # of a server that could not compare, but sent equal bytes; its validators are news
    spans: tuple[Span, ...] = ()


class Rejection(Struct, frozen=True):
    """An item that a check dropped on purpose. Not a failure."""

    source: Source
    stage: str
    code: str
    message: str
    spans: tuple[Span, ...] = ()
    attempts: int = 1


class Disposition(StrEnum):
    """What becomes of a failed item: the words of `failures.jsonl`."""

    FAILED = "failed"
    QUARANTINED = "quarantined"  # it killed its worker twice: never tried again by itself
    DEFERRED = "deferred"  # left for the next run without being charged


class Failure(Struct, frozen=True):
    """An item that left early, as a value. `message` and `hint` carry no secret and no raw library text."""

    source: Source
    stage: str
    code: str
    message: str
    hint: str = ""
    retry: Retry = Retry.NEVER
    retry_after_seconds: float | None = None
    disposition: Disposition = Disposition.FAILED
    spans: tuple[Span, ...] = ()
    attempts: int = 1


Outcome: TypeAlias = Item[Any] | Unchanged | Rejection | Failure
