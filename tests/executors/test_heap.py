"""Freed memory is kept for the next picture: fewer page faults, and only where glibc is."""

import ctypes
import subprocess
import sys

import pytest

from batchproc.executors import child

WORK = """
import resource, sys
from PIL import Image, ImageFilter
from batchproc.executors.child import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
image = Image.new("RGB", (1000, 750))
image.filter(ImageFilter.GaussianBlur(1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    image.filter(ImageFilter.GaussianBlur(1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", WORK, how], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_the_pages_of_a_picture_are_used_again() -> None:
    assert faults("keep") < faults("give back") / 4


def test_another_system_keeps_its_heap_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not child.keep_freed_memory()


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not child.keep_freed_memory()
