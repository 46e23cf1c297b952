"""How fast a host is asked is learned from what it refuses. All times are those of a simulated clock."""

import pytest

from tests.frontier.simulated import failing, leaky_bucket, quota, refusing_some, simulate


@pytest.mark.parametrize("latency", [0.005, 0.1], ids=["near", "far"])
@pytest.mark.parametrize("code", ["http.503", "rate"])
def test_a_rate_that_a_host_allows_is_learned(code: str, latency: float) -> None:
    told = simulate([("a.org", leaky_bucket(10, 5, code), 200)], latency=latency)["a.org"]

    assert {"done": 200} == told.ends
    assert told.last <= 26
    assert len([number for number in told.refused if number > 20]) <= 0.05 * (told.asked - 20)


@pytest.mark.parametrize(
    ("server", "items", "seconds"),
    [
        pytest.param(leaky_bucket(2, 0), 60, 60, id="slow"),
        pytest.param(leaky_bucket(1, 100), 200, 140, id="a-deep-bucket"),
        pytest.param(leaky_bucket(100, 20), 2000, 40, id="fast"),
        pytest.param(quota(100, 10), 600, 120, id="a-quota-by-time"),
        pytest.param(failing(3, then=leaky_bucket(10, 5)), 200, 45, id="behind-a-gateway-that-starts"),
    ],
)
def test_other_limits_are_met_too(server: object, items: int, seconds: float) -> None:
    told = simulate([("a.org", server, items)])["a.org"]  # type: ignore[list-item]

    assert {"done": items} == told.ends
    assert told.last <= seconds
    assert len(told.refused) <= 0.2 * told.asked


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_a_host_that_refuses_some_items_for_good_is_not_asked_ever_more_slowly(share: float) -> None:
    told = simulate([("a.org", refusing_some(share), 2000)])["a.org"]

    assert sum(1 for index in range(2000) if not refusing_some(share)(0, index)) == told.ends["done"]
    assert told.last <= 120


def test_a_host_that_refuses_all_costs_a_bounded_time_and_holds_up_no_other() -> None:
    def always(now: float, index: int) -> str:
        return "rate"

    told = simulate(
        [("bad.org", always, 1100), ("good.org", refusing_some(0), 300)], retry_after={"bad.org": 2.0}
    )

    assert {"deferred": 1100} == told["bad.org"].ends
    assert told["bad.org"].asked <= 20
    assert told["bad.org"].last <= 15
    assert {"done": 300} == told["good.org"].ends
    assert told["good.org"].last <= 1.5 * simulate([("good.org", refusing_some(0), 300)])["good.org"].last


def test_a_gateway_that_starts_is_waited_for() -> None:
    told = simulate([("a.org", failing(3), 100)])["a.org"]

    assert {"done": 100} == told.ends
    assert told.last <= 15


def test_a_host_that_fails_now_and_then_is_not_asked_ever_more_slowly() -> None:
    told = simulate([("a.org", failing(2, every=10), 3000)])["a.org"]

    assert {"done": 3000} == told.ends
    assert told.last <= 40


def test_a_short_retry_after_is_obeyed_as_well_as_a_long_one() -> None:
    told = simulate(
        [("a.org", lambda now, index: "rate" if now < 1.3 else "", 100)], retry_after={"a.org": 0.1}
    )["a.org"]

    assert {"done": 100} == told.ends
    assert told.asked - 100 <= 16
