"""The low-speed limit looks at windows of ten seconds."""

import pytest

from batchproc.download.body import Pace
from batchproc.errors import StageError


def test_a_window_with_too_little_in_it_is_too_slow() -> None:
    pace = Pace(100, now=0.0)
    pace.check(1, 9.9)

    with pytest.raises(StageError) as caught:
        pace.check(999, 10.1)
    assert "timeout.slow" == caught.value.code


def test_every_window_counts_by_itself() -> None:
    pace = Pace(100, now=0.0)
    pace.check(1_000_000, 10.0)
    pace.check(1_001_000, 20.0)

    with pytest.raises(StageError):
        pace.check(1_001_999, 30.0)
