"""What the record says of the hosts that were asked, and of how many downloads ran at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStarts:
    """How many requests one host was asked."""

    host: str = ""
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubledHost:
    """What came of a host's refusals."""

    host: str = ""
    refused: int = 0
    accepted: int = 0
    per_second: float = 0.0
    away: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTrouble:
    """How often nothing could start for reasons of this machine's own, for how long, and why."""

    pauses: int = 0
    paused_seconds: float = 0.0
    codes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyRecord:
    """What `workers = "auto"` came to. `changes` are the first and the last, as (seconds, limit, reason)."""

    start: int = 0
    limit: int = 0
    highest: int = 0
    lowest: int = 0
    changes: tuple[tuple[float, int, str], ...] = ()
