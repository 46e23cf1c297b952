"""A thread's name reaches the kernel, number and all; the start of a process is on the clock of the spans."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from batchproc.measure.clocks import allow_reader, name_thread, shortened
from tests.measure.linux import on_linux

TICK_SECONDS = 0.01


@on_linux
def test_the_kernel_knows_the_thread_by_its_role() -> None:
    names: list[str] = []

    def body() -> None:
        name_thread("download-17")
        names.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()

    assert names == ["download-17\n"]


def test_a_long_name_keeps_its_number() -> None:
    assert shortened("download-3") == "download-3"
    assert shortened("transform-with-long-name-12") == "transform-wi-12"
    assert shortened("download-feeder-thread") == "download-feeder"


def test_letting_a_reader_in_is_harmless_without_yama() -> None:
    assert allow_reader(1) in (True, False)


@on_linux
def test_a_process_knows_that_it_began_while_its_parent_was_starting_it() -> None:
    code = "from batchproc.measure.clocks import process_started; print(process_started())"
    before = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = time.perf_counter()

    assert before - TICK_SECONDS <= float(result.stdout) < after
