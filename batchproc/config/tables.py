"""The tables of a config file, with their keys, ranges and defaults: pydantic models, read in the parent process only.

Durations are seconds, sizes are bytes once they are here. The text below a key is its description in the JSON Schema,
which `view` reads when one is asked for: pydantic would read this source at every start, and that took a tenth of it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

from batchproc import defaults
from batchproc.config.units import (
    Colour,
    Columns,
    Delimiter,
    DownloadWorkers,
    Duration,
    Headers,
    HostPattern,
    ListNames,
    Network,
    OutputName,
    Splits,
    Text,
    Timeout,
    TransformWorkers,
    WebAddress,
    at_least,
    is_remote,
)
from batchproc.version import VERSION

STDIN = "-"
_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
MOST_THREADS = 64  # of `[download] workers = "auto"`; how many of them work is found out on the way
PROCESSES_PER_CORE = 4  # likewise; each weighs 7 MB

StageMode: TypeAlias = Literal["serial", "thread", "process", "auto"]
FixedMode: TypeAlias = Literal["serial", "thread", "process"]
Format: TypeAlias = Literal["jpeg", "png", "webp", "gif", "avif", "tiff", "bmp"]
Step: TypeAlias = dict[str, JsonValue]
Size: TypeAlias = Annotated[int, *at_least("0B")]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]


def _with_version(value: str) -> str:
    return value.replace("{version}", VERSION)


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Pydantic's plugins have no part in our tables: to look for one opens a file of every package installed."""
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PLUGINS]
        else:
            os.environ[_PLUGINS] = before


class Table(BaseModel):
    """What all tables share: frozen, no unknown keys, no silent conversion of types.

    `defer_build`: most are only ever checked as a part of `Config`, and need no validator of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class JobTable(Table):
    """What is done, where it stands, and when it counts as failed."""

    name: Text
    """Name of the job, for reports and metrics."""
    root: Text = "."
    """Folder that every path of this file is relative to; itself relative to this file's folder."""
    input: ListNames
    """The URL list: .txt, .csv, .tsv or .jsonl, each also with .gz; .parquet, .feather or .arrow; "-" reads stdin.
    A path, or an address: https://, s3://, gs://, az://. Several as ["a.csv", "lists/*.parquet"]: lists, folders of
    lists and patterns, one after the other. Or images of this machine: a folder, or patterns as "photos/**/*.jpg"."""
    url_column: Text = "url"
    """Tables only: the column that holds the URL. Other columns are carried into metadata.jsonl."""
    id_column: str = ""
    """Tables only: the column that holds the item's own id, which then is its identity instead of the URL."""
    columns: Columns = {}
    """Tables only: `caption = "TEXT"` names a column anew, `drop = ["a", "b"]` leaves columns out."""
    delimiter: Delimiter = ""
    """Tables only: the character between cells; empty = by the name's ending: a comma for .csv, a tab for .tsv."""
    quoting: Literal["auto", "double", "none"] = "auto"
    """Tables only: whether double quotes may stand around cells; "auto" = they may in .csv, and are text in .tsv."""
    duplicates: Literal["first", "rows"] = "first"
    """The same URL again is one image; "rows" gives each of its rows a row of its own in metadata.jsonl."""
    allow_local: bool = False
    """Take file:// URLs of the list, and relative ones where there is no base_url, as files below local_root."""
    local_root: str = ""
    """Folder below which such files may be read; no link is followed out of it."""
    base_url: WebAddress = ""
    """Joined with relative URLs; the embedded origin sets it."""
    output: OutputName
    """Folder for images, metadata, ledger and reports; or a bucket for shards: s3://, gs://, az:// (extra [cloud])."""
    state: str = ""
    """With a bucket for output: the folder for all but the shards, as ledger, rows and reports."""
    max_failed_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of failed items, of the whole list, above which the exit code is 3."""
    max_failed: Count = 0
    """Number of failed items above which the exit code is 3; 0 = no such limit."""
    max_deferred_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of items left for the next run because their hosts were away, above which the exit code is 3."""
    max_runs_per_item: Positive = 5
    """A transient failure is tried again by later runs, this many runs in all."""
    max_bad_rows: Count = 0
    """Bad rows of the list above which the run stops; 0 = no limit."""
    fail_on_empty: bool = False
    """An empty list is an error."""
    max_duration: Duration = 0.0
    """The run stops after this time and can be continued; 0 = no limit."""
    exit_on_limit: bool = False
    """Exit code 4 when a limit stopped the run with work left."""
    grace: Duration = 20.0
    """Time for work in flight after the first signal."""
    stall_timeout: Duration = 0.0
    """A run in which no item began or ended for so long is given up; 0 = more than all other limits together."""
    prune: bool = False
    """Delete the files of sources that left the list."""
    keep_runs: Positive = 30
    """Run folders kept; older ones are removed."""

    @property
    def renamed_columns(self) -> dict[str, str]:
        """New names of columns by their names in the list."""
        return {old: new for new, old in self.columns.items() if isinstance(old, str)}

    @property
    def dropped_columns(self) -> frozenset[str]:
        """Columns of the list that are left out."""
        return frozenset(self.columns.get("drop", ()))

    @property
    def input_text(self) -> str:
        """The names of the lists, for a message."""
        return ", ".join(self.input)


class HostTable(Table):
    """What differs at one host, or at all hosts below a domain. What is left out is as for every other host."""

    per_host: Annotated[int, Field(ge=0, le=1024)] = 0
    """Connections at once; 0 = as for every other host."""
    requests_per_second: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """At most; 0 = as many as it takes. A host that refuses gets fewer all the same."""
    headers: Headers = {}
    """Further request headers, sent to this host alone."""
    robots: Literal["honour", "ignore"] | None = None
    """robots.txt, and the X-Robots-Tag values noai and noimageai."""
    proxy: WebAddress | None = None
    """HTTP proxy; "" = none."""
    ca_file: str | None = None
    """PEM with authorities to trust beside the public ones."""
    client_cert: str | None = None
    """PEM with the client's certificate, and with its key unless client_key has it."""
    client_key: str | None = None
    """PEM with the client's key."""


class DownloadTable(Table):
    """How originals are fetched."""

    mode: StageMode = "thread"
    """How the stage is run; "auto" measures and chooses."""
    workers: DownloadWorkers = 32
    """Threads or OS processes; ignored in serial mode; "auto" lets as many work as the network answers to."""
    per_host: Annotated[int, Field(ge=1, le=1024)] = defaults.PER_HOST
    """Connections at once to one host."""
    connect_timeout: Timeout = defaults.CONNECT_TIMEOUT_SECONDS
    """Limit for resolving the name, connecting and the TLS handshake."""
    first_byte_timeout: Timeout = defaults.FIRST_BYTE_TIMEOUT_SECONDS
    """Limit for the reply's head after the request."""
    total_timeout: Timeout = defaults.TOTAL_TIMEOUT_SECONDS
    """Limit for one whole request."""
    min_speed: Size = defaults.MIN_SPEED_BYTES_PER_SECOND
    """Bytes per second, over 10 s, below which a body is given up; 0 = no such limit."""
    max_bytes: Annotated[int, *at_least("1KB")] = defaults.MAX_BYTES
    """Largest original."""
    buffer: Annotated[int, *at_least("1MB")] = 256_000_000
    """Bytes of originals held in memory at once."""
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    """Further tries after the first, with back-off and full jitter."""
    max_retry_after: Duration = defaults.MAX_RETRY_AFTER_SECONDS
    """A server that asks for a longer pause is left for the next run."""
    robots: Literal["honour", "ignore"] = "honour"
    """robots.txt, and the X-Robots-Tag values noai and noimageai."""
    user_agent: Annotated[Text, AfterValidator(_with_version), Field(validate_default=True)] = "batchproc/{version}"
    """Sent with every request; {version} is replaced."""
    allow_addresses: Annotated[tuple[Network, ...], Field(strict=False)] = ()
    """Private or reserved addresses and networks that may be fetched from, as "10.0.0.0/8"."""
    headers: Headers = {}
    """Further request headers."""
    proxy: WebAddress = ""
    """HTTP proxy; the environment's proxy variables are not used."""
    keep_originals: bool = False
    """Keep the bytes as downloaded, of each image made, in originals/ of the output; rows name them in `original`."""
    ca_file: str = ""
    """PEM with authorities to trust beside the public ones."""
    client_cert: str = ""
    """PEM with the client's certificate, and with its key unless client_key has it; for every host."""
    client_key: str = ""
    """PEM with the client's key."""
    hosts: dict[HostPattern, HostTable] = {}
    """What differs at a host, by its name; "*.example.org" = all below it; ":8443" behind it = at that port only."""

    @property
    def first_mode(self) -> FixedMode:
        """The mode to begin in: threads for what waits, where it is to be found out."""
        return "thread" if self.mode == "auto" else self.mode

    def worker_count(self, mode: FixedMode, cores: int) -> int:
        """Workers in a mode on a machine with `cores` usable cores; with "auto" the most that may be at work."""
        if mode == "serial":
            return 1
        if self.workers != "auto":
            return int(self.workers)
        return MOST_THREADS if mode == "thread" else PROCESSES_PER_CORE * cores


class TransformTable(Table):
    """What is made of an original."""

    mode: StageMode = "process"
    """How the stage is run; "auto" measures and chooses."""
    workers: TransformWorkers = "auto"
    """Threads or OS processes; "auto" or 0 = one per usable core; ignored in serial mode."""
    timeout: Timeout = 30.0
    """Limit per image; enforced by killing the worker in process mode."""
    max_pixels: Positive = defaults.MAX_PIXELS
    """Largest image, width times height as its header declares them."""
    formats: Annotated[tuple[Format, ...], Field(strict=False, min_length=1)] = defaults.FORMATS
    """Formats accepted, by content."""
    memory_limit: Annotated[int, *at_least("128MB")] = 1_500_000_000
    """Address space of one worker in process mode."""
    quality: Literal["fast", "balanced", "exact"] = "balanced"
    """How JPEGs are decoded and resized."""
    steps: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    """Image operations and checks, in order; none = decode and encode again."""

    @property
    def first_mode(self) -> FixedMode:
        """The mode to begin in: processes for what computes, where it is to be found out."""
        return "process" if self.mode == "auto" else self.mode

    def worker_count(self, cores: int) -> int:
        """Workers for a machine with `cores` usable cores."""
        return cores if self.workers in ("auto", 0) else int(self.workers)


class OutputTable(Table):
    """How output images are written."""

    format: Literal["jpeg", "png", "webp", "avif", "keep"] = "jpeg"
    """Format of the images; "keep" = that of the original."""
    quality: Annotated[int, Field(ge=1, le=100)] = defaults.OUTPUT_QUALITY
    """Encoder quality."""
    layout: Literal["files", "webdataset", "parquet"] = "files"
    """One file per image, or shards of images with their rows: tar files, or Parquet (extra [parquet])."""
    shard_items: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Items of the list per shard."""
    spool: Annotated[int, *at_least("1MB")] = 10_000_000_000
    """Bytes of images that may wait for the rest of their shards; above that, a shard is made before it is complete."""
    caption: str = ""
    """The list's column with the captions: named text in the rows, and a .txt of its own in tar shards."""
    metadata_parquet: bool = False
    """Write metadata.parquet beside metadata.jsonl (extra [parquet])."""
    splits: Splits = {}
    """With files, a metadata-<split>.jsonl each: shares that add up to 1, as {train = 0.9, test = 0.1}, by key; or the
    list's column that names each row's split, as "split"."""
    background: Colour = defaults.BACKGROUND
    """Colour behind transparent images where the format has no transparency, and around padded ones."""
    durability: Literal["process", "power"] = "process"
    """What outputs survive: the death of the process, or also a power cut (fsync)."""


class ReportTable(Table):
    """What a run says about itself."""

    html: bool = True
    """Write report.html."""
    sampling: bool = True
    """Watch memory, CPU and waiting for the GIL from a small process beside the run; it takes 0.5% of a core."""
    trace: bool = False
    """Write trace.json for Chrome's or Perfetto's viewer."""
    gallery: Annotated[int, Field(ge=0, le=200)] = 24
    """Images shown before and after in the report."""


class MetricsTable(Table):
    """How monitoring is notified."""

    textfile: str = ""
    """File for Prometheus' textfile collector; empty = none."""
    ping_url: WebAddress = ""
    """Health check notified of start and end; empty = none."""


class OriginTable(Table):
    """The embedded image server; the table's presence starts it for the run."""

    images: Annotated[int, Field(ge=1, le=2000)] = defaults.ORIGIN_IMAGES
    """Number of images served."""
    latency: Duration = defaults.ORIGIN_LATENCY_SECONDS
    """Median time before a reply's first byte."""
    jitter: Annotated[float, Field(ge=0, le=2)] = defaults.ORIGIN_JITTER
    """Spread of the latency: sigma of its log-normal distribution; 0 = constant."""
    bandwidth: Size = 0
    """Bytes per second of each reply; 0 = unlimited."""
    faults: bool = True
    """Serve the documented share of broken replies."""
    photos: str = ""
    """Folder of images to serve; empty = made by the program."""
    seed: Count = defaults.ORIGIN_SEED
    """Seed of images, latencies and faults."""


class BenchTable(Table):
    """What `batchproc bench` compares."""

    rounds: Positive = 10
    """Times that every case runs."""
    modes: Annotated[tuple[FixedMode, ...], Field(strict=False, min_length=1)] = ("serial", "thread", "process")
    """Modes to compare, for both stages."""
    photos: str = ""
    """Folder of images for the embedded origin; empty = its own."""
    vary: dict[str, list[JsonValue]] = {}
    """Other keys to vary with their values, as {"transform.workers" = [1, 2, 4]}."""


class ClusterTable(Table):
    """The job on several machines (extra [dask]); the table's presence hands its parts to their workers."""

    engine: Literal["dask"] = "dask"
    """Who hands out the parts: Dask's distributed scheduler."""
    scheduler: str = ""
    """Address of a running scheduler, as "tcp://10.0.0.1:8786"; or local says how many workers to start here."""
    local: Annotated[int, Field(ge=0, le=256)] = 0
    """Workers of a cluster on this machine, which lasts as long as the run; 0 = there is a scheduler."""
    shard_urls: Annotated[int, Field(ge=10, le=1_000_000)] = 5_000
    """Lines of the list per part. All URLs of a domain are in one part, or in slices that run one after another."""
    shard_timeout: Timeout = 7200.0
    """A part returns what it has after this time; what is left becomes a part of its own."""
    window: Annotated[int, Field(ge=1, le=20)] = 2
    """Parts handed out per worker, the one that it works on included."""
    tries: Annotated[int, Field(ge=1, le=20)] = 3
    """Attempts at a part before it is put into quarantine."""


class Paths(Struct, frozen=True, kw_only=True):
    """Where things are: absolute paths, not checked for existence.

    Symbolic links are not followed: a mounted ConfigMap is a link into a folder whose name changes.
    """

    config: Path
    root: Path
    inputs: tuple[str, ...]  # absolute, or addresses; "-" for stdin
    output: Path  # of all files, or of all but shards
    bucket: str  # the address that shards go to; empty: they go to the folder
    photos: Path | None  # [origin] photos
    bench_photos: Path | None
    textfile: Path | None

    def at_root(self, path: str) -> str:
        """An absolute path; empty stays empty."""
        return str(_join(self.root, path)) if path else ""


class Config(Table):
    """The whole config of a job. Immutable; `load` makes one."""

    job: JobTable
    download: DownloadTable = Field(default_factory=DownloadTable)
    transform: TransformTable = Field(default_factory=TransformTable)
    output: OutputTable = Field(default_factory=OutputTable)
    report: ReportTable = Field(default_factory=ReportTable)
    metrics: MetricsTable = Field(default_factory=MetricsTable)
    origin: OriginTable | None = None
    bench: BenchTable | None = None
    cluster: ClusterTable | None = None

    _file: Path = PrivateAttr()

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, file: Path, cores: int | None) -> Self:
        """Checks the tables read from `file`. Raises pydantic's ValidationError; `cores` is only for its messages."""
        optional = [name for name, field in cls.model_fields.items() if field.default_factory]
        tables = {name: {} for name in optional} | dict(tables)
        with _without_plugins():
            config = cls.model_validate(tables, context={"cores": cores})
        config._file = _join(Path.cwd(), file)
        return config

    @property
    def paths(self) -> Paths:
        """The job's paths, relative to `[job] root` where the config gives a relative one."""
        root = _join(self._file.parent, self.job.root)
        bucket = self.job.output if is_remote(self.job.output) else ""
        photos = (self.origin.photos if self.origin else "", self.bench.photos if self.bench else "")
        return Paths(
            config=self._file,
            root=root,
            inputs=tuple(one if one == STDIN or is_remote(one) else str(_join(root, one)) for one in self.job.input),
            output=_join(root, self.job.state if bucket else self.job.output),
            bucket=bucket,
            photos=_join(root, photos[0]) if photos[0] else None,
            bench_photos=_join(root, photos[1]) if photos[1] else None,
            textfile=_join(root, self.metrics.textfile) if self.metrics.textfile else None,
        )


def _join(folder: Path, path: str | Path) -> Path:
    return Path(os.path.normpath(folder / path))
