"""What the record says of why: modes and their rivals, ceilings, hints, each with its numbers and its sentence."""

from collections.abc import Mapping

from msgspec import Struct, field

from batchproc.record.run_parts import ModeName

# What a reason is about: a number with its unit in its name, or a word of the config.
Value = int | float | str | None


class Variant(Struct, frozen=True, kw_only=True):
    """One way to run the job: a mode and a number of workers for each stage."""

    download: ModeName
    download_workers: int
    transform: ModeName
    transform_workers: int


class StageModel(Struct, frozen=True, kw_only=True):
    """One stage, per item of the job. All in seconds but `phi`.

    `cpu_seconds` is c, `phi` the share of it that holds the GIL. `blocked_seconds` is W: waiting for network or disk,
    not for a core and not for the GIL. The `ipc` figures are CPU on either side of the pipe, paid in process mode only.
    """

    cpu_seconds: float
    phi: float
    blocked_seconds: float = 0.0
    ipc_worker_seconds: float = 0.0
    ipc_parent_seconds: float = 0.0


class Figure(Struct, frozen=True, kw_only=True):
    """A measured figure behind a choice; `value` None is unknown. `code`: which one; `text`: its name in words."""

    code: str = ""
    text: str = ""
    value: float | None = None
    unit: str = ""


class Alternative(Struct, frozen=True, kw_only=True):
    """Another way to run one stage, and the whole run's rate in it against this run's. None: not predicted.

    `error`: of the ratio, relative, beside what the GIL shares leave open. `rank`: a `batchproc.explain.reasons.Rank`;
    `code`: what would set its pace, with `values`; `because`: that as a sentence.
    """

    mode: ModeName
    workers: int
    predicted_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    because: str = ""
    error: float = 1.0
    rank: str = ""
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Choice(Struct, frozen=True, kw_only=True):
    """Whether a stage's mode was right: in a few words, in a sentence, by these figures, against these others.

    `code`: a `batchproc.explain.reasons.Judgement`, with its `values`. `best`: the best mode, empty where that is not
    known; `cause`: a `batchproc.explain.reasons.Cause`. `headline` says by how much, `reason` why in at most 12 words.
    """

    stage: str
    mode: str = ""
    workers: int = 0
    best: str = ""
    cause: str = ""
    headline: str = ""
    reason: str = ""
    brief: str = ""
    verdict: str = ""
    evidence: tuple[Figure, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Ceiling(Struct, frozen=True, kw_only=True):
    """How fast a stage could go at most by one limit, in items of the job per second; None is unknown.

    `code`: a `batchproc.explain.reasons.CeilingReason`, with its `values`; `because`: that as a sentence.
    """

    name: str
    rate_per_second: float | None = None
    binds: bool = False
    because: str = ""
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Hint(Struct, frozen=True, kw_only=True):
    """One piece of advice. `gain`: the whole run's rate afterwards against now, None where it is not known.

    `code`: a `batchproc.explain.reasons.Advice`, with its `values`; `text`, `evidence`: that in words.
    """

    text: str = ""
    evidence: str = ""
    gain: float | None = None
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Candidate(Variant, frozen=True, kw_only=True):
    """A pair of modes that was weighed, and what it is predicted to need for the rest of the work.

    `change_seconds`: to get there from what runs; `rest_seconds`: with the change. `bound`: what sets its pace.
    """

    predicted_rate_per_second: float
    change_seconds: float
    rest_seconds: float
    bound: str = ""
    bound_stage: str | None = None

    @property
    def crew(self) -> Variant:
        """The pair alone."""
        return Variant(
            download=self.download, download_workers=self.download_workers,
            transform=self.transform, transform_workers=self.transform_workers,
        )  # fmt: skip


class Tried(Variant, frozen=True, kw_only=True):
    """A pair of modes that was run, in the order of the legs."""

    items: int
    seconds: float
    rate_per_second: float | None = None


class ModelInputs(Struct, frozen=True, kw_only=True):
    """What a prediction was made from: per item, in seconds."""

    items: int
    download: StageModel
    transform: StageModel
    glue_seconds: float = 0.0
    origin_cpu_seconds: float = 0.0
    connections: float | None = None
    cores: float = 0.0
    others_cpu_share: float = 0.0
    model_error: float = 0.0
    assumed: tuple[str, ...] = ()


class AutoRecord(Struct, frozen=True, kw_only=True):
    """How a run with `mode = "auto"` came to its modes. `margin`: the runner-up's rate by the chosen one's, less 1.

    `verdict`, `reason`: an `AutoVerdict` and an `AutoReason` of `batchproc.explain.reasons`, with `values`; `text`:
    that as a sentence. `began`: the pair that the run began in.
    """

    stages: tuple[str, ...]
    verdict: str
    text: str = ""
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    began: Variant | None = None
    chosen: Variant
    runner_up: Variant | None = None
    margin: float | None = None
    inputs: ModelInputs | None = None
    candidates: tuple[Candidate, ...] = ()
    legs: tuple[Tried, ...] = ()
