"""What people read: texts and pages made from facts on disk, never from live objects."""

import logging

# The chart library warns when it finds no folder for its font cache, as under cron: of no use to the owner of a job.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
