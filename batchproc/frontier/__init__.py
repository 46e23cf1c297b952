"""What may start now. No thread ever sleeps for a retry.

    frontier.py      decides: the window of sources, what is in flight, what comes back
    hosts.py         all hosts, in turn
    host.py          one host: its limit (AIMD), its pause, its breaker
    machine.py       this machine's own trouble: no descriptor, port or route for a connection
    decisions.py     what it may decide, and what it keeps of an item under way
    concurrency.py   how many downloads at once over all hosts, by the gradient of the time to first byte
    levels.py        which time to first byte is usual for each host
    retries.py       which failures come back in this run, and when
    waits.py         how long something had to wait for its time
    memory.py        the byte budget of originals, those still to come estimated
"""

from batchproc.frontier.concurrency import Concurrency
from batchproc.frontier.decisions import End, Refill, Wait
from batchproc.frontier.frontier import WINDOW, Frontier
from batchproc.frontier.host import HostLimit, host_asked, host_of
from batchproc.frontier.retries import LONGEST_BACKOFF_SECONDS, full_jitter
from batchproc.frontier.waits import Waits

__all__ = [
    "LONGEST_BACKOFF_SECONDS",
    "WINDOW",
    "Concurrency",
    "End",
    "Frontier",
    "HostLimit",
    "Refill",
    "Wait",
    "Waits",
    "full_jitter",
    "host_asked",
    "host_of",
]
