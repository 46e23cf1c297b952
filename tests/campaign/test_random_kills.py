"""Killed at random times, a job loses nothing; 200 kills are `python -m tests.campaign.random_kills --kills 200`."""

import sys
from pathlib import Path

import pytest

from tests.campaign.random_kills import run_campaign

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by their pidfd")


@pytest.mark.slow
def test_random_kills_lose_nothing_and_cost_what_was_not_committed(tmp_path: Path) -> None:
    tally = run_campaign(tmp_path, kills=30, seed=7, say=print)

    assert [] == tally.faults
    assert 30 == tally.kills.total()
