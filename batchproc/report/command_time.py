"""Where the time of the whole command went, for the summary and the page alike."""

from collections.abc import Mapping
from typing import Any

from batchproc.explain.words import seconds

WORDS = {
    "start": "starting",
    "lock": "waiting for the lock",
    "origin": "making the origin's pictures",
    "prepare": "opening the ledger and reading the list",
    "items": "items",
    "settle": "ledger and manifests",
    "describe": "explaining",
}
LEAST_SHARE = 0.01  # what is less is not named


def command_time(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """The whole command until its run.json was made, and its parts in their order; None where it is not known."""
    parts = facts.get("command_seconds")
    if not parts:
        return None
    whole = sum(parts.values())
    named = [f"{seconds(parts[name])} {words}" for name, words in WORDS.items() if parts[name] >= LEAST_SHARE * whole]
    return seconds(whole), ", ".join(named)
