"""The start of a process is on the clock of the spans."""

import subprocess
import sys
import time

from tests.measure.linux import on_linux

TICK_SECONDS = 0.01


@on_linux
def test_a_process_knows_that_it_began_while_its_parent_was_starting_it() -> None:
    code = "from batchproc.measure.startup import process_started; print(process_started())"
    before = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = time.perf_counter()

    assert before - TICK_SECONDS <= float(result.stdout) < after
