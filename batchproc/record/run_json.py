"""The record of a run: every figure of run.json under its name there, and how that file is written and read.

Times in seconds, sizes in bytes. Every field has a default, so that the file of an older build can be read: what it did
not know is unknown here. Reading checks every value by its type; a key that is missing has its default, and one of
unknown origin is passed over.
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, convert, field

from batchproc.errors import UsageError
from batchproc.measure.breakdown import Check
from batchproc.measure.samples import Samples
from batchproc.record.explanation import AutoRecord, Ceiling, Choice, Hint, Value
from batchproc.record.run_parts import (
    ClusterRecord,
    ConcurrencyRecord,
    DataSetRecord,
    HostStarts,
    LocalTrouble,
    PhaseRecord,
    StageLoad,
    StageRecord,
    TroubledHost,
)

FILE_NAME = "run.json"
SCHEMA = 1


class Counts(Struct, frozen=True, kw_only=True):
    """The states of the whole list. `done` to `pending` add up to `items`; `absent` ones are not in the list."""

    items: int = 0
    done: int = 0
    rejected: int = 0
    failed: int = 0
    quarantined: int = 0
    deferred: int = 0
    pending: int = 0
    absent: int = 0
    duplicates: int = 0
    bad_rows: int = 0


class DueAgain(Struct, frozen=True, kw_only=True):
    """Items that no run would try again but for a change of the config, and the keys that have changed."""

    items: int = 0
    because: tuple[str, ...] = ()


NOTHING_DUE = DueAgain()


class RunCounts(Counts, frozen=True, kw_only=True):
    """The list at the run's end, and what the run did: `already_done` had come to their end before it began."""

    already_done: int = 0
    processed: int = 0
    retried: int = 0
    missing_files: int = 0
    pruned: int = 0
    unchanged: int = 0


class MemoryRecord(Struct, frozen=True, kw_only=True):
    """PSS and USS of the process tree, and of the largest worker process; None: the system does not say."""

    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    per_worker_pss_bytes: int | None = None


class MachineRecord(Struct, frozen=True, kw_only=True):
    """The machine and the libraries that the run was made on."""

    name: str = "unknown"
    system: str = "unknown"
    machine: str = "unknown"
    cores: int = 0
    cores_online: int = 0
    python: str = "unknown"
    implementation: str = ""
    gil: bool | None = None
    start_method: str = "unknown"
    libraries: Mapping[str, str] = field(default_factory=dict)


class HostsRecord(Struct, frozen=True, kw_only=True):
    """Hosts by the number of starts. `lowest_limit` is below `per_host` when one struggled."""

    count: int = 0
    top: tuple[HostStarts, ...] = ()
    per_host: int = 0
    lowest_limit: int = 0
    troubled: tuple[TroubledHost, ...] = ()
    local_trouble: LocalTrouble | None = None


class Bottleneck(Struct, frozen=True, kw_only=True):
    """The stage that held the run back, or None; `reason`: a `Reason`; and the sentence.

    `loads`: how busy each stage was. `downloads_allowed`: at once, on average, where the hosts' limits held it back.
    """

    stage: str | None = None
    reason: str = ""
    loads: Mapping[str, StageLoad] = field(default_factory=dict)
    downloads_allowed: float | None = None
    because: str = ""


class Crossover(Struct, frozen=True, kw_only=True):
    """The number of cores beyond which threads cannot use more, and the GIL-held fraction that it follows from.

    `code`: a `CrossoverReason`, with its `values`; `text`: that as a sentence.
    """

    phi: float | None = None
    phi_low: float | None = None
    phi_high: float | None = None
    method: str = "unknown"
    cores: float | None = None
    text: str = ""
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class BreakEven(Struct, frozen=True, kw_only=True):
    """The number of items from which transform in processes repays its start; None: never, or unknown.

    `code`: a `BreakEvenReason`, with its `values`; `text`: that as a sentence.
    """

    items: int | None = None
    text: str = ""
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run: what was counted and measured, and from `verdict` on what follows from it (`batchproc.explain`).

    `failures`, `deferrals`: items of the whole list by code, `failures_this_run` of this run alone. `stages`, `leg`,
    `memory`, `checks` and `samples` are of the last phase. `cluster`: of a run on several machines; its stages are
    those of all parts together. `data_set`: as it is after the run, whichever runs made it. `config`: as resolved,
    without secrets. `command_seconds`: the whole command in its parts, in their order; None where the run is not all
    that its process is for.
    """

    schema: int = SCHEMA
    version: str = "unknown"
    job: str = "unknown"
    run_id: str = ""
    started: str = ""
    ended: str = ""
    wall_seconds: float = 0.0
    line_seconds: float = 0.0
    observer_started: float | None = None
    exit_code: int = -1  # in a file that does not say
    reason: str = ""
    stopped_by: str | None = None
    counts: RunCounts = RunCounts()
    failures: Mapping[str, int] = field(default_factory=dict)
    deferrals: Mapping[str, int] = field(default_factory=dict)
    failures_this_run: Mapping[str, int] | None = None
    deferred_this_run: int = 0
    images_per_second: float | None = None
    startup_seconds: float | None = None
    retry_wait_seconds: float | None = None
    pause_wait_seconds: float | None = None
    list_remarks: tuple[str, ...] = ()
    recipe: str = ""
    resampler_problem: str = ""
    due_again: DueAgain = NOTHING_DUE
    original_bytes: int | None = None
    rendition_bytes: int | None = None
    auto: AutoRecord | None = None
    concurrency: ConcurrencyRecord | None = None
    cluster: ClusterRecord | None = None
    data_set: DataSetRecord | None = None
    hosts: HostsRecord = HostsRecord()
    host: MachineRecord = MachineRecord()
    config: Mapping[str, Any] = field(default_factory=dict)
    leg: PhaseRecord | None = None
    line_startup_seconds: float | None = None
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    memory: MemoryRecord = MemoryRecord()
    checks: tuple[Check, ...] = ()
    samples: Samples = Samples(unknown="")
    verdict: tuple[str, ...] = ()
    bottleneck: Bottleneck = Bottleneck()
    choices: tuple[Choice, ...] = ()
    ceilings: Mapping[str, tuple[Ceiling, ...]] = field(default_factory=dict)
    measured_rate_per_second: Mapping[str, float] = field(default_factory=dict)
    hints: tuple[Hint, ...] = ()
    crossover: Crossover = Crossover()
    break_even: BreakEven = BreakEven()
    command_seconds: Mapping[str, float] | None = None

    @property
    def measured_phase(self) -> PhaseRecord:
        """The part of the run that the stages' figures are of; the whole, where an older build wrote the file."""
        return self.leg or PhaseRecord(
            items=self.counts.processed,
            seconds=self.line_seconds,
            startup_seconds=self.line_startup_seconds,
            retry_wait_seconds=self.retry_wait_seconds,
            pause_wait_seconds=self.pause_wait_seconds,
        )

    def setting(self, table: str, key: str, default: Any = None) -> Any:
        """A value of the config as it was resolved; `default` where the build that wrote it had none."""
        return (self.config.get(table) or {}).get(key, default)


def to_json(record: RunRecord) -> dict[str, Any]:
    """The record as it comes back from JSON, in the order of the file."""
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    unknown = content["samples"].pop("unknown")
    return content if unknown is None else content | {"samples": {"unknown": unknown}}


def write_text(record: RunRecord) -> bytes:
    """The content of run.json."""
    return json.dumps(to_json(record), indent=2, ensure_ascii=False).encode() + b"\n"


def read_run(folder: str | PathLike[str]) -> RunRecord:
    """The record of a run from its folder. Raises `UsageError` when there is none, or it is of another schema.

    >>> import batchproc
    >>> folder = batchproc.run("job.toml", transform_mode="thread").folder
    >>> batchproc.read_run(folder).failures
    {'http.404': 1}
    """
    path = Path(folder) / FILE_NAME
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {type(error).__name__}") from error
    if not isinstance(content, dict) or not isinstance(content.get("counts"), dict) or "stages" not in content:
        raise UsageError(f"{path}: is not the run.json of a batchproc run")
    if content.get("schema", SCHEMA) != SCHEMA:
        raise UsageError(f"{path}: schema {content['schema']!r}: this batchproc reads {SCHEMA}; read it with its own")
    try:
        return record_of(content)
    except ValueError as error:
        raise UsageError(f"{path}: is not the run.json of a batchproc run: {error}") from error


def record_of(content: Mapping[str, Any]) -> RunRecord:
    """The record with this content. Raises ValueError, which names the first value that is of another type."""
    return convert(content, RunRecord)
