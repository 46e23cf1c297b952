"""The HTML page that a run or a bench ends with."""

import subprocess
import sys
from pathlib import Path

from batchproc.cli.speech import say
from batchproc.signals import EXIT_CODES, doing, withheld_from_children

LONGEST_SECONDS = 180.0  # it takes one or two; a disk may hang


def make_page(folder: Path, *, tell: bool) -> None:
    """Makes the page of a run or a bench and, if `tell`, prints where it is.

    It never raises, only warns: a page that fails must not make work look undone. In a process of its own, because
    libraries for numbers end theirs, or never come back, when they get no memory.
    """
    try:
        with doing("making the page"):
            done = _draw(folder)
    except KeyboardInterrupt:  # the work is done and its exit code stands
        say(f"no report: interrupted; batchproc report {folder} makes it")
        return
    except subprocess.TimeoutExpired:
        problem = f"it was not made within {LONGEST_SECONDS:g} s"
    except OSError as error:
        problem = f"no process for it: {error.strerror}"
    else:
        problem = "" if done.returncode == 0 else _last_line(done.stderr) or f"exit code {done.returncode}"
    if problem:
        say(f"warning: no report: {problem}; batchproc report {folder} tries again")
    elif tell:
        print(f"  report      {done.stdout.strip()}")


def _draw(folder: Path) -> "subprocess.CompletedProcess[str]":
    # -P: a file named like a standard module in the user's working directory must not be imported.
    command = [sys.executable, "-P", "-m", "batchproc.report", str(folder)]
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


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
