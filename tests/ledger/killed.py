"""A whole run in a process of its own, to be killed: `python -m tests.ledger.killed OUTPUT COUNT [WHAT]`.

Batches are small, so that a few dozen items pass every failpoint several times. With `prune` the second half of the
list is gone, and its files are deleted; with `open` the ledger is opened alone; with `repair` items without their files
are made due again; with `change` every other URL of a list keyed by ids is another one; with `manifests` an image has
changed and both manifests are written.
"""

import sys
from pathlib import Path

from batchproc.config import OutputTable
from batchproc.ledger import files, first_import, importing, writer
from tests.ledger.job import Job, listing, urls, versions

CHANGED_IMAGE = "UPDATE item SET etag = 'other' WHERE state = 'done' AND id > 256 AND id < 260"

if __name__ == "__main__":
    writer.BATCH, writer.DELAY_SECONDS = 10, 3600.0  # ten a batch, on a slow machine too
    importing.ROWS_PER_TRANSACTION = first_import.ROWS_AT_ONCE = 20
    files.WINDOW = 5
    job, count = Job(Path(sys.argv[1])), int(sys.argv[2])
    if sys.argv[3:] == ["open"]:
        job.open().__exit__(None, None, None)
    elif sys.argv[3:] == ["repair"]:
        with job.open() as ledger:
            ledger.recover()
            ledger.repair()
    elif sys.argv[3:] == ["manifests"]:
        from batchproc.pipeline.closing import write_manifests

        with job.open() as ledger:
            ledger._change(CHANGED_IMAGE)
            write_manifests(ledger, job.layout, OutputTable())
    elif sys.argv[3:] == ["change"]:
        job.run_to_the_end(rows=versions(count, 1))
    elif sys.argv[3:] == ["prune"]:
        with job.open() as ledger:
            ledger.recover()
            ledger.adopt_plan("plan-one")
            ledger.import_sources(listing(urls(count // 2)))
            ledger.prune_absent()
    else:
        job.run_to_the_end(urls(count))
