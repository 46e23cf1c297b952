from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.origin import EmbeddedOrigin
from tests.baseline.counting import can_trace, count_calls, count_modules, count_system_calls
from tests.baseline.limits import LIMITS


def _above(found: dict[str, float]) -> dict[str, tuple[float, int]]:
    """What is above its limit, with the limit."""
    return {what: (number, LIMITS[what][1]) for what, number in found.items() if number > LIMITS[what][1]}


@pytest.mark.parametrize("count", [count_modules, count_calls], ids=["start", "item"])
def test_neither_a_start_nor_an_item_costs_more_than_it_did(
    count: Callable[[Path, EmbeddedOrigin], dict[str, float]], tmp_path: Path, origin: EmbeddedOrigin
) -> None:
    assert {} == _above(count(tmp_path, origin))


def test_an_item_takes_no_more_system_calls_than_it_did(tmp_path: Path, origin: EmbeddedOrigin) -> None:
    if not can_trace(tmp_path):
        pytest.skip("strace is not installed here, or may not trace")

    assert {} == _above(count_system_calls(tmp_path, origin))
