"""What may start now. No thread ever sleeps for a retry.

    frontier.py      decides: the window of sources, what is in flight, what comes back
    hosts.py         all hosts, in turn
    host.py          one host: its limit (AIMD), its pause, its breaker
    pace.py          how fast it is asked, and how long it is left alone
    machine.py       this machine's own trouble: no descriptor, port or route for a connection
    concurrency.py   how many downloads at once over all hosts, by the gradient of the time to first byte
    waiting.py       which failures come back and when, the budget of memory, and how long something waited
"""

from batchproc.frontier.concurrency import Concurrency
from batchproc.frontier.frontier import WINDOW, Frontier
from batchproc.frontier.host import HostLimit, host_asked, host_of
from batchproc.frontier.waiting import LONGEST_BACKOFF_SECONDS, End, Refill, Wait, Waits, full_jitter

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
