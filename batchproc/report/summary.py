"""What the closing summary, `status` and the page say alike: the command's time, the list, and what failed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from batchproc.explain.words import count, seconds
from batchproc.kinds import kind_of
from batchproc.record.run_json import Counts, RunRecord

COMMAND_PARTS = {
    "start": "starting",
    "lock": "waiting for the lock",
    "origin": "making the origin's images",
    "prepare": "opening the ledger and reading the list",
    "items": "items",
    "settle": "ledger and manifests",
    "describe": "explaining",
}
LEAST_PART = 0.01  # what is less is not named


def command_time(record: RunRecord) -> tuple[str, str] | None:
    """The whole command until its run.json was made, and its parts in their order; None where it is not known."""
    parts = record.command_seconds
    if not parts:
        return None
    whole = sum(parts.values())
    large = {name: value for name, value in parts.items() if value >= LEAST_PART * whole}
    named = [f"{seconds(large[name])} {words}" for name, words in COMMAND_PARTS.items() if name in large]
    return seconds(whole), ", ".join(named)


REMARKS_SHOWN = 5


def list_lines(counts: Counts, remarks: Sequence[str], *, keeps_rows: bool, pruned: int) -> Iterator[str]:
    """A sentence for each thing that whoever wrote the list should know; none where all is plain."""
    if counts.duplicates:
        kept = "each has its row in metadata.jsonl" if keeps_rows else 'duplicates = "rows" keeps their columns too'
        yield f"{count(counts.duplicates, 'further row')} of items listed before: {kept}"
    if counts.bad_rows:
        yield f"{count(counts.bad_rows, 'bad row')}: see failures.jsonl"
    if pruned:
        yield f"{count(pruned, 'file')} pruned: their sources left the list"
    yield from remarks[:REMARKS_SHOWN]
    if len(remarks) > REMARKS_SHOWN:
        yield f"and {len(remarks) - REMARKS_SHOWN} remarks more, in run.json"


def failure_step(failures: Mapping[str, int], counts: Counts, path: Path, command: str) -> str:
    """What to do now; empty where nothing failed. `failures`: by code, the most frequent first.

    A failure whose cause is in the config comes back by itself once that has changed; `--retry-failed` is for others.
    """
    again = counts.failed + counts.quarantined - counts.bad_rows
    if again:
        too = ", the quarantined too" if counts.quarantined else ""
        decided = {code: number for code, number in failures.items() if kind_of(code).decided_by}
        common = [(code, number) for code, number in decided.items() if 2 * number >= again]
        steps = [f"see {path}", *(_config_step(*found, command) for found in common[:1])]
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
