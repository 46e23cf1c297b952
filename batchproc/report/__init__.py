"""What people read: texts and pages made from facts on disk, never from live objects."""

import logging
import os

# The chart library warns when it finds no folder for its font cache, as under cron: of no use to the owner of a job.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
# numpy starts a thread per core for linear algebra that no chart does, and ends the process where it gets no memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
