"""Figures of Linux agree with what psutil says of the same process, and are None where there is none."""

import os

import psutil
import pytest

from batchproc.measure import processes
from tests.measure.linux import on_linux, threads_to_watch

pytestmark = on_linux
NOBODY = 2**22 + 1  # above the largest pid that Linux gives out


@pytest.fixture(params=["linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same functions as they work on Linux, and as they work by psutil."""
    if request.param == "elsewhere":
        monkeypatch.setattr(processes, "LINUX", False)
        monkeypatch.setattr(processes, "psutil", psutil, raising=False)


def test_pss_lies_between_uss_and_rss() -> None:
    with threads_to_watch() as pid:
        memory, rss = processes.memory_of(pid), processes.rss_bytes_of(pid)

    assert 0 < (memory.uss_bytes or 0) <= (memory.pss_bytes or 0) <= (rss or 0)


@pytest.mark.usefixtures("system")
def test_it_agrees_with_psutil() -> None:
    here = psutil.Process()

    assert here.memory_info().rss == pytest.approx(processes.rss_bytes_of(os.getpid()), rel=0.1)
    assert sum(here.cpu_times()[:2]) == pytest.approx(processes.cpu_seconds_of(os.getpid()), rel=0.1, abs=0.05)


@pytest.mark.usefixtures("system")
def test_children_are_found() -> None:
    with threads_to_watch() as pid:
        assert pid in processes.descendants(os.getpid())


@pytest.mark.usefixtures("system")
def test_a_process_that_is_not_there_has_no_figures() -> None:
    assert processes.cpu_seconds_of(NOBODY) is None
    assert processes.rss_bytes_of(NOBODY) is None
    assert processes.memory_of(NOBODY).pss_bytes is None
    assert () == processes.descendants(NOBODY)


@pytest.mark.usefixtures("system")
def test_the_machine_was_busy_for_no_longer_than_it_is_up() -> None:
    machine = processes.machine_times()

    assert psutil.cpu_count() == machine.cores
    assert 0 < machine.busy_seconds <= machine.total_seconds


def test_throttling_is_read_in_both_versions_of_control_groups() -> None:
    assert processes.parse_cpu_stat("usage_usec 9\nnr_throttled 1\nthrottled_usec 2500000\n") == 2.5
    assert processes.parse_cpu_stat("nr_periods 4\nnr_throttled 1\nthrottled_time 2500000000\n") == 2.5
    assert processes.parse_cpu_stat("usage_usec 9\n") is None
    assert processes.parse_cpu_stat("") is None
