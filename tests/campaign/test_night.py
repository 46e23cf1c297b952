"""What happens to a job in many nights, and that `status` tells it; 50 are `python -m tests.campaign.night`."""

import sys
from pathlib import Path

import pytest

from tests.campaign.night import run_nights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by their pidfd")

SHORT = ("overlap", "kill parent", "file limit", "SIGTERM", "--refresh", "server away")


@pytest.mark.slow
def test_seven_nights_lose_nothing_and_status_tells_the_truth_after_each(tmp_path: Path) -> None:
    tally = run_nights(tmp_path, starts=7, seed=5, say=print, kinds=SHORT)

    assert [] == tally.faults
    assert {"plain", *SHORT} == {*tally.kinds}
