"""What may start, decided without waiting: the clock and the back-off belong to the test."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from batchproc.errors import Retry
from batchproc.frontier import WINDOW, Concurrency, End, Frontier, Refill, Wait, full_jitter, host_of
from batchproc.model import Disposition, Failure, Fetch, Item, Moved, Original, Reply, Source, Span, Validators


def source(number: int, host: str = "a.org") -> Source:
    return Source(index=number, line=number + 1, url=f"http://{host}/{number}", key=number.to_bytes(16, "big"))


SPAN = Span(stage="download", worker="download-0", enqueued=1.0, started=2.0, ended=3.0, cpu_seconds=0.0)


class Bench:
    """A frontier with a clock that stands still."""

    def __init__(self, sources: Iterable[Source], **settings: Any) -> None:
        self.now = 100.0
        limits: dict[str, Any] = {"per_host": 2, "retries": 3, "buffer_bytes": 10**9} | settings
        limits |= {"clock": lambda: self.now, "backoff": lambda attempt: 10.0 * attempt}
        self.frontier = Frontier(iter(sources), **limits)

    def decide(self) -> Item[Fetch] | Wait | End:
        while isinstance(decision := self.frontier.decide(self.now), Refill):
            self.frontier._refill()
        assert not isinstance(decision, Refill)
        return decision

    def started(self) -> list[Item[Fetch]]:
        items = []
        while isinstance(decision := self.decide(), Item):
            items.append(decision)
        return items

    def fail(
        self, item: Item[Fetch], retry: Retry, after: float | None = None, code: str = "http.500"
    ) -> Failure | None:
        failure = Failure(
            source=item.source, stage="download", code=code, message="no", retry=retry, retry_after_seconds=after
        )
        self.frontier.downloaded(failure)
        final = self.frontier.heard(failure)
        assert final is None or isinstance(final, Failure)
        return final

    def move(self, item: Item[Fetch], *trail: str) -> Moved:
        moved = Moved(trail=trail, spent_seconds=1.0)
        assert self.frontier.downloaded(Item(source=item.source, value=moved, spans=(*item.spans, SPAN))) is None
        return moved

    def succeed(self, item: Item[Fetch]) -> None:
        self.frontier.downloaded(item)
        assert self.frontier.heard(item) is item


def test_no_host_gets_more_than_its_limit_and_others_go_on() -> None:
    bench = Bench([source(0), source(1), source(2), source(3, "b.org")])

    started = [item.source.index for item in bench.started()]

    assert [0, 3, 1] == started


def test_a_place_at_the_host_is_free_when_the_download_has_ended() -> None:
    bench = Bench([source(number) for number in range(3)])
    first, _ = bench.started()

    bench.frontier.downloaded(first)

    assert [2] == [item.source.index for item in bench.started()]


def test_it_ends_only_when_every_outcome_was_heard() -> None:
    bench = Bench([source(0)])
    (item,) = bench.started()

    assert isinstance(bench.decide(), Wait)
    bench.succeed(item)
    assert isinstance(bench.decide(), End)


def test_a_failure_worth_retrying_comes_back_at_its_time() -> None:
    bench = Bench([source(0)])
    (item,) = bench.started()

    assert bench.fail(item, Retry.BACKOFF) is None
    assert Wait(10.0) == bench.decide()
    bench.now += 10.0
    (again,) = bench.started()
    assert Fetch(attempt=2) == again.value


def test_retries_are_bounded_and_counted_in_the_failure() -> None:
    bench = Bench([source(0)], retries=2)
    attempts = 0
    final = None
    while final is None:
        bench.now += 1000.0
        (item,) = bench.started()
        attempts += 1
        final = bench.fail(item, Retry.BACKOFF)

    assert 3 == attempts == final.attempts
    assert 2 == bench.frontier.retried


@pytest.mark.parametrize(("retry", "tries"), [(Retry.NEVER, 1), (Retry.NEXT_RUN, 1), (Retry.ONCE, 2)], ids=str)
def test_each_retry_word_means_its_number_of_tries(retry: Retry, tries: int) -> None:
    bench = Bench([source(0)])
    final, count = None, 0
    while final is None:
        bench.now += 1000.0
        (item,) = bench.started()
        count += 1
        final = bench.fail(item, retry)

    assert tries == count


def test_a_host_that_asks_to_wait_pauses_as_a_whole() -> None:
    bench = Bench([source(0), source(1), source(2), source(3, "b.org")])
    first, *_ = bench.started()

    assert bench.fail(first, Retry.HOST, after=60.0) is None

    assert Wait(60.0) == bench.decide()
    bench.now += 60.0
    later = bench.started()
    assert 2 == later[0].source.index
    assert all(1 == item.value.attempt for item in later)


def test_an_item_paused_too_often_is_deferred() -> None:
    bench = Bench([source(0)])
    final, count = None, 0
    while final is None:
        (item,) = bench.started()
        final = bench.fail(item, Retry.HOST, after=0.0)
        count += 1

    assert Disposition.DEFERRED is final.disposition
    assert 1 == final.attempts
    assert 6 == count


def test_no_more_downloads_run_at_once_than_the_concurrency_allows() -> None:
    bench = Bench(
        [source(number, f"h{number}.org") for number in range(10)],
        concurrency=Concurrency(start=3, most=3, clock=lambda: 0.0),
    )
    first, *others = bench.started()
    assert 2 == len(others)

    bench.frontier.downloaded(first)

    assert 1 == len(bench.started())


def test_the_concurrency_hears_the_first_byte_of_each_download() -> None:
    heard: list[tuple[str, int, float | None, bool]] = []

    class Ear(Concurrency):
        def hear(self, host: str, **facts: Any) -> None:
            heard.append((host, facts["in_flight"], facts["first_byte_seconds"], facts["struggled"]))

    bench = Bench([source(0), source(1, "b.org")], concurrency=Ear())
    first, second = bench.started()
    span = Span(
        stage="download", worker="w", enqueued=0, started=1, ended=2, cpu_seconds=0, parts={"first_byte": (0.25, 0.0)}
    )

    bench.succeed(replace(first, spans=(span,)))
    failure = Failure(source=second.source, stage="download", code="timeout.idle", message="no", spans=(span,))
    bench.frontier.heard(bench.frontier.downloaded(failure))

    assert [("a.org", 1, 0.25, False), ("b.org", 0, None, True)] == heard


def test_bytes_in_memory_are_bounded_but_one_item_always_goes() -> None:
    bench = Bench([source(number, f"h{number}.org") for number in range(20)], buffer_bytes=4_000_000)
    started = bench.started()
    assert 4 == len(started)

    for item in started:
        big = replace(item, value=Original(content=bytes(9_000_000), reply=Reply(status_code=200)))
        bench.frontier.downloaded(big)
    assert isinstance(bench.decide(), Wait)

    for item in started:
        assert bench.frontier.heard(item) is not None
    assert 1 == len(bench.started())


def test_a_long_list_is_read_by_windows() -> None:
    read = 0

    def endless() -> Iterable[Source]:
        nonlocal read
        for number in range(10**6):
            read += 1
            yield source(number)

    bench = Bench(endless())

    assert 2 == len(bench.started())
    assert WINDOW <= read <= WINDOW + 200


def test_closing_ends_the_iterator_and_sends_nothing_back() -> None:
    bench = Bench([source(0), source(1)], per_host=1)
    (item,) = bench.started()

    bench.frontier.close()

    assert isinstance(bench.decide(), End)
    assert bench.fail(item, Retry.BACKOFF) is None
    assert isinstance(bench.decide(), End)


def test_closing_wakes_a_waiting_puller() -> None:
    frontier = Frontier(iter([source(0)]), per_host=1, retries=0, buffer_bytes=1000)
    next(frontier)
    ended = threading.Event()

    def pull() -> None:
        assert next(frontier, None) is None
        ended.set()

    puller = threading.Thread(target=pull)
    puller.start()
    frontier.close()

    assert ended.wait(10)
    puller.join()


def test_a_struggling_host_gets_half_and_earns_it_back() -> None:
    bench = Bench([source(number) for number in range(500)], per_host=8)
    first, *others = bench.started()
    assert 7 == len(others)

    bench.fail(first, Retry.NEVER, code="http.503")
    assert [] == bench.started()  # 7 are in flight, the limit is 4
    bench.fail(others.pop(), Retry.NEVER, code="http.503")  # sent before the limit was cut
    for item in others:
        bench.succeed(item)
    in_flight = bench.started()
    assert 4 == len(in_flight)

    for _ in range(11):
        for item in in_flight:
            bench.succeed(item)
        in_flight = bench.started()
    assert 5 == len(in_flight)
    assert 4 == bench.frontier.lowest_limit


def test_items_behind_a_host_that_is_down_are_deferred_untried() -> None:
    bench = Bench([source(number) for number in range(100)] + [source(100, "up.org")], per_host=1, retries=0)
    for _ in range(20):
        item = next(one for one in iter(bench.decide, None) if isinstance(one, Item) and "a.org" in one.source.url)
        bench.fail(item, Retry.BACKOFF, code="connect")

    decisions = [bench.decide() for _ in range(80)]

    deferred = [one for one in decisions if isinstance(one, Failure)]
    assert 80 == len(deferred)
    assert bench.frontier.held_bytes <= 1_000_000
    assert {Disposition.DEFERRED} == {one.disposition for one in deferred}
    for failure in deferred:
        assert bench.frontier.downloaded(failure) is failure
        assert failure == bench.frontier.heard(failure)


def test_time_spent_waiting_for_retries_alone_is_noted() -> None:
    frontier = Frontier(iter([source(0)]), per_host=1, retries=1, buffer_bytes=1000, backoff=lambda attempt: 0.01)
    item = next(frontier)
    failure = Failure(source=item.source, stage="download", code="dns", message="no", retry=Retry.BACKOFF)
    frontier.heard(frontier.downloaded(failure))

    assert 2 == next(frontier).value.attempt
    assert 0.0 < frontier.retry_wait_seconds


def test_full_jitter_grows_and_stays_in_its_bounds() -> None:
    assert all(0 <= full_jitter(1) <= 1 for _ in range(100))
    assert all(0 <= full_jitter(50) <= 300 for _ in range(100))


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://A.org/x", "a.org"), ("https://user:pw@a.org:8443/x@y", "a.org:8443"), ("http://a.org", "a.org")],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    assert host == host_of(url)


def test_a_source_to_be_refreshed_is_asked_for_with_its_validators_and_so_are_its_retries() -> None:
    known = Validators(etag='"e1"', last_modified="Wed, 21 Oct 2015 07:28:00 GMT")
    bench = Bench([replace(source(0), refresh=known)])

    (item,) = bench.started()
    bench.fail(item, Retry.BACKOFF)
    bench.now += 10
    (again,) = bench.started()

    assert Fetch(attempt=1, etag=known.etag, last_modified=known.last_modified) == item.value
    assert Fetch(attempt=2, etag=known.etag, last_modified=known.last_modified) == again.value


def test_a_redirected_item_waits_for_room_at_its_target() -> None:
    bench = Bench([source(0, "b.org"), source(1, "b.org"), source(2), source(3, "c.org")])
    first, third, fourth, second = bench.started()
    moved = bench.move(third, "http://b.org/x")
    bench.move(fourth, "http://b.org:80/y")

    assert isinstance(bench.decide(), Wait)
    bench.succeed(first)
    (again,) = bench.started()
    assert (2, Fetch(moved=moved), (SPAN,)) == (again.source.index, again.value, again.spans)
    bench.succeed(second)
    assert [3] == [item.source.index for item in bench.started()]


def test_a_redirect_frees_the_place_at_its_host() -> None:
    bench = Bench([source(number) for number in range(3)])
    first, _ = bench.started()
    bench.move(first, "http://b.org/x")

    assert {2, 0} == {item.source.index for item in bench.started()}


def test_a_redirected_item_that_fails_begins_again_at_its_listed_url() -> None:
    bench = Bench([source(0)])
    (item,) = bench.started()
    bench.move(item, "http://b.org/x")
    (at_target,) = bench.started()
    assert bench.fail(at_target, Retry.BACKOFF) is None
    bench.now += 10.0
    (again,) = bench.started()

    assert (Fetch(attempt=2), ()) == (again.value, again.spans)


def test_the_target_of_a_redirect_pauses_and_not_the_host_that_named_it() -> None:
    bench = Bench([source(0), source(1), source(2, "b.org")])
    first, third, _ = bench.started()
    bench.move(first, "http://b.org/x")
    (at_target,) = bench.started()
    bench.fail(at_target, Retry.HOST, after=60.0, code="rate")
    bench.succeed(third)

    assert [0] == [item.source.index for item in bench.started()]


def test_it_ends_only_when_redirected_items_were_heard() -> None:
    bench = Bench([source(0)])
    (item,) = bench.started()
    bench.move(item, "http://b.org/x")
    (item,) = bench.started()
    assert isinstance(bench.decide(), Wait)
    bench.succeed(item)

    assert isinstance(bench.decide(), End)
    assert 1 == bench.frontier.admitted


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://A.org/x", "a.org"),
        ("http://u:p@a.org:80/x", "a.org"),
        ("https://a.org:443", "a.org"),
        ("http://a.org:443/x", "a.org:443"),
        ("http://a.org:8080/x", "a.org:8080"),
        ("http://[::1]:80/x", "[::1]"),
        ("http://b\u00fccher.example/x", "xn--bcher-kva.example"),
    ],
)
def test_a_host_has_one_name_however_it_is_written(url: str, host: str) -> None:
    assert host == host_of(url)
