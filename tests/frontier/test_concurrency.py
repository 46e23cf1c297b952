"""The limit of all downloads against servers made of arithmetic: where it settles, and when it must not move."""

import random
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.frontier import Concurrency
from tests.frontier.origins import Latency, Queue, Serve, World

MANY = {f"h{number}.org": 0.05 * random.Random(number).lognormvariate(0.0, 1.0) for number in range(50)}
ONCE = {f"h{number}.org": 0.05 * random.Random(number).lognormvariate(0.0, 1.0) for number in range(20_000)}
ONE = {"a.org": 0.2}


def adapt(serve: Serve, hosts: dict[str, float], items: int = 3000, **world: Any) -> tuple[Concurrency, World]:
    around = World(serve, list(hosts), **world)
    concurrency = Concurrency(clock=lambda: around.now)
    around.run(concurrency, items)
    return concurrency, around


def late(world: World) -> float:
    return median(world.limits[len(world.limits) // 2 :])


@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.6], ids="jitter {}".format)
@pytest.mark.parametrize("slots", [4, 8, 16, 32], ids="{} slots".format)
def test_one_server_gets_what_it_can_serve_and_at_most_twice_that(slots: int, jitter: float) -> None:
    _, world = adapt(Queue(Latency({"a.org": 0.001}, jitter), slots, 0.1), {"a.org": 0.001})

    assert slots <= late(world) <= 2 * slots


@pytest.mark.parametrize("hosts", [MANY, ONCE], ids=["50 hosts", "every host once"])
def test_a_queue_that_many_hosts_share_is_found_beneath_their_latencies(hosts: dict[str, float]) -> None:
    slots, service_seconds = 8, 0.1
    knee = slots * (service_seconds + sum(hosts.values()) / len(hosts)) / service_seconds

    _, world = adapt(Queue(Latency(hosts), slots, service_seconds), hosts)

    assert 0.8 * knee <= late(world) <= 2 * knee


@pytest.mark.parametrize("hosts", [ONE, MANY, ONCE], ids=["one host", "50 hosts", "every host once"])
def test_without_a_queue_it_grows_to_the_most(hosts: dict[str, float]) -> None:
    concurrency, world = adapt(Latency(hosts), hosts)

    assert 64 == concurrency.describe().highest
    assert 60 <= late(world)


def test_without_jitter_it_is_at_the_most_within_a_hundred_downloads() -> None:
    concurrency, _ = adapt(Latency(ONE, jitter=0.0), ONE, items=100)

    assert [16, 32, 64] == [limit for _, limit, _ in concurrency.describe().changes]


def test_a_limit_that_nothing_reaches_never_grows() -> None:
    concurrency, _ = adapt(Latency(ONE), ONE, places=5)

    assert 8 == concurrency.describe().highest


def test_it_does_not_grow_when_the_next_stage_is_what_is_slow() -> None:
    """A download takes 0.2 s and a transform 0.1 s: two at once are enough, however many wait behind them."""
    concurrency, _ = adapt(Latency(ONE), ONE, transform_seconds=0.1)

    assert 8 == concurrency.describe().highest


def test_a_server_that_loses_capacity_gets_less() -> None:
    queue = Queue(Latency({"a.org": 0.001}), 32, 0.1)
    concurrency, world = adapt(queue, {"a.org": 0.001})
    before = late(world)

    queue.lose(24)
    world.run(concurrency, 3000)

    assert 32 <= before <= 64
    assert 8 <= median(world.limits[-1000:]) <= 16


def test_a_way_that_gets_longer_is_no_queue_and_costs_nothing_in_the_end() -> None:
    latency = Latency(dict(ONE))
    concurrency, world = adapt(latency, ONE)

    latency.latencies["a.org"] *= 4
    world.run(concurrency, 3000)

    assert 60 <= median(world.limits[-1000:])


def test_one_slow_host_among_many_changes_nothing() -> None:
    hosts = dict(MANY)
    latency = Latency(hosts, jitter=0.1)
    concurrency, world = adapt(latency, hosts)

    hosts["h7.org"] *= 30
    world.run(concurrency, 1000)

    assert 60 <= min(world.limits[-1000:])


def test_failures_of_hosts_that_had_answered_halve_it() -> None:
    concurrency, _ = adapt(Latency(ONE, jitter=0.0), ONE, items=500)

    for _ in range(200):
        concurrency.on_outcome("a.org", in_flight=10, struggled=True)

    limit, reason = concurrency.describe().changes[-1][1:]
    assert "failures" == reason
    assert limit <= 32


def test_hosts_that_never_answered_say_nothing_about_our_way() -> None:
    concurrency, _ = adapt(Latency(ONE, jitter=0.0), ONE, items=500)

    for number in range(1000):
        concurrency.on_outcome(f"dead{number}.org", in_flight=10, struggled=True)

    assert 64 == concurrency.limit


def test_its_history_is_json_and_bounded() -> None:
    concurrency, _ = adapt(Queue(Latency({"a.org": 0.001}), 8, 0.1), {"a.org": 0.001}, items=20_000)

    told = concurrency.describe()

    assert 50 == len(told.changes)
    assert list(told.changes) == sorted(told.changes)
    assert (8, 16) == (told.start, told.changes[0][1])
    assert concurrency.limit == told.limit == told.changes[-1][1]


@settings(deadline=None, max_examples=60)
@given(
    bounds=st.lists(st.integers(1, 100), min_size=3, max_size=3),
    outcomes=st.lists(
        st.tuples(
            st.sampled_from(["a.org", "b.org", "c.org"]),
            st.none() | st.floats(0.0, 1e6),
            st.floats(0.0, 10.0),
            st.integers(0, 200),
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_it_stays_between_least_and_most_whatever_happens(
    bounds: list[int], outcomes: list[tuple[str, float | None, float, int]]
) -> None:
    least, most, start = *sorted(bounds[:2]), bounds[2]
    now = 0.0
    concurrency = Concurrency(start=start, least=least, most=most, clock=lambda: now)

    for host, first_byte, seconds, in_flight in outcomes * 20:
        now += seconds
        concurrency.allows(in_flight)
        concurrency.on_outcome(
            host, in_flight=in_flight, service_seconds=100.0, first_byte_seconds=first_byte, struggled=not first_byte
        )
        assert least <= concurrency.limit <= most

    told = concurrency.describe()
    assert least <= told.lowest <= concurrency.limit <= told.highest <= most
    assert len(told.changes) <= 50
