"""Download a list of images, transform them, and show why each stage ran best in threads, processes or neither.

A step of your own needs one name from here: raise `Reject("reason")` to drop an image on purpose.
"""

from batchproc.version import VERSION as __version__

TYPE_CHECKING = False  # what `python -m` has put on the path must not be imported here
if TYPE_CHECKING:
    from batchproc.errors import Reject

__all__ = ["Reject", "__version__"]


def __getattr__(name: str) -> object:
    """Imports `Reject` when it is asked for: the program itself has to hear signals first."""
    if name != "Reject":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchproc.errors import Reject

    return Reject
