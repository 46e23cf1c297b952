"""Named points where a test can kill the program: nothing happens unless `BATCHPROC_FAILPOINT=name:count` is set.

`kill -9` at a named point, again and again, is how the promise "kill it at any instant" is proven. The process that
passes the point for the count-th time kills itself with SIGKILL: no handler, no `finally`, no flush. With
`name:count@socket` it calls at that Unix socket instead, sends its pid, and goes on when it is hung up on: meanwhile a
test can kill whom it likes, in a run that stands at that very point.
"""

import contextlib
import os
import signal

from msgspec import Struct

VARIABLE = "BATCHPROC_FAILPOINT"


class _Armed(Struct):
    """The point that kills, and how many passes are left. One per process, set once at import."""

    name: str
    passes_left: int
    address: str  # of the Unix socket to call at; empty = die


def _read_environment() -> _Armed | None:
    text, _, address = os.environ.get(VARIABLE, "").partition("@")
    name, _, count = text.partition(":")
    return _Armed(name=name, passes_left=int(count or "1"), address=address) if name else None


_armed = _read_environment()


def failpoint(name: str) -> None:
    """Kills or halts this process if the environment asked for this point and it is passed often enough. Any thread."""
    if _armed is None or _armed.name != name:
        return
    _armed.passes_left -= 1
    if _armed.passes_left == 0:
        if _armed.address:
            _call(_armed.address)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


def _call(address: str) -> None:
    """Sends this process's pid and waits for the other side to hang up; nobody there is as good as hung up."""
    import socket

    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.connect(address)
        line.sendall(b"%d\n" % os.getpid())
        line.recv(1)
