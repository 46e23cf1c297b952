"""What one process has read of robots.txt is there for the others, whatever becomes of the reader."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from batchproc.download.robots import KEEP_OBSTACLE_SECONDS, KEEP_SECONDS, Reading, Shelf
from batchproc.errors import Code, Retry, StageError

KEY = ("https", "a.example", "batchproc")
LINES = Reading(lines="User-agent: *\nDisallow: /é")
REFUSED = Reading(obstacle="the answer was 503", retry=Retry.HOST, retry_after_seconds=7.0)
AWAY = Reading(code=Code.CONNECT, obstacle="refused", hint="h", retry=Retry.BACKOFF)
HOLDER = """
import sys
from batchproc.download.robots import Shelf

def read():
    print("reading", flush=True)
    sys.stdin.read()

Shelf(sys.argv[1]).find(tuple(sys.argv[2:]), read, lambda: None, patience_seconds=9)
"""


def nothing() -> None:
    """Nobody wants the waiting worker to stop."""


def unwanted() -> Reading:
    raise AssertionError("read once more")


def find(
    shelf: Shelf, read: Callable[[], Reading], check: Callable[[], None] = nothing, patience: float = 60
) -> Reading:
    return replace(shelf.find(KEY, read, check, patience_seconds=patience), age_seconds=0.0)


@pytest.mark.parametrize("reading", [Reading(), LINES, REFUSED], ids=["no-rules", "rules", "obstacle"])
def test_what_one_has_read_the_next_finds_as_long_as_it_holds(tmp_path: Path, reading: Reading) -> None:
    clock = SimpleNamespace(now=1000.0)
    one, next_one = (Shelf(str(tmp_path), lambda: clock.now) for _ in range(2))
    keep_seconds = KEEP_OBSTACLE_SECONDS if reading.obstacle else KEEP_SECONDS

    assert reading == find(one, lambda: reading)
    clock.now += keep_seconds / 2
    assert replace(reading, age_seconds=keep_seconds / 2) == next_one.find(KEY, unwanted, nothing, patience_seconds=1)
    clock.now += keep_seconds / 2
    assert Reading(lines="new") == find(next_one, lambda: Reading(lines="new"))


def test_each_origin_is_read_by_itself(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path))
    find(shelf, lambda: LINES)

    assert REFUSED == shelf.find(("http", *KEY[1:]), lambda: REFUSED, nothing, patience_seconds=1)


@pytest.mark.parametrize("reading", [LINES, REFUSED, AWAY], ids=["rules", "obstacle", "failure"])
def test_whoever_asks_during_a_reading_waits_for_what_comes_of_it(tmp_path: Path, reading: Reading) -> None:
    begun, ending = threading.Event(), threading.Event()

    def read() -> Reading:
        begun.set()
        assert ending.wait(10)
        return reading

    thread = threading.Thread(target=find, args=(Shelf(str(tmp_path)), read))
    thread.start()
    assert begun.wait(10)

    assert reading == find(Shelf(str(tmp_path)), unwanted, ending.set)
    thread.join()


def test_a_failure_is_for_those_who_waited_alone(tmp_path: Path) -> None:
    find(Shelf(str(tmp_path)), lambda: AWAY)

    assert LINES == find(Shelf(str(tmp_path)), lambda: LINES)


def test_when_the_reader_is_stopped_the_next_one_reads(tmp_path: Path) -> None:
    def stopped() -> Reading:
        raise StageError(Code.CANCELLED, "stopped")

    with pytest.raises(StageError, match="stopped"):
        find(Shelf(str(tmp_path)), stopped)
    assert LINES == find(Shelf(str(tmp_path)), lambda: LINES)


def test_a_killed_reader_frees_the_lock_one_that_stands_still_is_waited_for_so_long_and_waiting_can_be_stopped(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), *KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"reading\n" == holder.stdout.readline()

        def stop() -> None:
            raise StageError(Code.CANCELLED, "stopped")

        with pytest.raises(StageError, match="stopped"):
            find(Shelf(str(tmp_path)), unwanted, stop)
        assert REFUSED == find(Shelf(str(tmp_path)), lambda: REFUSED, patience=0.02)
        assert LINES == find(Shelf(str(tmp_path)), lambda: LINES, holder.kill)


@pytest.mark.parametrize(
    "content", [b"", b'{"lines": "User-ag', b"[]", b"{}", b'{"read_at": 1, "retry": "x"}', b"\xff"]
)
def test_what_a_killed_process_left_half_written_counts_as_nothing(tmp_path: Path, content: bytes) -> None:
    find(Shelf(str(tmp_path)), lambda: LINES)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    assert REFUSED == find(Shelf(str(tmp_path)), lambda: REFUSED)
    assert "the answer was 503" == json.loads(file.read_bytes())["obstacle"]


def test_without_a_folder_each_reads_for_itself(tmp_path: Path) -> None:
    shelf = Shelf(str(tmp_path / "gone"))

    assert [LINES, REFUSED] == [find(shelf, lambda: LINES), find(shelf, lambda: REFUSED)]
