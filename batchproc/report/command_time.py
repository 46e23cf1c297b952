"""Where the time of the whole command went, for the summary and the page alike."""

from batchproc.explain.words import seconds
from batchproc.record.run import RunRecord

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


def command_time(record: RunRecord) -> tuple[str, str] | None:
    """The whole command until its run.json was made, and its parts in their order; None where it is not known."""
    parts = record.command_seconds
    if not parts:
        return None
    whole = sum(parts.values())
    large = {name: value for name, value in parts.items() if value >= LEAST_SHARE * whole}
    named = [f"{seconds(large[name])} {words}" for name, words in WORDS.items() if name in large]
    return seconds(whole), ", ".join(named)
