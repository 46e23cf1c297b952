"""What the tests of the Linux instruments share: the mark, and a process to look at."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, which Linux alone has")

# Two named threads want the GIL all the time, a third waits on a plain lock, the main thread on its standard input.
THREADS = """
import sys, threading
from batchproc.measure.clocks import name_thread
never = threading.Lock(); never.acquire()
ready = threading.Semaphore(0)
def spin(role):
    name_thread(role); ready.release()
    while True: pass
def wait(role):
    name_thread(role); ready.release()
    never.acquire()
for target, role in ((spin, "spin-0"), (spin, "spin-1"), (wait, "lock-0")):
    threading.Thread(target=target, args=(role,), daemon=True).start()
for _ in range(3): ready.acquire()
print("ready", flush=True)
sys.stdin.read(1)
"""


@contextmanager
def threads_to_watch() -> Iterator[int]:
    """The pid of a process that runs THREADS until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()
