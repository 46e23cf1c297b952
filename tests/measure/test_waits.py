"""Scheduler clocks say how much time was blocked, samples say on what."""

from collections import Counter
from collections.abc import Iterator

import pytest

from batchproc.measure.waits import ThreadState, WaitTotals, group_of


class FakeWaits:
    """Threads whose states and clocks are written down: the surface of `ThreadWaits` that the totals use."""

    def __init__(self, roles: dict[int, str], reason: str = "") -> None:
        self.pid = 1
        self.roles = roles
        self.reason = reason
        self.kinds: dict[int, ThreadState] = {}
        self.clocks: dict[int, tuple[float, float]] = {}

    def read(self, turn: int = 0, turns: int = 1) -> Iterator[tuple[int, ThreadState]]:
        return iter(list(self.kinds.items())[turn::turns])

    def clock(self, tid: int) -> tuple[float, float] | None:
        return self.clocks.get(tid)


def totals_of(waits: FakeWaits, *looks: Counter[ThreadState], seconds: float = 10.0) -> WaitTotals:
    """Books thread 7 at 0 s and at `seconds`, with the states of `looks` between."""
    totals = WaitTotals()
    end, waits.clocks = waits.clocks, dict.fromkeys(waits.clocks, (0.0, 0.0))
    totals.book(waits, 0.0)  # type: ignore[arg-type]
    for kind in (kind for look in looks for kind in look.elements()):
        waits.kinds = {7: kind}
        totals.sample(waits)  # type: ignore[arg-type]
    waits.clocks = end
    totals.book(waits, seconds)  # type: ignore[arg-type]
    return totals


def test_samples_split_only_the_blocked_time_that_the_clocks_tell() -> None:
    """6 of 10 s were CPU and run queue, whatever the samples say; the rest is split 3 to 1."""
    waits = FakeWaits({7: "transform-0"})
    waits.clocks = {7: (5.0, 1.0)}
    (shares,) = totals_of(waits, Counter({ThreadState.RUNNING: 1, ThreadState.GIL: 3, ThreadState.NETWORK: 1})).groups()

    assert shares.exact
    assert shares.shares["running"] == pytest.approx(0.6)
    assert shares.gil_share == pytest.approx(0.3)
    assert shares.shares["network"] == pytest.approx(0.1)
    assert shares.run_queue_share == pytest.approx(0.1)
    assert sum(shares.shares.values()) == pytest.approx(1.0)


def test_without_clocks_the_samples_stand_alone() -> None:
    (shares,) = totals_of(FakeWaits({7: "transform-0"}), Counter({ThreadState.RUNNING: 1, ThreadState.GIL: 3})).groups()

    assert not shares.exact
    assert shares.gil_share == 0.75
    assert shares.run_queue_share is None


def test_an_unknown_gil_has_no_share_but_a_reason() -> None:
    (shares,) = totals_of(FakeWaits({7: "transform-0"}, reason="forbidden"), Counter({ThreadState.LOCK: 4})).groups()

    assert shares.gil_share is None
    assert shares.gil_reason == "forbidden"


def test_blocked_time_that_no_sample_hit_is_not_lost() -> None:
    waits = FakeWaits({7: "transform-0"})
    waits.clocks = {7: (9.0, 0.0)}
    (shares,) = totals_of(waits, Counter({ThreadState.RUNNING: 5})).groups()

    assert shares.shares["other"] == pytest.approx(0.1)
    assert sum(shares.shares.values()) == pytest.approx(1.0)


def test_threads_of_one_stage_are_one_group() -> None:
    assert ["download", "download-feeder", "main", "a-b"] == [
        group_of(role) for role in ("download-12", "download-feeder", "main", "a-b-0")
    ]


def test_a_number_that_comes_again_does_not_run_backwards() -> None:
    waits = FakeWaits({7: "transform-0"})
    waits.clocks = {7: (9.0, 0.0)}
    totals = totals_of(waits, Counter({ThreadState.RUNNING: 1}))
    totals.forget(1)
    waits.clocks = {7: (0.5, 0.0)}
    totals.book(waits, 11.0)  # type: ignore[arg-type]
    (shares,) = totals.groups()

    assert shares.shares["running"] == pytest.approx(0.9)
    assert shares.threads == 2
