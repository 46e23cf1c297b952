"""Do all modes make the same files, byte for byte? A comparison of times means nothing where they do not."""

import json
from collections.abc import Mapping
from pathlib import Path

from batchproc.bench.runner import BenchError
from batchproc.sink import write_atomically

FILE_NAME = "outputs.json"
NAMED = 5


class OutputCheck:
    """Remembers what the first run of each plan made, also across an interruption. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._first: dict[str, dict[str, str]] = json.loads(self._path.read_bytes()) if self._path.exists() else {}

    def compare(self, plan: str, outputs: Mapping[str, str], case: str) -> None:
        """Hears what a run made under a plan (its fingerprint). Raises `BenchError` when an earlier one made others."""
        first = self._first.get(plan)
        if first is None:
            self._first[plan] = dict(outputs)
            write_atomically(self._path, [json.dumps(self._first).encode()])
        elif first != outputs:
            raise BenchError(_describe(first, outputs, case))

    def to_json(self) -> dict[str, int]:
        """Images and failures compared, by plan."""
        return {plan: len(outputs) for plan, outputs in self._first.items()}


def _describe(first: Mapping[str, str], now: Mapping[str, str], case: str) -> str:
    keys = sorted(key for key in {*first, *now} if first.get(key) != now.get(key))
    lines = [f"  {key}: first {first.get(key, 'nothing')}, now {now.get(key, 'nothing')}" for key in keys[:NAMED]]
    more = f"\n  and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return (
        f"{case} made other outputs than the first run did, of {len(keys)} of {len({*first, *now})} items "
        "(SHA-256 of the image, or the failure's code):\n" + "\n".join(lines) + more + "\n"
        "Is a step of yours random, or does it share state? The run's folder was kept; no time was compared."
    )
