"""The connections on the page: how many were opened, how often they were used again, how many were dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.words import count, share
from batchproc.redact import printable

WHAT = ("opened", "reused", "dropped")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsView:
    """A sentence, and a row per host: name, opened, reused, dropped."""

    sentence: str
    hosts: Sequence[tuple[str | int, ...]]


def view_connections(facts: Mapping[str, Any]) -> ConnectionsView | None:
    """Of the downloads; None where nothing was counted."""
    told = ((facts.get("stages") or {}).get("download") or {}).get("connections")
    if not told:
        return None
    opened, reused, dropped = (int(told.get(what) or 0) for what in WHAT)
    sentence = f"Downloads opened {count(opened, 'connection')} and used them again {count(reused, 'time')}"
    if opened + reused:
        sentence += f": {share(reused / (opened + reused))} of the requests needed no new one"
    sentence += f"; {dropped:,} of them did not last to the end."
    return ConnectionsView(sentence=sentence, hosts=[_row(host) for host in told.get("hosts") or ()])


def _row(host: Mapping[str, Any]) -> tuple[str | int, ...]:
    return (printable(str(host.get("host"))), *(int(host.get(what) or 0) for what in WHAT))
