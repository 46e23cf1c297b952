"""SIGINT and SIGTERM end a bench by an exception, but never while a process is being started and nobody owns it yet."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from batchproc.errors import BatchprocError, ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KEPT = "the bench was stopped; what it measured is kept, and the same command continues"


class BenchStopped(BatchprocError):
    """A signal ended the bench; what was measured is kept unless `text` says otherwise."""

    def __init__(self, number: int, text: str = KEPT) -> None:
        self.number = number
        self.exit_code = ExitCode.TERMINATED if number == signal.SIGTERM else ExitCode.INTERRUPTED
        super().__init__(text)


class Interrupt:
    """Raises `BenchStopped` in the main thread on the first signal, for the length of a `with` block; ignores the rest.

    Used by the main thread alone, in which Python runs its signal handlers.
    """

    def __init__(self) -> None:
        self._held = False
        self._number: int | None = None

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._hear) for number in SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes inside the block is raised at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._number is not None:
            raise BenchStopped(self._number)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            return
        self._number = number
        if not self._held:
            raise BenchStopped(number)
