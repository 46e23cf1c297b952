"""Gauges reach another reader through shared memory and leave nothing behind."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchproc.measure.sampler import Gauges
from batchproc.measure.sampling import GaugeMeans


def test_a_reader_sees_what_was_put_and_added() -> None:
    with Gauges(["in_flight", "done_total"]) as gauges:
        means = GaugeMeans(gauges.path, gauges.names, 0.0)
        gauges.put("in_flight", 7.5)
        gauges.add("done_total")
        gauges.add("done_total", 2)

        means.add_reading(1.0)
        assert means.values == (7.5, 3.0)


def test_the_file_is_gone_afterwards() -> None:
    with Gauges(["a"]) as gauges:
        path = gauges.path
        assert path.exists()

    assert not path.exists()


def test_no_gauges_at_all_are_fine() -> None:
    with Gauges([]) as gauges:
        assert GaugeMeans(gauges.path, gauges.names, 0.0).values == ()


def test_a_name_that_was_not_declared_is_refused() -> None:
    with Gauges(["a"]) as gauges, pytest.raises(KeyError):
        gauges.put("b", 1.0)


def test_levels_are_averaged_over_time_and_counters_keep_their_last_value() -> None:
    with Gauges(["in_flight", "done_total"]) as gauges:
        means = GaugeMeans(gauges.path, gauges.names, 100.0)
        for now, in_flight in ((101.0, 2.0), (104.0, 6.0)):
            gauges.put("in_flight", in_flight)
            gauges.add("done_total", 10)
            means.add_reading(now)

        assert means.row() == {"in_flight": 5.0, "done_total": 20.0}
        assert means.means()["in_flight"] == 5.0
        assert means.peaks() == {"in_flight": 6.0, "done_total": 20.0}


@contextmanager
def no_room() -> Iterator[None]:
    """A disk on which no file may grow, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_memory_has_its_place_on_the_disk_before_the_first_change(tmp_path: Path) -> None:
    with Gauges(["a"], tmp_path) as gauges:
        assert 8 <= gauges.path.stat().st_blocks * 512  # or a full disk would be a SIGBUS


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_none(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match="File too large") as caught:
        Gauges(["a"], tmp_path)

    assert errno.EFBIG == caught.value.errno
    assert str(caught.value.filename).startswith(str(tmp_path))
    assert [] == list(tmp_path.iterdir())
