"""What can go wrong: the closed set of failure codes, and the exceptions with their exit codes.

Two families. `StageError` and `Reject` concern one image: they are raised inside a stage and become a value there.
`BatchprocError` and its children concern the whole run: they end it with `exit_code`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What the process says to cron. The numbers are part of the contract."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    TOO_MANY_FAILED = 3
    LIMIT = 4
    DISK = 5
    LOCKED = 75
    INTERRUPTED = 130
    TERMINATED = 143


class Retry(StrEnum):
    """When a failed item may be tried again."""

    NEVER = "never"
    BACKOFF = "backoff"  # in this run, up to `[download] retries`, with full jitter
    HOST = "host"  # the whole host pauses, then again
    ONCE = "once"  # one more time, then final
    NEXT_RUN = "next_run"


class Code(StrEnum):
    """Why an item left early. Closed, but for the families `http.<status>` and `check.<name>`: see `http_code`."""

    INPUT_URL = "input.url"
    INPUT_URL_TOO_LONG = "input.url_too_long"
    INPUT_ENCODING = "input.encoding"
    INPUT_ROW = "input.row"
    POLICY_SCHEME = "policy.scheme"
    POLICY_ADDRESS = "policy.address"
    POLICY_ROBOTS = "policy.robots"
    POLICY_NOAI = "policy.noai"
    POLICY_PORT = "policy.port"
    DNS = "dns"
    CONNECT = "connect"
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
    CHECK_MAX_ASPECT = "check.max_aspect"
    IO_NOSPACE = "io.nospace"
    IO_PERM = "io.perm"
    IO_OTHER = "io.other"
    WORKER_CRASH = "worker.crash"
    WORKER_TIMEOUT = "worker.timeout"
    WORKER_MEMORY = "worker.memory"
    CANCELLED = "cancelled"
    INTERNAL_BUG = "internal.bug"


def http_code(status_code: int) -> str:
    """The code of an unwanted HTTP status, as `http.404`."""
    return f"http.{status_code}"


class Reject(Exception):
    """Raised by a check, or by a user's own step, to drop an image on purpose. Not a failure."""

    def __init__(self, reason: str, *, code: str = Code.CHECK_REJECTED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = str(code)


class StageError(Exception):
    """Raised inside a stage: this item failed. The wrapper around the stage turns it into a `Failure`."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        retry: Retry = Retry.NEVER,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.hint = hint
        self.retry = retry
        self.retry_after_seconds = retry_after_seconds


class BatchprocError(Exception):
    """Ends the run. `exit_code` is what the shell sees, the text is what the user reads."""

    exit_code = ExitCode.INTERNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with the user's input: where it stands, and a message that says what, and what to do."""

    where: str  # a dotted key with its table, as `[transform] workers`, or a file name
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(BatchprocError):
    """Usage, config or preflight: nothing was touched. Carries every problem at once."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (Problem(where="", message=problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class LockHeldError(BatchprocError):
    """Another run of the same job holds the lock."""

    exit_code = ExitCode.LOCKED


class DiskError(BatchprocError):
    """The disk or the ledger cannot be written: the run stops, what is unfinished stays pending."""

    exit_code = ExitCode.DISK


class ExecutorError(BatchprocError):
    """The workers cannot do their work: they do not start, or crash without end."""
