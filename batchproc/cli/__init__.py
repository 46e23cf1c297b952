"""The command line. Each command parses, loads, calls, prints and exits; heavy imports wait until one runs.

    app.py               the table of commands; what goes wrong becomes words and an exit code
    run.py  bench.py     one command each, the function named as its module
    commands.py          the smaller ones: check, status, shards, steps, schema, report, rebuild, origin
    help.py              the pages of docs/
    quick.py             without a config: init, demo, get, try
    img2dataset.py       a config from another program's flags, for `init`
    console.py           what several commands share: options and their values, results to stdout, the rest to stderr

A new command: a function, and its name in the table of `app.py`.
"""

from batchproc.cli.app import main
from batchproc.cli.console import load_job

__all__ = ["load_job", "main"]
