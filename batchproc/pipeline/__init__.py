"""The pipeline: one expression and one loop.

    list --import--> ledger --window--> frontier
                                           |  Item[Fetch]
                                   download executor        (serial, thread or process)
                                           |  Item[SourceImage], Failure
                                   frontier.downloaded      (frees the place at the host; a 304 is `Unchanged` now)
                                           |
                                   transform executor       (serial, thread or process)
                                           |  Item[OutputImage], Rejection, Failure
                        loop: frontier, observer and ledger hear of it
                                           |
                        ledger: staged -> final name -> done

Executors nest; the queues and pipes between them are their own affair. Both stages overlap, because the transform
executor pulls while the download executor works.
"""

from batchproc.pipeline.job import run_job
from batchproc.pipeline.types import Display, RunOptions, RunResult

__all__ = ["Display", "RunOptions", "RunResult", "run_job"]
