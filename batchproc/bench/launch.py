"""Starts what a bench measures: every case and every experiment is a process of its own."""

import subprocess
from collections.abc import Sequence

from batchproc.bench.job_file import child_environment
from batchproc.signals import withheld_from_children


def launch(command: Sequence[str]) -> "subprocess.Popen[str]":
    """Starts a command in a session of its own, without input, its output piped. The caller ends and reaps it."""
    with withheld_from_children():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C is for the bench
        )
