"""How long there was something to do that had to wait for its time: a retry, or a host that is paused or paced."""

from dataclasses import dataclass, fields

from batchproc.frontier.hosts import Hosts
from batchproc.frontier.retries import Retries


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDue:
    """What cannot start yet, but will with time alone: how many items, and which sort comes first."""

    retries: int
    held: int  # by their hosts; counted up to the number of idle workers
    host_is_next: bool


def find_not_due(hosts: Hosts, later: Retries, now: float, idle: int) -> NotDue:
    """What waits for its time at `now`, beside so many idle workers."""
    retries = len(later) - later.for_hosts
    held = later.for_hosts + hosts.count_held(now, idle - len(later))
    times = [(due, is_host) for due, is_host in ((hosts.next_time(), True), later.first) if due is not None]
    return NotDue(retries=retries, held=held, host_is_next=bool(times) and min(times)[1])


@dataclass(slots=True, kw_only=True)
class Waits:
    """Sums of such waits. Not thread-safe: changed under the frontier's condition.

    `retry_seconds` and `pause_seconds` are of the clock: nothing was in flight, there was nothing to do but wait. The
    other two are of download workers that stood idle for that reason, beside others at work too.
    """

    retry_seconds: float = 0.0
    pause_seconds: float = 0.0
    retry_worker_seconds: float = 0.0
    pause_worker_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """For so long there was nothing to do but wait."""
        return self.retry_seconds + self.pause_seconds

    def add(self, seconds: float, waiting: NotDue, *, idle: int, alone: bool) -> None:
        """Some time has passed. `alone`: with nothing in flight; then every idle worker waited for what came first.

        Beside others at work, an idle worker waited where there was an item for it.
        """
        if not (waiting.retries or waiting.held):
            return
        for_retries = min(idle, waiting.retries)
        for_hosts = min(idle - for_retries, waiting.held)
        if alone:
            for_retries, for_hosts = (0, idle) if waiting.host_is_next else (idle, 0)
            self.retry_seconds += 0.0 if waiting.host_is_next else seconds
            self.pause_seconds += seconds if waiting.host_is_next else 0.0
        self.retry_worker_seconds += for_retries * seconds
        self.pause_worker_seconds += for_hosts * seconds

    def describe(self) -> dict[str, float]:
        """For how long there was nothing to do but wait for a retry, or for a paused host."""
        return {"retry_wait_seconds": self.retry_seconds, "pause_wait_seconds": self.pause_seconds}

    def since(self, before: "Waits") -> "Waits":
        """What came to it since it stood at `before`."""
        names = [field.name for field in fields(self)]
        return Waits(**{name: getattr(self, name) - getattr(before, name) for name in names})
