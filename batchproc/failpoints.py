"""Named points where a test can kill the program: nothing happens unless `BATCHPROC_FAILPOINT=name:count` is set.

`kill -9` at a named point, again and again, is how the promise "kill it at any instant" is proven. The process that
passes the point for the count-th time kills itself with SIGKILL: no handler, no `finally`, no flush.
"""

import os
import signal
from dataclasses import dataclass

VARIABLE = "BATCHPROC_FAILPOINT"


@dataclass(slots=True)
class _Armed:
    """The point that kills, and how many passes are left. One per process, set once at import."""

    name: str
    passes_left: int


def _read_environment() -> _Armed | None:
    text = os.environ.get(VARIABLE, "")
    name, _, count = text.partition(":")
    return _Armed(name=name, passes_left=int(count or "1")) if name else None


_armed = _read_environment()


def failpoint(name: str) -> None:
    """Kills this process if the environment asked for this point and it is passed often enough. Any thread."""
    if _armed is None or _armed.name != name:
        return
    _armed.passes_left -= 1
    if _armed.passes_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
