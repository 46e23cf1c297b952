"""What the record says of why: modes and their rivals, ceilings, hints, each with its numbers and its sentence.

And the codes of every finding: `explain.wording` has a sentence for each; no arithmetic knows any.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from batchproc.record.run_parts import ModeName


class Reason(StrEnum):
    """Why a stage, or none, held a run back."""

    NOTHING_DONE = "nothing_done"
    MOSTLY_WAITED = "mostly_waited"  # for a retry or a host, which is no work of anybody's
    LITTLE_TO_DO = "little_to_do"
    NO_IMAGE_CAME = "no_image_came"
    ONE_THREAD = "one_thread"  # did everything in turn: the longer stage is to blame
    BUSY = "busy"
    NEARLY_BUSY = "nearly_busy"
    STARTS_LIMITED = "starts_limited"  # no stage is full, and transform waits for input
    UNDECIDED = "undecided"


class Doubt(StrEnum):
    """Why nothing is said of a run's modes."""

    TOO_LITTLE = "too_little"  # was processed for any figure
    FEW_ITEMS = "few_items"
    MOSTLY_WAITED = "mostly_waited"


class Judgement(StrEnum):
    """Whether a stage's mode was right."""

    NO_VERDICT = "no_verdict"  # `doubt` says why
    UNEXPLAINED = "unexplained"
    MODEL_MISSES = "model_misses"
    NOT_BEST = "not_best"
    WON = "won"
    OPEN = "open"  # the error is too large to call the modes a tie
    LIGHTER_WOULD_DO = "lighter_would_do"
    TIE = "tie"  # and this mode is the lightest of them


class Cause(StrEnum):
    """The one figure that says most about why a stage's best mode is best."""

    WAITING = "waiting"  # most of a download
    GIL_HELD = "gil_held"  # so that threads would take turns
    GIL_FREE = "gil_free"  # so that threads work beside each other
    ONE_GIL = "one_gil"  # would hold threads back
    PACE = "pace"  # is set elsewhere
    COST = "cost"  # of an image: CPU and waiting


class AutoVerdict(StrEnum):
    """What became of the question which modes a run with `mode = "auto"` should go on in."""

    NOT_WORTH_IT = "not_worth_it"  # too few items: the usual modes, unmeasured
    TOO_SHORT = "too_short"  # the work ended before there was enough to choose from
    UNKNOWN = "unknown"  # the model does not describe this run
    KEPT = "kept"
    RACE = "race"  # to be decided by trying
    KEPT_AFTER_RACE = "kept_after_race"
    CHANGED = "changed"


class AutoReason(StrEnum):
    """Why that became of it."""

    FEW_ITEMS = "few_items"
    ENDED_EARLY = "ended_early"
    LOST_WORKER = "lost_worker"  # which only a process survives
    OTHERS_BUSY = "others_busy"
    MODEL_MISSES = "model_misses"
    PREDICTED = "predicted"
    TRIED = "tried"


class TieBreak(StrEnum):
    """What decides between pairs of modes that are as fast as each other."""

    NONE = ""
    ISOLATION = "isolation"  # of what strangers made: a crash costs one item in a process
    PRESENT = "present"  # what runs already


class Rank(StrEnum):
    """A mode's predicted rate against this run's."""

    UNKNOWN = "unknown"
    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"
    OPEN = "open"


class CeilingReason(StrEnum):
    """What a ceiling is made of, or why it is not known."""

    WORKERS = "workers"
    ONE_THREAD = "one_thread"
    CORES = "cores"
    GIL = "gil"
    PIPE = "pipe"
    NO_PIPE = "no_pipe"
    NETWORK_UNTESTED = "network_untested"
    NO_HOSTS = "no_hosts"  # the stage asks none
    HOSTS_UNKNOWN = "hosts_unknown"
    HOSTS_HELD = "hosts_held"
    ONE_HOST = "one_host"
    ONE_HOST_SERIAL = "one_host_serial"


class CrossoverReason(StrEnum):
    """What threads can use of the cores. A `Doubt` may stand in its place."""

    NO_CPU = "no_cpu"
    GIL_UNKNOWN = "gil_unknown"
    THREADS_REACH = "threads_reach"
    PROCESSES_NEEDED = "processes_needed"


class BreakEvenReason(StrEnum):
    """Whether starting processes pays. A `Doubt` may stand in its place."""

    UNKNOWN = "unknown"
    NEVER = "never"
    PAYS = "pays"


class Advice(StrEnum):
    """What to change next."""

    CHANGE_WORKERS = "change_workers"
    CHANGE_MODE = "change_mode"
    CHANGE_BOTH_MODES = "change_both_modes"
    GIL_IS_FULL = "gil_is_full"
    STEPS_HOLD_GIL = "steps_hold_gil"
    FEWER_WORKERS = "fewer_workers"
    PIPE_SUSPECTED = "pipe_suspected"
    HOST_STRUGGLED = "host_struggled"
    MORE_PER_HOST = "more_per_host"
    SERVER_REFUSED = "server_refused"
    RETRIES_WAITED = "retries_waited"
    MEASURE_AGAIN = "measure_again"


class GilMethod(StrEnum):
    """How a GIL-held fraction was found."""

    SOURCE = "source"
    ASKED = "asked"
    THREADS = "threads"
    TYPICAL = "typical"


class GilDoubt(StrEnum):
    """What the measured waiting for the GIL says against an estimate."""

    NONE = ""
    WAITED_LESS = "waited_less"
    WAITED_MORE = "waited_more"


# What a reason is about: a number with its unit in its name, or a word of the config.
Value = int | float | str | None


class ExecutionPlan(Struct, frozen=True, kw_only=True):
    """One way to run the job: a mode and a number of workers for each stage."""

    download: ModeName
    download_workers: int
    transform: ModeName
    transform_workers: int


class StageModel(Struct, frozen=True, kw_only=True):
    """One stage, per item of the job. All in seconds but `phi`.

    `cpu_seconds` is c, `phi` the share of it that holds the GIL. `blocked_seconds` is W: waiting for network or disk,
    not for a core and not for the GIL. `turn_seconds`: for how long a step holds the GIL at a stretch; part of phi c.
    The `ipc` figures are CPU on either side of the pipe, paid in process mode only.
    """

    cpu_seconds: float
    phi: float
    turn_seconds: float = 0.0
    blocked_seconds: float = 0.0
    ipc_worker_seconds: float = 0.0
    ipc_parent_seconds: float = 0.0


class StartCosts(Struct, frozen=True, kw_only=True):
    """Seconds that starting takes: whatever the modes; once when there is any worker process; and per process."""

    always_seconds: float = 0.0
    first_process_seconds: float = 0.0
    per_process_cpu_seconds: float = 0.0


class JobModel(Struct, frozen=True, kw_only=True):
    """A job on a machine. `glue_seconds`: the parent's own CPU per item, all under its GIL.

    `origin_cpu_seconds`: of an embedded origin, per item; it shares the cores. `connections`: the most downloads at
    once that the hosts allow, None where that is not known.
    """

    download: StageModel
    transform: StageModel
    items: int = 0
    cores: float = 0.0
    glue_seconds: float = 0.0
    origin_cpu_seconds: float = 0.0
    connections: float | None = None
    start: StartCosts = StartCosts()


class Figure(Struct, frozen=True, kw_only=True):
    """A measured figure behind a choice; `value` None is unknown. `code`: which one; `text`: its name in words."""

    code: str = ""
    text: str = ""
    value: float | None = None
    unit: str = ""


class Alternative(Struct, frozen=True, kw_only=True):
    """Another way to run one stage, and the whole run's rate in it against this run's. None: not predicted.

    `error`: of the ratio, relative, beside what the GIL shares leave open. `rank`: a `Rank`;
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

    `code`: a `Judgement`, with its `values`. `best`: the best mode, empty where that is not
    known; `cause`: a `Cause`. `headline` says by how much, `reason` why in at most 12 words.
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

    `code`: a `CeilingReason`, with its `values`; `because`: that as a sentence.
    """

    name: str
    rate_per_second: float | None = None
    binds: bool = False
    because: str = ""
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Hint(Struct, frozen=True, kw_only=True):
    """One piece of advice. `gain`: the whole run's rate afterwards against now, None where it is not known.

    `code`: an `Advice`, with its `values`; `text`, `evidence`: that in words.
    """

    text: str = ""
    evidence: str = ""
    gain: float | None = None
    code: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


class Candidate(ExecutionPlan, frozen=True, kw_only=True):
    """A pair of modes that was weighed, and what it is predicted to need for the rest of the work.

    `change_seconds`: to get there from what runs; `rest_seconds`: with the change. `bound`: what sets its pace.
    """

    predicted_rate_per_second: float
    change_seconds: float
    rest_seconds: float
    bound: str = ""
    bound_stage: str | None = None

    @property
    def plan(self) -> ExecutionPlan:
        """The pair alone."""
        return ExecutionPlan(
            download=self.download, download_workers=self.download_workers,
            transform=self.transform, transform_workers=self.transform_workers,
        )  # fmt: skip


class Tried(ExecutionPlan, frozen=True, kw_only=True):
    """A pair of modes that was run, in the order of the phases."""

    items: int
    seconds: float
    rate_per_second: float | None = None


class ModelInputs(JobModel, frozen=True, kw_only=True):
    """What a prediction was made from, and how far the model misses the run that it was made from."""

    others_cpu_share: float = 0.0
    model_error: float = 0.0
    assumed: tuple[str, ...] = ()


class AutoRecord(Struct, frozen=True, kw_only=True):
    """How a run with `mode = "auto"` came to its modes. `margin`: the runner-up's rate by the chosen one's, less 1.

    `verdict`, `reason`: an `AutoVerdict` and an `AutoReason`, with `values`; `text`:
    that as a sentence. `began`: the pair that the run began in.
    """

    stages: tuple[str, ...]
    verdict: str
    text: str = ""
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    began: ExecutionPlan | None = None
    chosen: ExecutionPlan
    runner_up: ExecutionPlan | None = None
    margin: float | None = None
    inputs: ModelInputs | None = None
    candidates: tuple[Candidate, ...] = ()
    legs: tuple[Tried, ...] = ()
