"""Download a list of images, transform them, and show why each stage ran best in threads, processes or neither.

A step of your own needs one name from here: raise `Reject("reason")` to drop an image on purpose.
"""

from batchproc.errors import Reject
from batchproc.version import VERSION as __version__

__all__ = ["Reject", "__version__"]
