"""`batchproc.map`: any function over any items, in every mode."""

import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import batchproc
from batchproc.mapping import HELD_PER_WORKER

MODES = ("serial", "thread", "process")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_each_item_gives_its_result(mode: str, ordered: bool) -> None:
    found = list(batchproc.map(math.sqrt, [n * n for n in range(50)], mode=mode, workers=2, ordered=ordered))

    assert list(range(50)) == (found if ordered else sorted(found))


@pytest.mark.parametrize("mode", MODES)
def test_what_a_function_raises_is_a_value_in_its_place(mode: str) -> None:
    found = list(batchproc.map(math.sqrt, [4.0, -1.0, 9.0], mode=mode, workers=1))

    assert [2.0, 3.0] == [found[0], found[2]]
    assert (1, "raised") == (found[1].index, found[1].code)
    assert "ValueError" in found[1].message
    assert "Traceback" in found[1].traceback


def test_a_rejection_is_told_apart_from_an_error() -> None:
    def picky(number: int) -> int:
        raise batchproc.Reject("odd")

    (found,) = batchproc.map(picky, [1], mode="thread")

    assert ("rejected", "odd") == (found.code, found.message)


def test_a_crash_costs_one_item() -> None:
    found = list(batchproc.map(os._exit, [3], workers=1)) + list(batchproc.map(abs, [-1], workers=1))

    assert ["worker.crash", 1] == [found[0].code, found[1]]


def test_an_overdue_call_is_killed() -> None:
    found = list(batchproc.map(time.sleep, [3600, 0], workers=1, timeout=0.2))

    assert ["worker.timeout", None] == [found[0].code, found[1]]


@pytest.mark.parametrize(("function", "item", "what"), [(abs, math, "item"), (memoryview, b"", "result")])
def test_what_cannot_be_pickled_fails_alone(function: Callable[[object], object], item: object, what: str) -> None:
    found = list(batchproc.map(function, [item, item], workers=1))

    assert [f"the {what} cannot be sent between processes"] * 2 == [one.message.partition(":")[0] for one in found]
    assert {"not_picklable"} == {one.code for one in found}


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_iterable_is_asked_only_for_what_is_taken(mode: str) -> None:
    asked = itertools.count()

    results = batchproc.map(abs, asked, mode=mode, workers=2)
    taken = list(itertools.islice(results, 100))
    results.close()

    assert list(range(100)) == taken
    assert next(asked) <= 100 + 2 * HELD_PER_WORKER + 1


def test_an_error_of_the_items_themselves_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(batchproc.map(abs, items(), mode="thread"))


def test_only_processes_take_a_timeout() -> None:
    with pytest.raises(ValueError, match='mode = "thread" cannot end a call'):
        batchproc.map(abs, [1], mode="thread", timeout=1)


def test_a_function_that_no_worker_can_import_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="top level of a module"):
        batchproc.map(lambda number: number, [1])


def test_a_script_needs_no_guard_and_may_map_from_a_thread(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def double(number):\n    return 2 * number\n")
    (tmp_path / "script.py").write_text(
        "import threading, batchproc, mine\n"
        "print('begun')\n"
        "def work():\n    print(list(batchproc.map(mine.double, [1, 2], workers=1)))\n"
        "work()\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
        "def here(number): return number\n"
        "try:\n    batchproc.map(here, [1])\nexcept TypeError as error:\n    print(error)\n"
    )

    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)

    lines = done.stdout.splitlines()
    assert ("", ["begun", "[2, 4]", "[2, 4]"]) == (done.stderr, lines[:3])
    assert lines[3].startswith("here is defined in the main script")


def test_importing_batchproc_imports_nothing_else() -> None:
    code = "import sys, batchproc; print([name for name in sys.modules if name.startswith('batchproc.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "['batchproc.version']" == done.stdout.strip()


def test_every_public_name_is_there() -> None:
    assert all(getattr(batchproc, name) is not None for name in batchproc.__all__)
    assert sorted(batchproc.__all__) == dir(batchproc)
    with pytest.raises(AttributeError, match="has no attribute 'lane'"):
        batchproc.lane  # noqa: B018
