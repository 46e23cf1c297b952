"""The codes of every finding on a run, in one place. `wording` has a sentence for each; no arithmetic knows any."""

from enum import StrEnum


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
    THREADS = "threads"
    TYPICAL = "typical"


class GilDoubt(StrEnum):
    """What the measured waiting for the GIL says against an estimate."""

    NONE = ""
    WAITED_LESS = "waited_less"
    WAITED_MORE = "waited_more"
