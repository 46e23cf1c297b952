"""What to do about failures as a whole: mend the config, try again, or mend the list."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from batchproc.explain.words import count
from batchproc.kinds import kind_of
from batchproc.record.run import Counts


def failure_step(failures: Mapping[str, int], counts: Counts, path: Path, command: str) -> str:
    """What to do now; empty where nothing failed. `failures`: by code, the most frequent first.

    A failure whose cause is in the config comes back by itself once that has changed; `--retry-failed` is for others.
    """
    again = counts.failed + counts.quarantined - counts.bad_rows
    if again:
        too = ", the quarantined too" if counts.quarantined else ""
        decided = {code: number for code, number in failures.items() if kind_of(code).decided_by}
        steps = [f"see {path}", *(_config_step(*found, command) for found in list(decided.items())[:1])]
        if sum(decided.values()) < again:
            steps.append(f"--retry-failed tries {'all ' if decided else ''}{count(again, 'item')} again{too}")
        return "; ".join(steps)
    return f"see {path}, and mend {count(counts.failed, 'line')} of the list" if counts.failed else ""


def _config_step(code: str, number: int, command: str) -> str:
    kind = kind_of(code)
    keys = " or ".join(key.partition(".")[2] for key in kind.decided_by)
    it = "it" if number == 1 else "them"
    return f"{number:,} {code}: {kind.advice}; when {keys} has changed, {command} tries {it} again"


def named_keys(keys: Iterable[str]) -> str:
    """Config keys as they are told: `[download] allow_addresses, max_bytes`."""
    tables: dict[str, list[str]] = {}
    for key in keys:
        table, _, name = key.partition(".")
        tables.setdefault(table, []).append(name)
    return ", ".join(f"[{table}] {', '.join(names)}" for table, names in tables.items())
