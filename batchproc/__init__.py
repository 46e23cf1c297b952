"""Download a list of images, transform them, and show why each stage ran best in threads, processes or neither.

These names are the library; all others are internal and may change with any version. They are imported when they are
asked for: the program itself has to handle signals first, and a worker stays light. docs/python-api.md has examples.
"""

from batchproc.version import VERSION as __version__

TYPE_CHECKING = False  # what `python -m` has put on the path must not be imported here
if TYPE_CHECKING:
    from batchproc.api import Job, Outcome, RunResult, check, load, read_run, run, stream
    from batchproc.errors import BatchprocError, DiskError, ExitCode, LockHeldError, Reject, UsageError
    from batchproc.mapping import Failed
    from batchproc.mapping import map_items as map
    from batchproc.transform.steps.custom import step

__all__ = [
    "BatchprocError", "DiskError", "ExitCode", "Failed", "Job", "LockHeldError", "Outcome", "Reject", "RunResult",
    "UsageError", "__version__", "check", "load", "map", "read_run", "run", "step", "stream",
]  # fmt: skip

_HOMES = {
    "batchproc.api": ("Job", "Outcome", "RunResult", "check", "load", "read_run", "run", "stream"),
    "batchproc.errors": ("BatchprocError", "DiskError", "ExitCode", "LockHeldError", "Reject", "UsageError"),
    "batchproc.mapping": ("Failed", "map"),
    "batchproc.transform.steps.custom": ("step",),
}
_NAMES_THERE = {"map": "map_items"}


def __getattr__(name: str) -> object:
    """Imports a public name when it is asked for."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(home), _NAMES_THERE.get(name, name))
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
