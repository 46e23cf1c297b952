"""Does the measurement hold together? Checks that the report prints: independent counts compared, and disturbers named.

Pure arithmetic. A check that lacks a figure has `passed` None: not known, which is not the same as passed.
"""

from dataclasses import dataclass

from batchproc.measure.breakdown import TimeBreakdown

UNEXPLAINED_LIMIT = 0.05
LITTLE_LIMIT = 0.05
OTHERS_LIMIT = 0.10
STEAL_LIMIT = 0.02
HIDDEN_LIMIT = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One self-check. `value` is compared with `limit`, both as shares unless the text says otherwise."""

    name: str
    value: float | None = None
    limit: float | None = None
    passed: bool | None = None
    text: str = ""


def _check(name: str, value: float | None, limit: float, text: str, unknown: str) -> Check:
    if value is None:
        return Check(name=name, value=None, limit=limit, passed=None, text=f"not known: {unknown}")
    return Check(name=name, value=value, limit=limit, passed=abs(value) <= limit, text=text)


def remainder(stage: str, breakdown: TimeBreakdown) -> Check:
    """How much of a stage's worker-seconds nothing explains."""
    share = breakdown.unexplained_share if breakdown.whole_seconds else None
    text = f"{stage}: {0.0 if share is None else share:+.1%} of the worker-seconds are unexplained"
    return _check(f"remainder.{stage}", share, UNEXPLAINED_LIMIT, text, "the stage had no worker-seconds")


def littles_law(stage: str, *, mean_in_flight: float | None, items: int, inside_seconds: float, wall: float) -> Check:
    """Mean in flight = throughput x mean time inside (Little 1961), from two independent counts.

    `mean_in_flight` is the sampler's mean of the gauge; `inside_seconds` the sum over all `items` of the time from
    entering to leaving, from spans; `wall` in seconds, of the same window.
    """
    expected = inside_seconds / wall if wall and items else None
    if mean_in_flight is None or not expected:
        return _check(f"little.{stage}", None, LITTLE_LIMIT, "", "one of the two counts is missing")
    text = f"{stage}: {mean_in_flight:.2f} in flight by gauge, {expected:.2f} by Little's law"
    return _check(f"little.{stage}", mean_in_flight / expected - 1.0, LITTLE_LIMIT, text, "")


def others(share: float | None) -> Check:
    """CPU used by programs that are not ours, as a share of all cores."""
    text = f"other programs used {share or 0.0:.1%} of the machine's CPU"
    return _check("others", share, OTHERS_LIMIT, text, "the system does not tell")


def steal(share: float | None) -> Check:
    """CPU that the hypervisor gave to others."""
    text = f"the hypervisor took {share or 0.0:.1%} of the machine's CPU"
    return _check("steal", share, STEAL_LIMIT, text, "the system does not tell")


def throttling(seconds: float | None) -> Check:
    """Whether a CPU quota held the run back. The limit is 0 seconds."""
    text = f"a CPU quota kept the run waiting for {seconds or 0.0:.2f} s"
    return _check("throttling", seconds, 0.0, text, "no quota is accounted here")


def origin(share: float | None) -> Check:
    """CPU that the embedded origin took from the run, as a share of all cores: it stands for a server elsewhere."""
    text = f"the embedded origin used {share or 0.0:.1%} of the machine's CPU"
    return _check("origin", share, OTHERS_LIMIT, text, "the run had no embedded origin, or nothing was sampled")


def hidden_threads(stage: str, *, process_cpu_seconds: float | None, thread_cpu_seconds: float) -> Check:
    """CPU of the run's processes that no thread of ours accounts for: helper threads of native libraries, and glue."""
    if not process_cpu_seconds:
        return _check(f"hidden.{stage}", None, HIDDEN_LIMIT, "", "the CPU time of the processes is missing")
    share = 1.0 - thread_cpu_seconds / process_cpu_seconds
    text = f"{stage}: {share:.1%} of its processes' CPU is outside the work (start, pipe, threads of libraries)"
    return _check(f"hidden.{stage}", share, HIDDEN_LIMIT, text, "")
