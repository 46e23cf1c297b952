"""Why an item leaves early: one table of all kinds of failure, and the only place that knows what each one means.

A stage raises a code; everybody else asks the table: the frontier when to try again and what it says of the host, the
ledger whether a later run is to, the report what to tell the user. A new kind is a member of `Code` and an entry here.
"""

from enum import Enum, StrEnum, auto
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace


class Retry(StrEnum):
    """When a failed item may be tried again."""

    NEVER = "never"
    BACKOFF = "backoff"  # in this run, up to `[download] retries`, with full jitter
    HOST = "host"  # the whole host pauses, then again
    ONCE = "once"  # one more time, then final
    NEXT_RUN = "next_run"

    @property
    def is_transient(self) -> bool:
        """Whether a later run tries again what this run could not get done."""
        return self in (Retry.BACKOFF, Retry.HOST, Retry.NEXT_RUN)


class Effect(Enum):
    """What a failure says of the host."""

    ANSWERED = auto()  # it is there: whatever it said, it said it
    NOTHING = auto()
    REFUSED = auto()  # it has too much to do, or is away for a while
    SILENT = auto()  # one of many such items may hang; several in a row, and it is the host
    BARRED = auto()  # whoever guards the way there lets nobody through: a few in a row, and it is left alone
    UNREACHED = auto()  # its name or its certificate is not in order: so many in a row, and it is left alone


class Code(StrEnum):
    """The names of the kinds. Closed, but for the families `http.<status>` and `check.<name>`: see `http_code`."""

    INPUT_URL = "input.url"
    INPUT_URL_TOO_LONG = "input.url_too_long"
    INPUT_ENCODING = "input.encoding"
    INPUT_ROW = "input.row"
    INPUT_SPLIT = "input.split"
    POLICY_SCHEME = "policy.scheme"
    POLICY_ADDRESS = "policy.address"
    POLICY_ROBOTS = "policy.robots"
    POLICY_NOAI = "policy.noai"
    POLICY_PORT = "policy.port"
    FILE_MISSING = "file.missing"
    FILE_UNREADABLE = "file.unreadable"
    FILE_OUTSIDE = "file.outside"
    FILE_KIND = "file.kind"
    DNS = "dns"
    CONNECT = "connect"
    BUSY = "busy"
    PROXY = "proxy"
    TLS = "tls"
    TIMEOUT_CONNECT = "timeout.connect"
    TIMEOUT_FIRST_BYTE = "timeout.first_byte"
    TIMEOUT_IDLE = "timeout.idle"
    TIMEOUT_SLOW = "timeout.slow"
    TIMEOUT_TOTAL = "timeout.total"
    RATE = "rate"
    REDIRECT = "redirect"
    PROTO = "proto"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"
    NOT_IMAGE = "not_image"
    IMAGE_CORRUPT = "image.corrupt"
    IMAGE_BOMB = "image.bomb"
    IMAGE_UNSUPPORTED = "image.unsupported"
    IMAGE_MEMORY = "image.memory"
    IMAGE_EMPTY = "image.empty"
    STEP_ERROR = "step.error"
    CHECK_REJECTED = "check.rejected"
    CHECK_MIN_SIZE = "check.min_size"
    CHECK_MAX_SIZE = "check.max_size"
    CHECK_MAX_ASPECT = "check.max_aspect"
    CHECK_FORMAT = "check.format"
    CHECK_NOT_BLANK = "check.not_blank"
    CHECK_SHARPNESS = "check.sharpness"
    CHECK_UNIQUE = "check.unique"
    IO_NOSPACE = "io.nospace"
    IO_PERM = "io.perm"
    IO_OTHER = "io.other"
    OUTPUT_VALUE = "output.value"
    LOCAL_FILES = "local.files"
    LOCAL_PORTS = "local.ports"
    LOCAL_MEMORY = "local.memory"
    LOCAL_NETWORK = "local.network"
    WORKER_CRASH = "worker.crash"
    WORKER_TIMEOUT = "worker.timeout"
    WORKER_MEMORY = "worker.memory"
    CANCELLED = "cancelled"
    INTERNAL_BUG = "internal.bug"


def http_code(status_code: int) -> str:
    """The code of an unwanted HTTP status, as `http.404`."""
    return f"http.{status_code}"


class Kind(Struct, frozen=True):
    """One kind of failure, or a family of them: then `code` is how theirs begin, as `http.5` for all of 5xx."""

    code: str
    meaning: str  # what has happened, in a few words
    advice: str  # what to do about it
    retry: Retry = Retry.NEVER  # when it is tried again
    retry_in_transform: Retry | None = None  # where that stage differs
    exceptions: tuple[Retry, ...] = ()  # what whoever raises it may say instead of `retry`
    effect: Effect = Effect.ANSWERED
    decided_by: tuple[str, ...] = ()  # the config's keys that make it fail or not: their change makes it due again
    is_rejection: bool = False  # dropped on purpose: no failure
    is_charged: bool = True  # False: not the item's doing, its row stays as it was
    stops_run: bool = False  # the disk refuses: every other item would meet it too
    loses_worker: bool = False  # a process died of it
    is_local: bool = False  # this machine's trouble: nothing starts for a while, and no item is charged

    def retry_in(self, stage: str) -> Retry:
        """When it is tried again after that stage."""
        return self.retry_in_transform or self.retry if stage == "transform" else self.retry

    def is_final_in(self, stage: str) -> bool:
        """Whether no later run tries it again, whoever raised it in that stage."""
        return not any(retry.is_transient for retry in (self.retry_in(stage), *self.exceptions))


IDENTITY = ("download.headers", "download.hosts", "download.user_agent")  # what a server knows us by
ROBOTS = ("download.hosts", "download.robots", "download.user_agent")
PROXY = ("download.hosts", "download.proxy")
LOCAL = ("job.local_root",)
STEPS = ("transform.steps",)

_KINDS = (
    Kind(Code.INPUT_URL, "the line is not a URL that can be fetched",
         "mend the line; its number is in failures.jsonl"),
    Kind(Code.INPUT_URL_TOO_LONG, "the URL is longer than servers accept", "shorten or drop it"),
    Kind(Code.INPUT_ENCODING, "the line is not valid UTF-8", "save the list as UTF-8"),
    Kind(Code.INPUT_ROW, "the row of the table cannot be read", "mend its quotes, columns or JSON"),
    Kind(Code.INPUT_SPLIT, "the row names no split", "give each row a name as train or test, or mend [output] splits"),

    Kind(Code.POLICY_SCHEME, "neither http nor https",
         "only those two are fetched; file:// with allow_local and local_root", decided_by=("job.allow_local",)),
    Kind(Code.POLICY_ADDRESS, "a private or reserved address", "name it in allow_addresses if it is yours",
         decided_by=("download.allow_addresses",)),
    Kind(Code.POLICY_ROBOTS, "robots.txt forbids it, or could not be read",
         "ask the owner; ignore it only on your own hosts",
         exceptions=(Retry.HOST, Retry.NEXT_RUN), decided_by=ROBOTS),  # the exceptions: it could not be read
    Kind(Code.POLICY_NOAI, "the server forbids this use in X-Robots-Tag", "ask the owner", decided_by=ROBOTS),
    Kind(Code.POLICY_PORT, "a port that browsers refuse too", "mend the URL"),

    Kind(Code.FILE_MISSING, "no such file", "the next run looks again; is its disk mounted?",
         retry=Retry.NEXT_RUN, effect=Effect.NOTHING, decided_by=LOCAL),
    Kind(Code.FILE_UNREADABLE, "the file cannot be read", "see to its permissions, or to its disk",
         retry=Retry.NEXT_RUN, effect=Effect.NOTHING, decided_by=LOCAL),
    Kind(Code.FILE_OUTSIDE, "the file, or what it is a link to, is not below local_root",
         "name a folder in local_root that holds both", effect=Effect.NOTHING, decided_by=LOCAL),
    Kind(Code.FILE_KIND, "a folder, device, pipe or socket, and no file", "drop it from the list",
         effect=Effect.NOTHING),

    Kind(Code.DNS, "the host's name does not resolve", "check the spelling; is the host gone?",
         retry=Retry.BACKOFF, exceptions=(Retry.ONCE,), effect=Effect.UNREACHED, decided_by=PROXY),  # no such name
    Kind(Code.CONNECT, "no connection could be made", "is the server up, and reachable from here?",
         retry=Retry.BACKOFF, effect=Effect.REFUSED, decided_by=PROXY),
    Kind(Code.BUSY, "the connections to the host were all in use", "raise per_host, if the host allows it",
         retry=Retry.BACKOFF, effect=Effect.NOTHING),
    Kind(Code.PROXY, "the proxy refuses to pass it on", "see [download] proxy, and what the proxy allows",
         retry=Retry.NEXT_RUN, effect=Effect.BARRED, decided_by=PROXY),
    Kind(Code.TLS, "the certificate or the handshake is not in order",
         "the owner must renew it; it is never skipped",
         retry=Retry.NEXT_RUN, effect=Effect.UNREACHED,
         exceptions=(Retry.ONCE, Retry.NEVER),  # the handshake; a client certificate is wanted
         decided_by=("download.ca_file", "download.client_cert", "download.client_key", *PROXY)),
    Kind(Code.TIMEOUT_CONNECT, "no connection in time", "raise connect_timeout, or drop the host",
         retry=Retry.BACKOFF, effect=Effect.SILENT, decided_by=("download.connect_timeout", *PROXY)),
    Kind(Code.TIMEOUT_FIRST_BYTE, "connected, but no answer in time",
         "raise first_byte_timeout, or lower per_host",
         retry=Retry.BACKOFF, exceptions=(Retry.ONCE,), effect=Effect.SILENT,  # interim replies without end
         decided_by=("download.first_byte_timeout",)),
    Kind(Code.TIMEOUT_IDLE, "the body stopped in its middle", "it is tried again by the next run",
         retry=Retry.BACKOFF, effect=Effect.SILENT),
    Kind(Code.TIMEOUT_SLOW, "the body came slower than min_speed", "lower min_speed, or lower per_host",
         retry=Retry.BACKOFF, effect=Effect.SILENT, decided_by=("download.min_speed",)),
    Kind(Code.TIMEOUT_TOTAL, "not whole within total_timeout", "raise total_timeout for large images",
         retry=Retry.BACKOFF, effect=Effect.SILENT, decided_by=("download.total_timeout",)),

    Kind(http_code(401), "the server wants a login", "set headers, if you have access", decided_by=IDENTITY),
    Kind(http_code(403), "the server refuses", "open the URL in a browser; perhaps it refuses programs",
         decided_by=IDENTITY),
    Kind(http_code(404), "no such image on the server", "drop it from the list, or correct the URL"),
    Kind(http_code(408), "the server waited too long for the request", "the next run tries again",
         retry=Retry.BACKOFF),
    Kind(http_code(410), "gone for good", "drop it from the list"),
    Kind(http_code(425), "the server does not take it so early", "the next run tries again", retry=Retry.BACKOFF),
    *(Kind(http_code(status_code), meaning, "the next run tries again", retry=Retry.BACKOFF, effect=Effect.REFUSED)
      for status_code, meaning in (
          (502, "the server behind the gateway gave no proper answer"),
          (503, "the server has too much to do"),
          (504, "the server behind the gateway did not answer in time"))),
    Kind(Code.RATE, "the host asked for fewer requests", "lower per_host; the next run goes on",
         retry=Retry.HOST, effect=Effect.REFUSED),
    Kind(Code.REDIRECT, "the redirects lead nowhere", "update the URL"),
    Kind(Code.PROTO, "the reply is not proper HTTP", "tell the server's owner", retry=Retry.ONCE),
    Kind(Code.TRUNCATED, "the image ends early", "the source is probably broken; the next run tries again",
         retry=Retry.BACKOFF, retry_in_transform=Retry.ONCE),
    Kind(Code.TOO_LARGE, "larger than max_bytes", "raise max_bytes if it should be taken",
         decided_by=("download.max_bytes",)),
    Kind(Code.ENCODING, "a content coding that was not asked for", "tell the server's owner"),
    Kind(Code.NOT_IMAGE, "the server sent something else, often an error page",
         "open the URL: it may want a login", decided_by=IDENTITY),

    Kind(Code.IMAGE_CORRUPT, "the image is damaged", "replace the source"),
    Kind(Code.IMAGE_BOMB, "more pixels than max_pixels", "raise max_pixels if it should be taken",
         decided_by=("transform.max_pixels",)),
    Kind(Code.IMAGE_UNSUPPORTED, "a format, or a variant of one, that is not accepted",
         "see [transform] formats", decided_by=("transform.formats", "output.format", *STEPS)),
    Kind(Code.IMAGE_MEMORY, "decoding needs more memory than memory_limit",
         "raise memory_limit, or lower max_pixels", decided_by=("transform.memory_limit", *STEPS)),
    Kind(Code.IMAGE_EMPTY, "no content", "tell the server's owner",
         retry=Retry.ONCE, retry_in_transform=Retry.NEVER),
    Kind(Code.STEP_ERROR, "a step of yours raised an exception", "the message names it; mend the step",
         decided_by=STEPS),
    *(Kind(code, "dropped on purpose by a check", "loosen the check if it should be kept",
           is_rejection=True, decided_by=STEPS)
      for code in Code if code.startswith("check.")),

    Kind(Code.IO_NOSPACE, "the disk is full", "make room and run again", is_charged=False, stops_run=True,
         effect=Effect.NOTHING),
    Kind(Code.IO_PERM, "no permission to write", "check the output folder's owner", stops_run=True,
         effect=Effect.NOTHING),
    Kind(Code.IO_OTHER, "the disk reported an error", "check the disk and its mount", stops_run=True,
         effect=Effect.NOTHING),
    Kind(Code.OUTPUT_VALUE, "a column of its row has another type than the shards",
         "write the column alike in all lists, then run with --fresh", effect=Effect.NOTHING),
    *(Kind(code, meaning, advice, retry=Retry.NEXT_RUN, effect=Effect.NOTHING, is_local=True)
      for code, meaning, advice in (
          (Code.LOCAL_FILES, "this machine has no file descriptor left for a connection",
           "raise the limit of open files (ulimit -n), or lower [download] workers"),
          (Code.LOCAL_PORTS, "this machine has no port left for a connection", "lower [download] workers"),
          (Code.LOCAL_MEMORY, "this machine has no memory left for a connection", "lower [download] workers"),
          (Code.LOCAL_NETWORK, "this machine has no way to the network", "see to its network, and run again"),
      )),
    Kind(Code.WORKER_CRASH, "the image crashed the worker",
         "it is quarantined; report it to the codec's authors", loses_worker=True, effect=Effect.NOTHING),
    Kind(Code.WORKER_TIMEOUT, "longer than timeout, so the worker was ended", "raise timeout, or simplify the steps",
         retry=Retry.BACKOFF, retry_in_transform=Retry.NEVER, decided_by=("transform.timeout", *STEPS),
         loses_worker=True, effect=Effect.NOTHING),
    Kind(Code.WORKER_MEMORY, "the worker ran out of memory", "raise memory_limit, or lower workers",
         decided_by=("transform.memory_limit", *STEPS), loses_worker=True, effect=Effect.NOTHING),
    Kind(Code.CANCELLED, "interrupted on its way", "the next run goes on", retry=Retry.NEXT_RUN, is_charged=False,
         effect=Effect.NOTHING),
    Kind(Code.INTERNAL_BUG, "a fault in this program", "please report it with its log", effect=Effect.NOTHING),
)  # fmt: skip
TABLE = {kind.code: kind for kind in _KINDS}
DECIDING_KEYS = sorted({key for kind in _KINDS for key in kind.decided_by})
FAMILIES = (  # the first whose code begins a code is its kind
    Kind("http.5", "the server failed", "the next run tries again", retry=Retry.BACKOFF),
    Kind("http.", "the server answered with an error", "open the URL and see"),
    replace(TABLE[Code.CHECK_REJECTED], code="check."),
)
UNKNOWN = Kind("", "a code that this version does not know", "see failures.jsonl", exceptions=tuple(Retry))


@lru_cache(maxsize=1024)
def kind_of(code: str) -> Kind:
    """What is known of a code. Never fails: a code of another version, or of a step of the user's, is `UNKNOWN`."""
    if code in TABLE:
        return TABLE[code]
    family = next((kind for kind in FAMILIES if code.startswith(kind.code)), UNKNOWN)
    return replace(family, code=code)
