"""Keeps what a picture frees for the next one, where the C library is glibc.

By default glibc gives memory back at the end of every picture, and each of its pages costs a fault when the next one
takes it again: a tenth of the CPU of resizing photographs in a worker process. See mallopt(3).
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 64 * 2**20  # at the top of the heap; what one process holds more than it uses
LARGEST_KEPT_BYTES = 32 * 2**20  # of one block, the most that every version of glibc allows


def keep_freed_memory() -> bool:
    """Sets the heap of the calling process, for all its threads; returns whether it could."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
