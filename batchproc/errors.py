"""What is raised: the exceptions with their exit codes. What each failure code means stands in `kinds`.

Two families. `StageError` and `Reject` concern one image: they are raised inside a stage and become a value there.
`BatchprocError` and its children concern the whole run: they end it with `exit_code`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

from batchproc.kinds import TABLE, UNKNOWN, kind_of
from batchproc.kinds import Code as Code
from batchproc.kinds import Retry as Retry
from batchproc.kinds import http_code as http_code


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


class Reject(Exception):
    """Raised by a check, or by a user's own step, to drop an image on purpose. Not a failure."""

    def __init__(self, reason: str, *, code: str = Code.CHECK_REJECTED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = str(code)


class StageError(Exception):
    """Raised inside a stage: this item failed. The wrapper around the stage turns it into a `Failure`.

    `retry` is only given where it is not the one of the code's kind.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        retry: Retry | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.hint = hint
        self._retry = retry
        self.retry_after_seconds = retry_after_seconds

    @property
    def retry(self) -> Retry:
        """When to try again."""
        return self.retry_in("download")

    def retry_in(self, stage: str) -> Retry:
        """When to try again after that stage."""
        return self._retry or kind_of(self.code).retry_in(stage)


class BatchprocError(Exception):
    """Ends the run. `exit_code` is what the shell sees, the text is what the user reads."""

    exit_code = ExitCode.INTERNAL


class Problem(Struct, frozen=True, kw_only=True):
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


def check_codes(codes: Sequence[str]) -> tuple[str, ...]:
    """The failure codes as they are asked for. Raises `UsageError` for what is none, with the nearest one."""
    from difflib import get_close_matches  # of no use to workers

    problems = []
    for code in codes:
        if kind_of(code).meaning == UNKNOWN.meaning:
            near = get_close_matches(code, TABLE, n=1)
            meant = f'did you mean "{near[0]}"?' if near else "`batchproc status` lists those of a job."
            problems.append(Problem(where=f"--retry-failed={code}", message=f"is no failure code; {meant}"))
    if problems:
        raise UsageError(problems)
    return tuple(codes)


class LockHeldError(BatchprocError):
    """Another run of the same job holds the lock."""

    exit_code = ExitCode.LOCKED


class DiskError(BatchprocError):
    """The disk or the ledger cannot be written: the run stops, what is unfinished stays pending."""

    exit_code = ExitCode.DISK


@contextmanager
def file_errors(path: Path, advice: str = "The next run writes it.") -> Iterator[None]:
    """Around the writing of a file: what the system says of it, or of any other, becomes a `DiskError`."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{error.filename or path}: cannot be written: {error.strerror}. {advice}".rstrip()) from error


class StoreError(DiskError):
    """An object store cannot be read or written."""


class ExecutorError(BatchprocError):
    """The workers cannot do their work: they do not start, or crash without end."""


class ItemFailedError(BatchprocError):
    """An item failed, and the run was to stop at the first that does (`--strict`)."""

    exit_code = ExitCode.TOO_MANY_FAILED
