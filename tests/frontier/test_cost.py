"""What an item costs in the frontier, counted and not timed."""

import pytest

from tests.campaign.frontier_speed import calls_per_item

LIMIT = 80  # calls; 71 were seen. Who makes it cheaper lowers it


@pytest.mark.parametrize("hosts", [1, 20, 100_000])
def test_an_item_takes_no_more_calls_than_it_did(hosts: int) -> None:
    assert LIMIT > calls_per_item(2_000, hosts)
