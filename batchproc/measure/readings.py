"""What one look at a process or at the machine yields. None means: this system does not tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """PSS shares common pages among their users, so it may be summed; USS is what its end would give back."""

    pss_bytes: int | None
    uss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Seconds since boot, all cores added up. `throttled_seconds` concerns this control group alone."""

    cores: int
    busy_seconds: float
    total_seconds: float
    steal_seconds: float | None
    throttled_seconds: float | None
