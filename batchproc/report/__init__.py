"""What people read: texts and pages made from facts on disk, never from live objects."""

import subprocess
import sys
from pathlib import Path

from batchproc.signals import EXIT_CODES, withheld_from_children

LONGEST_SECONDS = 180.0  # it takes one or two; a disk may hang
# While the libraries are imported nothing becomes garbage, and looking for it took a sixth of the whole page's time.
LOADING = "import gc; gc.disable(); from batchproc.report.html import main; gc.freeze(); gc.enable()"
ENDING = "import os, sys; sys.stdout.flush(); os._exit(0)"  # nothing is left to be tidied up, which took a tenth


def draw_page(folder: Path) -> tuple[str, str]:
    """Draws the page of a run or a bench: the path of the page, and why there is none. One of them is empty.

    In a process of its own: it may take all the memory there is, or wait for a disk without end.
    Raises nothing but what interrupts: a page that fails must not make work look undone.
    """
    try:
        done = _draw(folder)
    except subprocess.TimeoutExpired:
        return "", f"it was not made within {LONGEST_SECONDS:g} s"
    except OSError as error:
        return "", f"no process for it: {error.strerror}"
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return "", last_line.removeprefix("batchproc.errors.")
    return done.stdout.strip(), ""


def _draw(folder: Path) -> "subprocess.CompletedProcess[str]":
    # -P: a file named like a standard module in the user's working directory must not be imported.
    command = [sys.executable, "-P", "-c", f"{LOADING}; main(); {ENDING}", str(folder)]
    with withheld_from_children(*EXIT_CODES):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="backslashreplace",
        )  # fmt: skip
    with process:
        try:
            stdout, stderr = process.communicate(timeout=LONGEST_SECONDS)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
