"""Where a process that passes a failpoint waits until the test has killed whom it wanted."""

import os
import select
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.campaign.family import LONGEST_RUN_SECONDS, Family


class Meeting:
    """Listens at a Unix socket. Only the first process that calls is kept waiting, and only inside the block."""

    def __init__(self, point: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="meet-")  # short: a socket's path has 107 bytes at most
        self._listener = socket.socket(socket.AF_UNIX)
        self._line: socket.socket | None = None
        address = str(Path(self._folder, "s"))
        self._listener.bind(address)
        self._listener.listen()
        self.failpoint = f"{point}@{address}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        shutil.rmtree(self._folder)

    def hang_up(self) -> None:
        """Lets the caller go on, and whoever calls from now on."""
        self._listener.close()
        if self._line is not None:
            self._line.close()

    def await_caller(self, family: Family) -> int:
        """The pid of the process that stands at the point. Fails when the run ends without passing it."""
        end = os.pidfd_open(family.parent.pid)
        try:
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            poll.register(end, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(LONGEST_RUN_SECONDS * 1000)}
        finally:
            os.close(end)
        assert self._listener.fileno() in ready, f"the run did not come to {self.failpoint}:\n{family.said()}"
        self._line, _ = self._listener.accept()
        return int(self._line.makefile().readline())
