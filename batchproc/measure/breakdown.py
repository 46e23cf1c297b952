"""The time breakdown of a stage: workers x wall, and what spare workers added, in categories that sum to the whole.

    whole = cpu + run_queue + gil_wait + network + disk_or_lock      inside tasks, from spans
          + output_blocked + starved + ipc + startup + unstaffed     between tasks, from the workers' own clocks
          + retry_wait + pause_wait                                  of `starved`: there was an item, not yet due
          + unexplained                                              what is left; negative when clocks overlap

Within a task, wall = cpu + run_queue + blocked holds on Linux, thread by thread. `blocked` is then divided: first the
GIL's part, then what the stage declared as network waits, the rest is disk, locks and the unnamed. What cannot be told
apart is not told apart: without a run-queue figure it stays in the blocked categories, and without a GIL figure the
rest is called `blocked`. `notes` says so in words.

And the self-checks: does the measurement hold together? Independent counts compared, and disturbers named.
"""

import math
from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from batchproc.measure.samples import MachineUsage

NETWORK_PARTS = frozenset({"dns", "connect", "tls", "first_byte", "body"})
DISK_PARTS = frozenset({"read", "write"})


class GilWait(Struct, frozen=True, kw_only=True):
    """Seconds that a stage's workers waited for the GIL, and the method, which is always shown beside the figure."""

    seconds: float
    method: str  # sampled | residual
    error_seconds: float = 0.0  # one standard error of the sampling


class StageTotals(Struct, frozen=True, kw_only=True):
    """What was measured of one stage, added up over its workers. All in seconds but the counts.

    `runqueue_seconds` and `gil` are None where they are not known. `parts`: name -> (wall, CPU) inside tasks.
    `retry_wait_seconds` and `pause_wait_seconds`: of `starved_seconds`, while an item waited for its retry or for its
    host's pause to end. `not_running_seconds`: no worker ran in a worker slot, while the executor was open.
    """

    workers: int
    wall_seconds: float
    tasks: int
    task_wall_seconds: float
    cpu_seconds: float
    runqueue_seconds: float | None = None
    parts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    output_blocked_seconds: float = 0.0
    starved_seconds: float = 0.0
    ipc_seconds: float = 0.0
    startup_seconds: float = 0.0
    not_running_seconds: float = 0.0
    retry_wait_seconds: float = 0.0
    pause_wait_seconds: float = 0.0
    gil: GilWait | None = None
    spare_seconds: float = 0.0  # of spare workers that went on beside the others

    @property
    def whole_seconds(self) -> float:
        """Workers x wall, and what spare workers added: what the breakdown splits."""
        return self.workers * self.wall_seconds + self.spare_seconds

    @property
    def blocked_seconds(self) -> float:
        """Inside tasks, neither on a core nor known to be ready for one. Never below zero: clocks differ by some µs."""
        return max(0.0, self.task_wall_seconds - self.cpu_seconds - (self.runqueue_seconds or 0.0))


class TimeBreakdown(Struct, frozen=True, kw_only=True):
    """`categories` in the order to show them, `unexplained` last; they sum to `whole_seconds`."""

    whole_seconds: float
    categories: Mapping[str, float]
    gil_method: str  # sampled | residual | unknown
    notes: tuple[str, ...]

    @property
    def unexplained_share(self) -> float:
        """Of the whole, signed: negative when more was booked than there was time."""
        return self.categories["unexplained"] / self.whole_seconds if self.whole_seconds else 0.0


def break_down(totals: StageTotals) -> TimeBreakdown:
    """Splits a stage's worker-seconds."""
    categories = {
        "cpu": totals.cpu_seconds,
        **_waiting(totals),
        "output_blocked": totals.output_blocked_seconds,
        **_starved(totals),
        "ipc": totals.ipc_seconds,
        "startup": totals.startup_seconds,
        "unstaffed": totals.not_running_seconds,
    }
    categories["unexplained"] = totals.whole_seconds - math.fsum(categories.values())
    return TimeBreakdown(
        whole_seconds=totals.whole_seconds,
        categories=categories,
        gil_method=totals.gil.method if totals.gil else "unknown",
        notes=tuple(_notes(totals)),
    )


def _starved(totals: StageTotals) -> dict[str, float]:
    """Idle workers: what they waited for is known where there was an item that had to wait for its time."""
    retry = min(totals.starved_seconds, totals.retry_wait_seconds)
    pause = min(totals.starved_seconds - retry, totals.pause_wait_seconds)
    return {"starved": totals.starved_seconds - retry - pause, "retry_wait": retry, "pause_wait": pause}


def _waiting(totals: StageTotals) -> dict[str, float]:
    """The time inside tasks that was not CPU. Sums to the run queue and `blocked_seconds` exactly."""
    categories: dict[str, float] = {}
    if totals.runqueue_seconds is not None:
        categories["run_queue"] = totals.runqueue_seconds
    blocked = totals.blocked_seconds
    gil = 0.0
    if totals.gil is not None:
        gil = categories["gil_wait"] = min(totals.gil.seconds, blocked)
    network = categories["network"] = min(_network_seconds(totals, gil), blocked - gil)
    categories["disk_or_lock" if totals.gil else "blocked"] = blocked - gil - network
    return categories


def _network_seconds(totals: StageTotals, gil_seconds: float) -> float:
    """The declared waits less their CPU and less their share of run queue and GIL waiting.

    Run queue and GIL are known for whole tasks only; each part bears them in proportion to its time off the core.
    """
    waits = _off_core_seconds(totals.parts, NETWORK_PARTS)
    off_core = max(totals.task_wall_seconds - totals.cpu_seconds, waits)
    if not off_core:
        return 0.0
    return max(0.0, waits * (1.0 - ((totals.runqueue_seconds or 0.0) + gil_seconds) / off_core))


def _off_core_seconds(parts: Mapping[str, tuple[float, float]], names: frozenset[str]) -> float:
    return sum(max(0.0, wall - cpu) for name, (wall, cpu) in parts.items() if name in names)


def _notes(totals: StageTotals) -> list[str]:
    notes = []
    if totals.runqueue_seconds is None:
        notes.append("waiting for a core is not known here and counts as blocked")
    if totals.gil is None:
        notes.append("waiting for the GIL is not known here and counts as blocked")
    elif totals.gil.seconds > totals.blocked_seconds:
        surplus = totals.gil.seconds - totals.blocked_seconds
        notes.append(f"{surplus:.3g} s of waiting for the GIL fell between tasks and counts there")
    if totals.task_wall_seconds < totals.cpu_seconds + (totals.runqueue_seconds or 0.0):
        notes.append("the tasks' CPU and run-queue clocks ran ahead of the wall clock; the surplus is in unexplained")
    return notes


def residual_gil_wait(totals: StageTotals) -> GilWait | None:
    """Waiting for the GIL as the rest of a stage without I/O: wall - cpu - run queue, less declared disk parts.

    For where the wait states cannot be read. None when the stage waits for the network, or without run-queue figures:
    then the residual is not the GIL's. Locks of the stage's own count as the GIL's here.
    """
    if totals.runqueue_seconds is None or NETWORK_PARTS & totals.parts.keys():
        return None
    disk = _off_core_seconds(totals.parts, DISK_PARTS)
    return GilWait(seconds=max(0.0, totals.blocked_seconds - disk), method="residual")


def sampled_gil_wait(
    totals: StageTotals, gil_share: float | None, gil_error: float = 0.0, *, other_share: float = 0.0
) -> GilWait | None:
    """Waiting for the GIL inside tasks, from the sampler's shares of the time that the stage's workers were there.

    A worker waits for the GIL between tasks as well, whenever its queue wakes it. `other_share` is what it waited for
    inside tasks besides (network, disk, pipes): the blocked time of the tasks is divided as the samples divide it.
    """
    if gil_share is None:
        return None
    present = max(0.0, totals.whole_seconds - totals.not_running_seconds)
    seconds = gil_share * present
    if gil_share + other_share > 0.0:
        seconds = min(seconds, totals.blocked_seconds * gil_share / (gil_share + other_share))
    return GilWait(seconds=seconds, method="sampled", error_seconds=gil_error * present)


UNEXPLAINED_LIMIT = 0.05
LITTLE_LIMIT = 0.05
OTHERS_LIMIT = 0.10
STEAL_LIMIT = 0.02
HIDDEN_LIMIT = 0.10


class Check(Struct, frozen=True, kw_only=True):
    """One self-check. `value` is compared with `limit`, both as shares unless the text says otherwise.

    `passed` None: a figure is missing, so it is not known, which is not the same as passed.
    """

    name: str
    value: float | None = None
    limit: float | None = None
    passed: bool | None = None
    text: str = ""


def _compared(name: str, value: float | None, limit: float, text: str, unknown: str) -> Check:
    if value is None:
        return Check(name=name, value=None, limit=limit, passed=None, text=f"not known: {unknown}")
    return Check(name=name, value=value, limit=limit, passed=abs(value) <= limit, text=text)


def check_remainder(stage: str, breakdown: TimeBreakdown) -> Check:
    """How much of a stage's worker-seconds nothing explains."""
    share = breakdown.unexplained_share if breakdown.whole_seconds else None
    text = f"{stage}: {0.0 if share is None else share:+.1%} of the worker-seconds are unexplained"
    return _compared(f"remainder.{stage}", share, UNEXPLAINED_LIMIT, text, "the stage had no worker-seconds")


def check_littles_law(
    stage: str, *, mean_in_flight: float | None, items: int, inside_seconds: float, wall: float, unwatched: float = 0.0
) -> Check:
    """Mean in flight = throughput x mean time inside (Little 1961), from two independent counts.

    `mean_in_flight` is the sampler's mean of the gauge; `inside_seconds` the sum over all `items` of the time from
    entering to leaving, from spans; `wall` in seconds, of the sampler's window. For `unwatched` seconds of theirs, at a
    run's start, there was no sampler yet: so much the two may differ.
    """
    expected = inside_seconds / wall if wall and items else None
    if mean_in_flight is None or not expected:
        return _compared(f"little.{stage}", None, LITTLE_LIMIT, "", "one of the two counts is missing")
    text = f"{stage}: {mean_in_flight:.2f} in flight by gauge, {expected:.2f} by Little's law"
    limit = LITTLE_LIMIT + unwatched / wall
    return _compared(f"little.{stage}", mean_in_flight / expected - 1.0, limit, text, "")


def check_machine(machine: MachineUsage, origin_share: float | None) -> Iterator[Check]:
    """What others took of the machine: programs, the hypervisor, a CPU quota (no second of it), the embedded origin.

    Shares are of all cores. The origin takes its CPU from the run, and stands for a server elsewhere.
    """
    others, steal, throttled = machine.others_cpu_share, machine.steal_share, machine.throttled_seconds
    silent = "the system does not tell"
    used, took = f"other programs used {others or 0.0:.1%}", f"the hypervisor took {steal or 0.0:.1%}"
    yield _compared("others", others, OTHERS_LIMIT, f"{used} of the machine's CPU", silent)
    yield _compared("steal", steal, STEAL_LIMIT, f"{took} of the machine's CPU", silent)
    quota = f"a CPU quota kept the run waiting for {throttled or 0.0:.2f} s"
    yield _compared("throttling", throttled, 0.0, quota, "no quota is accounted here")
    origin = f"the embedded origin used {origin_share or 0.0:.1%} of the machine's CPU"
    absent = "the run had no embedded origin, or nothing was sampled"
    yield _compared("origin", origin_share, OTHERS_LIMIT, origin, absent)


def check_hidden_threads(stage: str, *, process_cpu_seconds: float | None, thread_cpu_seconds: float) -> Check:
    """CPU of the run's processes that no thread of ours accounts for: helper threads of native libraries, and glue."""
    if not process_cpu_seconds:
        return _compared(f"hidden.{stage}", None, HIDDEN_LIMIT, "", "the CPU time of the processes is missing")
    share = 1.0 - thread_cpu_seconds / process_cpu_seconds
    text = f"{stage}: {share:.1%} of its processes' CPU is outside the work (start, pipe, threads of libraries)"
    return _compared(f"hidden.{stage}", share, HIDDEN_LIMIT, text, "")
