"""The command line. Each command parses, loads, calls, prints and exits; heavy imports wait until one runs.

    app.py                          the table of commands; what goes wrong becomes words and an exit code
    run.py  bench.py  origin.py     one command each, the function named as its module
    inspecting.py                   the commands that only look: check, status, steps, schema
    making.py                       those that make files without a run: init, report, rebuild
    options.py                      options that several commands share
    values.py                       reads durations, sizes and folders given as flags
    loading.py                      a config file with its flags -> the checked config and its steps
    speech.py  page.py              results to stdout, the rest to stderr; the HTML page after the work

A new command: a function, and its name in the table of `app.py`.
"""

from batchproc.cli.app import main
from batchproc.cli.loading import load_job

__all__ = ["load_job", "main"]
