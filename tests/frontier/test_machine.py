"""This machine's own trouble pauses everything, blames nobody, and ends in deferral at the latest."""

from typing import Any

import pytest

from batchproc.frontier import End, Wait
from batchproc.kinds import Code, Retry
from batchproc.model import Disposition, Failure, Item, Source
from batchproc.record.run_parts import LocalTrouble
from tests.frontier.test_frontier import Bench, source

FILES, NETWORK = Code.LOCAL_FILES, Code.LOCAL_NETWORK


def sources(count: int, hosts: str = "abcdefgh") -> list[Source]:
    return [source(number, f"{hosts[number % len(hosts)]}.org") for number in range(count)]


def local(bench: Bench, item: Item[Any], code: Code = FILES) -> Failure | None:
    return bench.fail(item, Retry.NEXT_RUN, code=code)


def trouble(bench: Bench) -> LocalTrouble:
    found = bench.frontier.describe_hosts().local_trouble
    assert found is not None
    return found


def test_nothing_starts_for_a_while_at_any_host() -> None:
    bench = Bench(sources(4, "abc"), per_host=1)
    first, second, third = bench.started()
    assert local(bench, first) is None
    bench.succeed(second)
    bench.succeed(third)

    assert isinstance(bench.decide(), Wait)
    bench.now += 1.0
    assert 1 == len(bench.started())
    assert LocalTrouble(pauses=1, paused_seconds=1.0, codes={"local.files": 1}) == trouble(bench)


def test_it_is_no_attempt_of_the_item_and_nothing_against_its_host() -> None:
    bench = Bench([source(0)], retries=0)
    for _ in range(5):
        (item,) = bench.started()
        assert local(bench, item) is None
        bench.now += 40.0
    (item,) = bench.started()

    assert 1 == item.value.attempt


def test_pauses_double_while_it_lasts_and_begin_anew_after_a_success() -> None:
    bench = Bench(sources(3, "a"), per_host=1)
    lengths = []
    for succeeds in (False, False, False, True, False):
        (item,) = bench.started()
        before = trouble(bench).paused_seconds
        bench.succeed(item) if succeeds else local(bench, item)
        lengths.append(trouble(bench).paused_seconds - before)
        bench.now += 40.0

    assert [1.0, 2.0, 4.0, 0.0, 1.0] == lengths


def test_all_that_fail_together_make_one_pause() -> None:
    bench = Bench(sources(8))
    for item in bench.started():
        local(bench, item)

    assert (1, 8) == (trouble(bench).pauses, trouble(bench).codes[FILES])


def test_half_as_many_go_on_afterwards_and_then_more_again() -> None:
    bench = Bench(sources(90), per_host=2)
    first, *others = bench.started()
    local(bench, first)
    for item in others:
        bench.succeed(item)
    bench.now += 1.0
    numbers = []
    for _ in range(3):
        items = bench.started()
        numbers.append(len(items))
        bench.now += 0.1
        for item in items:
            bench.succeed(item)

    assert [7, 8, 9] == numbers


def test_without_a_way_to_the_network_one_is_tried_at_a_time() -> None:
    bench = Bench(sources(8), per_host=1)
    for item in bench.started():
        local(bench, item, NETWORK)
    bench.now += 1.0
    (probe,) = bench.started()
    bench.now += 0.1
    bench.succeed(probe)

    assert 7 == len(bench.started())


def test_a_host_without_a_route_is_its_own_fault_while_others_are_reached() -> None:
    bench = Bench(sources(2), per_host=1, retries=0)
    reached, unreachable = bench.started()
    bench.succeed(reached)
    final = local(bench, unreachable, NETWORK)

    assert final is None or Code.CONNECT == final.code
    assert 0 == trouble(bench).pauses


def test_one_name_that_is_not_resolved_is_its_own_fault_and_many_are_not() -> None:
    bench = Bench(sources(3), per_host=1)
    for item in bench.started():
        bench.fail(item, Retry.BACKOFF, code=Code.DNS)

    assert {"local.network": 1} == trouble(bench).codes


def test_what_lasts_too_long_leaves_everything_for_the_next_run() -> None:
    bench = Bench(sources(3, "a"), per_host=1, longest_pause_seconds=5.0)
    finals = []
    for _ in range(20):
        decision = bench.decide()
        if isinstance(decision, End):
            break
        if isinstance(decision, Wait):
            bench.now += 1.0
        elif isinstance(decision, Failure):
            bench.frontier.downloaded(decision)
            finals.append(bench.frontier.on_outcome(decision))
        else:
            finals.append(local(bench, decision))

    left = [final for final in finals if final is not None]
    assert [(FILES, Disposition.DEFERRED)] * 3 == [(final.code, final.disposition) for final in left]
    assert "ulimit -n" in left[0].hint or "ulimit -n" in left[-1].hint


def test_an_item_that_alone_meets_it_again_and_again_is_left_for_the_next_run() -> None:
    bench = Bench(sources(40), per_host=1)
    final, tries = None, 0
    while final is None:
        for item in bench.started():
            if item.source.index:
                bench.succeed(item)
            else:
                tries += 1
                final = local(bench, item)
        bench.now += 1.0

    assert (Disposition.DEFERRED, 11) == (final.disposition, tries)


@pytest.mark.parametrize("code", [FILES, Code.LOCAL_PORTS, Code.LOCAL_MEMORY, NETWORK])
def test_it_is_told_in_a_sentence(code: Code) -> None:
    bench = Bench([source(0)])
    assert "" == bench.frontier.describe_trouble()
    local(bench, bench.started()[0], code)

    assert bench.frontier.describe_trouble().startswith("this machine has no ")
