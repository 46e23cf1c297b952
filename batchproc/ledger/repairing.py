"""Items whose files are not what their rows say: due again, when the user asks for it."""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass

from batchproc.failpoints import failpoint
from batchproc.ledger.files import FileState, examine
from batchproc.ledger.images import Images
from batchproc.ledger.schema import MADE, touch, transaction

WINDOW = 2_000
READ = (
    f"SELECT id, key, suffix, size_bytes, sha256 FROM item NOT INDEXED WHERE {MADE} AND id > ? "
    "ORDER BY id LIMIT ?"
)
LOST = """
UPDATE item SET state = iif(state = 'done', 'pending', state), due = iif(state = 'done', 1, due),
  runs = iif(state = 'done', 0, runs), made_url = NULL, made_extra_json = NULL
WHERE id IN (SELECT value FROM json_each(?))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was found of the files, all of which were read."""

    whole: int
    missing: int
    changed: int
    unreadable: int

    @property
    def lost(self) -> int:
        return self.missing + self.changed + self.unreadable


def repair(connection: sqlite3.Connection, images: Images) -> Repaired:
    """Makes items due again whose file is missing or differs in size or hash. Reads every file. Needs the run lock.

    An image of an earlier URL that is lost is forgotten: its item is what its own URL came to.
    """
    counts: Counter[FileState] = Counter()
    last = 0
    while rows := connection.execute(READ, (last, WINDOW)).fetchall():
        lost = []
        for item, key, suffix, size_bytes, sha256 in rows:
            state = examine(images.final_path(key.hex(), suffix or ""), size_bytes, sha256)
            counts[state] += 1
            if state is not FileState.WHOLE:
                lost.append(item)
        if lost:
            with transaction(connection):
                connection.execute(LOST, (json.dumps(lost),))
                touch(connection)
            failpoint("ledger.repair")
        last = rows[-1][0]
    return Repaired(**{state.value: counts[state] for state in FileState})
