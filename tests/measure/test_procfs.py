"""Figures of Linux agree with what psutil says of the same process, and are None where there is none."""

import os

import psutil
import pytest

from batchproc.measure import portable
from tests.measure.linux import on_linux, threads_to_watch

procfs = pytest.importorskip("batchproc.measure.procfs", reason="needs sysconf")
pytestmark = on_linux
NOBODY = 2**22 + 1  # above the largest pid that Linux gives out


def test_pss_lies_between_uss_and_rss() -> None:
    with threads_to_watch() as pid:
        memory, rss = procfs.memory(pid), procfs.rss_bytes(pid)

    assert 0 < memory.uss_bytes <= memory.pss_bytes <= rss


@pytest.mark.parametrize("figure", ["rss_bytes", "cpu_seconds"])
def test_it_agrees_with_psutil(figure: str) -> None:
    here = getattr(procfs, figure)(os.getpid())

    assert getattr(portable, figure)(os.getpid()) == pytest.approx(here, rel=0.1, abs=0.05)


def test_children_are_found() -> None:
    with threads_to_watch() as pid:
        assert pid in procfs.descendants(os.getpid())
        assert pid in portable.descendants(os.getpid())


@pytest.mark.parametrize("host", [procfs, portable], ids=["procfs", "portable"])
def test_a_process_that_is_not_there_has_no_figures(host: object) -> None:
    assert host.cpu_seconds(NOBODY) is None  # type: ignore[attr-defined]
    assert host.rss_bytes(NOBODY) is None  # type: ignore[attr-defined]
    assert host.memory(NOBODY).pss_bytes is None  # type: ignore[attr-defined]
    assert host.descendants(NOBODY) == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize("host", [procfs, portable], ids=["procfs", "portable"])
def test_the_machine_was_busy_for_no_longer_than_it_is_up(host: object) -> None:
    machine = host.machine()  # type: ignore[attr-defined]

    assert machine.cores == psutil.cpu_count()
    assert 0 < machine.busy_seconds <= machine.total_seconds


def test_throttling_is_read_in_both_versions_of_control_groups() -> None:
    assert procfs.parse_cpu_stat("usage_usec 9\nnr_throttled 1\nthrottled_usec 2500000\n") == 2.5
    assert procfs.parse_cpu_stat("nr_periods 4\nnr_throttled 1\nthrottled_time 2500000000\n") == 2.5
    assert procfs.parse_cpu_stat("usage_usec 9\n") is None
    assert procfs.parse_cpu_stat("") is None
