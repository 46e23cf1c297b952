"""A whole run in a process of its own, to be killed: `python -m tests.ledger.killed OUTPUT COUNT`.

Batches are small, so that a few dozen items pass every failpoint several times.
"""

import sys
from pathlib import Path

from batchproc.ledger import importing, writer
from tests.ledger.job import Job, urls

if __name__ == "__main__":
    writer.BATCH = 10
    importing.ROWS_PER_TRANSACTION = 20
    Job(Path(sys.argv[1])).run_to_the_end(urls(int(sys.argv[2])))
