"""What an item and a start may cost, counted and not timed: one table. `python -m tests.baseline` prints it anew.

Each limit stands an eighth above what was seen, so that a regression breaks it and noise does not: two counts differ by
two in a hundred at most. Who makes the program cheaper lowers the limit in the same commit; who raises one says why.
"""

LIMITS = {  # what: (seen, limit)
    "modules of --help": (59, 66),
    "modules of a run with nothing to do": (221, 249),
    "modules of a worker": (96, 108),
    "parent calls per item": (584, 657),
    "bytes over the pipe per item, without the image": (1_001, 1_126),
    "system calls per item": (48, 54),
}
