"""The names under which the sampler, `ps` and `top` find a thread, and the right to look at it.

Light: imported by workers. Linux keeps a name of 15 bytes per thread; elsewhere these calls do nothing.
"""

import sys
import threading
from pathlib import Path

NAME_BYTES = 15  # TASK_COMM_LEN less the closing zero
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_PR_SET_PTRACER = 0x59616D61  # prctl(2)


def name_thread(role: str) -> None:
    """Gives the calling thread its role, as `transform-3`: stage, dash, number; by this the sampler groups threads.

    To be called once, first thing in the thread, or in the main thread of a worker process. About 20 us.
    """
    if not sys.platform.startswith("linux"):
        return
    comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    try:
        comm.write_bytes(shortened(role).encode()[:NAME_BYTES])
    except OSError:
        return  # /proc is not mounted, or read-only: the sampler then reports the thread as unnamed


def shortened(role: str) -> str:
    """`role` in 15 bytes, with its number kept whole."""
    stem, dash, number = role.rpartition("-")
    if not number.isdigit() or not dash:
        return role[:NAME_BYTES]
    return stem[: NAME_BYTES - 1 - len(number)] + dash + number


def allow_reader(pid: int) -> bool:
    """Lets process `pid` read what this process's threads wait for, where Yama restricts that to ancestors.

    True when nothing stands in the way afterwards, as far as Yama goes. Scope 1 is opened with `PR_SET_PTRACER` for
    that one process; scopes 2 and 3 cannot be.
    """
    try:
        scope = int(_YAMA.read_text())
    except (OSError, ValueError):
        return True  # no Yama
    if scope != 1:
        return scope == 0
    import ctypes

    zero = ctypes.c_ulong(0)
    return int(ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), zero, zero, zero)) == 0
