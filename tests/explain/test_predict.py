"""The model: what must hold whatever the figures."""

import itertools
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from batchproc.explain.predict import gil_seconds, held_fraction, limits, predict
from batchproc.record.explanation import ExecutionPlan, JobModel, StageModel, StartCosts
from batchproc.record.run_parts import MODES, ModeName

PAIRS = tuple(itertools.product(MODES, MODES))
FREE = StageModel(cpu_seconds=0.02, phi=0.0)
WAITS = StageModel(cpu_seconds=0.0005, phi=0.6, blocked_seconds=0.07)


def job(**changes: object) -> JobModel:
    plain = JobModel(download=WAITS, transform=FREE, items=10_000, cores=2.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def pair(download: ModeName, transform: ModeName, workers: tuple[int, int] = (32, 2)) -> ExecutionPlan:
    return ExecutionPlan(
        download=download, download_workers=workers[0], transform=transform, transform_workers=workers[1]
    )


def jobs() -> Iterator[JobModel]:
    """A grid over what jobs can be: I/O-heavy and CPU-heavy, held and released, few and many cores."""
    for cpu, phi, blocked, cores, connections in itertools.product(
        (0.0001, 0.02, 0.5), (0.0, 0.3, 1.0), (0.0, 0.3), (1.0, 2.0, 64.0), (None, 4)
    ):
        piped = {"ipc_worker_seconds": 0.0002, "ipc_parent_seconds": 0.0003}
        yield JobModel(
            download=StageModel(cpu_seconds=0.0005, phi=0.6, blocked_seconds=blocked, **piped),
            transform=StageModel(cpu_seconds=cpu, phi=phi, **piped),
            items=500,
            cores=cores,
            glue_seconds=0.001,
            connections=connections,
            start=StartCosts(always_seconds=0.1, first_process_seconds=0.25, per_process_cpu_seconds=0.01),
        )


@pytest.mark.parametrize("modes", PAIRS, ids="-".join)
def test_more_workers_never_lower_the_steady_rate(modes: tuple[ModeName, ModeName]) -> None:
    for one in jobs():
        rates = [
            predict(one, pair(*modes, workers=(number, number))).steady_rate_per_second for number in (1, 2, 4, 32)
        ]

        assert sorted(rates) == rates


@pytest.mark.parametrize("modes", PAIRS, ids="-".join)
def test_the_bound_is_the_lowest_limit_and_the_rate_is_below_it(modes: tuple[ModeName, ModeName]) -> None:
    for one in jobs():
        found, told = limits(one, pair(*modes)), predict(one, pair(*modes))

        assert min(limit.rate_per_second for limit in found) == told.bound.rate_per_second
        assert told.rate_per_second <= told.steady_rate_per_second * (1 + 1e-9)
        assert one.items == pytest.approx(told.rate_per_second * told.seconds)


def test_serial_and_serial_add_up_and_any_other_pair_overlaps() -> None:
    for one in jobs():
        alone = predict(one, pair("serial", "serial")).steady_rate_per_second
        others = [
            predict(one, pair(*modes)).steady_rate_per_second for modes in PAIRS if modes != ("serial", "serial")
        ]

        added = one.download.blocked_seconds + one.download.cpu_seconds + one.transform.cpu_seconds + 0.001
        assert 1 / added >= alone > 0
        if one.cores >= 2.0 and one.transform.cpu_seconds > 0.01:  # where there is something to overlap
            assert min(others) > 0.99 * alone


def test_threads_equal_processes_without_held_gil_pipes_and_start() -> None:
    threads, processes = (predict(job(), pair("thread", mode)) for mode in ("thread", "process"))

    assert threads.rate_per_second == pytest.approx(processes.rate_per_second)
    assert "cores" == threads.bound.name == processes.bound.name


def test_processes_without_held_gil_lose_by_their_pipes_alone() -> None:
    piped = replace(FREE, ipc_worker_seconds=0.001, ipc_parent_seconds=0.002)
    threads, processes = (
        predict(job(transform=piped), pair("thread", mode)).steady_rate_per_second for mode in ("thread", "process")
    )

    assert 0.0205 / 0.0235 == pytest.approx(processes / threads)


def test_a_held_gil_limits_threads_and_not_processes() -> None:
    held = replace(FREE, phi=1.0)
    threads, processes = (predict(job(transform=held), pair("thread", mode)) for mode in ("thread", "process"))

    assert "gil" == threads.bound.name
    assert 1 / 0.0203 == pytest.approx(threads.steady_rate_per_second)
    assert 2 / 0.0205 == pytest.approx(processes.steady_rate_per_second)


def test_threads_with_a_step_that_holds_the_gil_at_a_stretch_go_in_a_convoy() -> None:
    brief = replace(FREE, phi=0.5)
    long = replace(brief, turn_seconds=0.01)
    modes = [("thread", (32, 4)), ("thread", (32, 1)), ("process", (32, 4)), ("serial", (32, 1))]
    rates = [
        [predict(job(transform=held, cores=8.0), pair("process", mode, workers)).steady_rate_per_second
         for held in (brief, long)]
        for mode, workers in modes
    ]  # fmt: skip

    assert [1 / 0.01, 4 / (0.02 + 3 * 0.01)] == pytest.approx(rates[0])
    for either, other in rates[1:]:  # nobody to wait for
        assert either == other


def test_a_download_beside_a_step_that_holds_the_gil_waits_twice_where_it_finds_it_held() -> None:
    download, long = replace(WAITS, blocked_seconds=0.02), replace(FREE, phi=0.5, turn_seconds=0.01)
    beside = job(download=download, transform=long)

    rate = predict(beside, pair("serial", "thread")).steady_rate_per_second

    held, wait = rate * 0.01, 0.005 - 0.005**2 / 0.02  # seconds, on average, until it is let go
    assert 1.0 == pytest.approx(rate * (0.0205 + 2 * held * wait))
    for modes in (("serial", "process"), ("process", "thread"), ("serial", "serial")):
        alone = predict(replace(beside, transform=replace(long, turn_seconds=0.0)), pair(*modes, workers=(1, 1)))
        assert alone == predict(beside, pair(*modes, workers=(1, 1)))


def test_both_stages_in_the_parent_share_its_gil() -> None:
    held = job(transform=replace(FREE, phi=0.5), glue_seconds=0.001)

    assert 0.001 + 0.0003 + 0.01 == pytest.approx(gil_seconds(held, pair("thread", "thread")))
    assert 0.001 + 0.01 == pytest.approx(gil_seconds(held, pair("process", "thread")))


def test_the_origin_takes_its_cpu_from_the_same_cores() -> None:
    alone, beside = (predict(job(origin_cpu_seconds=cpu), pair("thread", "thread")) for cpu in (0.0, 0.0205))

    assert 0.5 == pytest.approx(beside.steady_rate_per_second / alone.steady_rate_per_second)


def test_connections_bind_however_many_workers() -> None:
    few = job(connections=2)
    rates = {predict(few, pair("thread", "thread", (number, 2))).steady_rate_per_second for number in (2, 32, 500)}

    assert 1 == len(rates)
    assert "per_host" == predict(few, pair("thread", "thread")).bound.name


def test_starting_processes_matters_for_few_items_only() -> None:
    start = StartCosts(first_process_seconds=0.5, per_process_cpu_seconds=0.01)
    ratios = []
    for items in (10, 100_000):
        few = job(items=items, start=start)
        ratios.append(
            predict(few, pair("thread", "process")).rate_per_second
            / predict(few, pair("thread", "thread")).rate_per_second
        )

    assert ratios[0] < 0.6
    assert 0.99 < ratios[1] <= 1.0


@pytest.mark.parametrize("speed", [0.55, 0.7, 0.9, 0.99])
def test_two_threads_give_the_two_bounds_of_the_paper_formula(speed: float) -> None:
    share = 2 / (2 * speed) - 1

    assert pytest.approx((share, share**0.5)) == held_fraction(speed, 2)


def test_threads_that_do_not_slow_each_other_hold_nothing_and_half_as_fast_hold_all() -> None:
    assert (0.0, 0.0) == held_fraction(1.0, 2) == held_fraction(1.2, 8)
    assert pytest.approx((1.0, 1.0)) == held_fraction(0.5, 2)
    assert pytest.approx((1.0, 1.0)) == held_fraction(0.125, 8)


def test_slower_than_one_thread_is_a_convoy_and_clamped() -> None:
    assert pytest.approx((1.0, 1.0)) == held_fraction(0.3, 2)


def test_more_threads_show_a_smaller_fraction_at_the_same_speed() -> None:
    assert held_fraction(0.8, 8)[1] < held_fraction(0.8, 2)[1]
