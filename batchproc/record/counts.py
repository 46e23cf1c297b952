"""Items by their state: what the ledger counts and the record of a run keeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The states of the whole list. `done` to `pending` add up to `items`; `absent` ones are not in the list."""

    items: int = 0
    done: int = 0
    rejected: int = 0
    failed: int = 0
    quarantined: int = 0
    deferred: int = 0
    pending: int = 0
    absent: int = 0
    duplicates: int = 0
    bad_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DueAgain:
    """Items that no run would try again but for a change of the config, and the keys that have changed."""

    items: int = 0
    because: tuple[str, ...] = ()
