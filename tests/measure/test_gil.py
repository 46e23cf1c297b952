"""The GIL is found by its offset in the interpreter's own file, in any process of the same build."""

import os
from collections import Counter
from pathlib import Path

import psutil

from batchproc.measure.waits import (
    FUTEX,
    GilPlace,
    GilUnknown,
    ThreadState,
    ThreadWaits,
    file_behind,
    futex_address,
    learn,
    locate,
    parse_maps,
    place_of,
)
from tests.measure.linux import on_linux, threads_to_watch

MAPS = """\
555500000000-555500004000 r--p 00000000 fe:00 11                         /usr/bin/python
7f0000000000-7f0000100000 r--p 00000000 fe:00 22                         /usr/lib/a dir/libpython3.so
7f0000100000-7f0000200000 rw-p 00100000 fe:00 22                         /usr/lib/a dir/libpython3.so
7f0000200000-7f0000210000 rw-p 00000000 00:00 0
7f0000900000-7f0000910000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
"""
LIBPYTHON = ("fe:00", 22, "/usr/lib/a dir/libpython3.so")


def test_an_address_belongs_to_its_file_and_so_does_the_zeroed_memory_right_behind_it() -> None:
    maps = parse_maps(MAPS)

    assert file_behind(maps, 0x7F0000100010) == (LIBPYTHON, 0x100010)
    assert file_behind(maps, 0x7F0000200010) == (LIBPYTHON, 0x200010)
    assert file_behind(maps, 0x7F0000900010) is None
    assert file_behind(maps, 0x1) is None


def test_addresses_in_one_file_give_a_place_and_scattered_ones_do_not() -> None:
    maps = parse_maps(MAPS)
    place = place_of(maps, Counter({0x7F0000100200: 3, 0x7F0000100204: 2}))

    assert isinstance(place, GilPlace)
    assert place.low_offset <= 0x100200 < 0x100204 < place.high_offset
    assert isinstance(place_of(maps, Counter({0x7F0000100200: 1, 0x555500000010: 1})), GilUnknown)
    assert isinstance(place_of(maps, Counter({0x7F0000900010: 1})), GilUnknown)
    assert isinstance(place_of(maps, Counter()), GilUnknown)


def test_only_a_futex_call_has_a_futex_address() -> None:
    assert futex_address(b"%d 0x7f00001000f0 0x189 0x0 0x0 0x0 0x0 0x7ffc 0x7f00\n" % FUTEX) == 0x7F00001000F0
    assert futex_address(b"running\n") is None
    assert futex_address(b"-1 0x7ffc 0x7f00\n") is None
    assert futex_address(b"%d 0x7f00001000f0 0x189\n" % (FUTEX + 1)) is None


@on_linux
def test_the_gil_learnt_here_lies_elsewhere_in_another_process_of_the_same_build() -> None:
    place = learn()
    assert isinstance(place, GilPlace)

    with threads_to_watch() as pid:
        there, here = locate(pid, place), locate(os.getpid(), place)

    assert isinstance(there, range)
    assert isinstance(here, range)
    assert len(there) == len(here) < 1024
    assert "python" in Path(place.file[2]).name


@on_linux
def test_learning_leaves_no_child_behind() -> None:
    before = {child.pid for child in psutil.Process().children()}  # other tests' fork server lives on

    learn()

    assert before >= {child.pid for child in psutil.Process().children()}


@on_linux
def test_a_process_of_another_build_is_unknown_with_its_reason() -> None:
    absent = GilPlace(file=("ff:ff", 1, "/nowhere/libpython"), low_offset=0, high_offset=64)

    assert locate(os.getpid(), absent) == GilUnknown(reason="the process runs another build of Python")


@on_linux
def test_waiting_for_the_gil_is_told_from_waiting_for_a_lock_and_for_a_pipe() -> None:
    """How often two spinning threads are seen waiting depends on the machine's other load; for what, does not."""
    seen: dict[str, Counter[ThreadState]] = {}
    with threads_to_watch() as pid:
        waits = ThreadWaits(pid, learn())
        waits.refresh("main")
        for _ in range(2000):
            for tid, kind in waits.read():
                seen.setdefault(waits.roles[tid], Counter())[kind] += 1
        waits.close()
    spinning = seen["spin-0"] + seen["spin-1"]

    assert waits.reason == ""
    assert {ThreadState.LOCK} == set(seen["lock-0"])
    assert {ThreadState.PIPE} == set(seen["main"])
    assert {ThreadState.RUNNING, ThreadState.GIL} == set(spinning)


@on_linux
def test_where_the_gil_is_unknown_its_waits_count_as_locks_and_the_reason_stays() -> None:
    with threads_to_watch() as pid:
        waits = ThreadWaits(pid, GilUnknown(reason="not here"))
        waits.refresh("main")
        kinds = {kind for _ in range(200) for _, kind in waits.read()}
        waits.close()

    assert ThreadState.GIL not in kinds
    assert waits.reason == "not here"


@on_linux
def test_a_process_that_has_ended_has_no_threads() -> None:
    with threads_to_watch() as pid:
        waits = ThreadWaits(pid, learn())
        waits.refresh("main")
    waits.refresh("main")

    assert [] == list(waits.read())
    waits.close()
