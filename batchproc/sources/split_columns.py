"""Splits that a column of the list names: which values are names, and how many there may be."""

import json

from batchproc.config.units import SPLIT_NAME
from batchproc.redact import printable

MOST_SPLITS = 20  # each is a file of its own; a column with more is another one than was meant
SHOWN_CHARS = 40


class SplitCheck:
    """Looks at the rows of a list in their order. For one reader, not to be shared."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._names: set[str] = set()

    def find_fault(self, extra_json: str) -> str:
        """Why the row with these columns names no split; empty where it names one."""
        value = json.loads(extra_json or "{}").get(self._column)
        if not isinstance(value, str) or not SPLIT_NAME.fullmatch(value):
            shown = printable(json.dumps(value, ensure_ascii=False))[:SHOWN_CHARS]
            return f"its split {shown} is no name: must be letters, digits and underscores, as train"
        self._names.add(value)
        if len(self._names) > MOST_SPLITS:
            self._names.remove(value)
            return f'its split "{value[:SHOWN_CHARS]}" would be one more than {MOST_SPLITS}'
        return ""
