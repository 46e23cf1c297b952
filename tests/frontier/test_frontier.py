"""What may start, decided without waiting: the clock and the back-off belong to the test."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from batchproc.frontier import WINDOW, Concurrency, End, Frontier, HostLimit, Refill, Wait, Waits, full_jitter, host_of
from batchproc.frontier.hosts import Recall
from batchproc.kinds import Retry
from batchproc.model import Disposition, Failure, Fetch, Item, Moved, Reply, Source, SourceImage, Span, Validators


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
        while True:
            decision = self.frontier.decide(self.now)
            if isinstance(decision, Refill):
                self.frontier._refill()
            elif isinstance(decision, Recall):
                self.frontier._recall(decision)
            else:
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
        final = self.frontier.on_outcome(failure)
        assert final is None or isinstance(final, Failure)
        return final

    def move(self, item: Item[Fetch], *trail: str) -> Moved:
        moved = Moved(trail=trail, spent_seconds=1.0)
        assert self.frontier.downloaded(Item(source=item.source, value=moved, spans=(*item.spans, SPAN))) is None
        return moved

    def succeed(self, item: Item[Fetch]) -> None:
        self.frontier.downloaded(item)
        assert self.frontier.on_outcome(item) is item


def test_no_host_gets_more_than_its_limit_and_others_go_on() -> None:
    bench = Bench([source(0), source(1), source(2), source(3, "b.org")])

    started = [item.source.index for item in bench.started()]

    assert [0, 3, 1] == started


def test_a_place_at_the_host_is_free_when_the_download_has_ended() -> None:
    bench = Bench([source(number) for number in range(3)])
    first, _ = bench.started()

    bench.frontier.downloaded(first)

    assert [2] == [item.source.index for item in bench.started()]


def test_it_ends_only_when_every_outcome_was_noted() -> None:
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


def test_a_host_that_asks_to_wait_pauses_as_a_whole_and_is_then_asked_by_one_request() -> None:
    bench = Bench([source(0), source(1), source(2), source(3, "b.org")])
    first, _, under_way = bench.started()

    assert bench.fail(first, Retry.HOST, after=60.0) is None
    bench.succeed(under_way)

    assert Wait(60.0) == bench.decide()
    bench.now += 60.0
    (probe,) = bench.started()
    assert 2 == probe.source.index
    bench.succeed(probe)
    bench.now += 60.0
    (again,) = bench.started()
    assert (0, 1) == (again.source.index, again.value.attempt)


def test_a_host_that_refuses_every_probe_is_left_for_the_next_run() -> None:
    bench = Bench([source(number) for number in range(10)], per_host=1)
    finals, tries = [], 0
    while not finals:
        while isinstance(decision := bench.decide(), Wait):
            bench.now += decision.seconds
        tries += 1
        finals += [final for final in [bench.fail(decision, Retry.HOST, after=0.5)] if final]

    (final,) = finals
    assert (Disposition.DEFERRED, 1) == (final.disposition, final.attempts)
    assert 6 == tries
    rest = [bench.decide() for _ in range(9)]
    while rest and isinstance(rest[-1], Wait):
        rest.pop()
    assert all(isinstance(one, Failure) and one.disposition is Disposition.DEFERRED for one in rest)


def test_a_pause_longer_than_allowed_defers_the_host_at_once_and_is_known_to_the_next_run() -> None:
    bench = Bench([source(number) for number in range(50)] + [source(50, "b.org")], longest_pause_seconds=900.0)
    first, healthy, _ = bench.started()

    final = bench.fail(first, Retry.HOST, after=86_400.0, code="rate")

    assert final is not None
    assert Disposition.DEFERRED is final.disposition
    untried = [bench.decide() for _ in range(48)]
    assert {Disposition.DEFERRED} == {one.disposition for one in untried if isinstance(one, Failure)}
    assert 48 == len([one for one in untried if isinstance(one, Failure)])
    assert {"a.org": 86_400.0} == bench.frontier.pauses()
    bench.succeed(healthy)


def test_a_host_that_asked_an_earlier_run_for_a_pause_is_not_asked_within_it() -> None:
    bench = Bench([source(0), source(1, "b.org"), source(2, "c.org")], longest_pause_seconds=900.0)
    bench.frontier.leave_alone({"a.org": 86_400.0, "b.org": 60.0})

    decisions = [bench.decide() for _ in range(3)]

    assert [2] == [one.source.index for one in decisions if isinstance(one, Item)]
    assert [0] == [one.source.index for one in decisions if isinstance(one, Failure)]
    bench.now += 60.0
    assert [1] == [item.source.index for item in bench.started()]
    assert 86_340.0 == bench.frontier.pauses()["a.org"]


@pytest.mark.parametrize("code", ["cancelled", "io.nospace", "internal.bug"])
def test_what_is_not_the_hosts_doing_says_nothing_of_it(code: str) -> None:
    bench = Bench([source(number) for number in range(100)], per_host=4, retries=0)

    for _ in range(40):
        bench.fail(bench.started()[0] if bench.frontier.in_flight == 0 else bench.decide(), Retry.NEVER, code=code)

    assert 4 == bench.frontier.describe_hosts().lowest_limit


def test_no_more_downloads_run_at_once_than_the_concurrency_allows() -> None:
    bench = Bench(
        [source(number, f"h{number}.org") for number in range(10)],
        concurrency=Concurrency(start=3, most=3, clock=lambda: 0.0),
    )
    first, *others = bench.started()
    assert 2 == len(others)

    bench.frontier.downloaded(first)

    assert 1 == len(bench.started())


def test_the_concurrency_learns_the_first_byte_of_each_download() -> None:
    noted: list[tuple[str, int, float | None, bool]] = []

    class Ear(Concurrency):
        def on_outcome(self, host: str, **facts: Any) -> None:
            noted.append((host, facts["in_flight"], facts["first_byte_seconds"], facts["struggled"]))

    bench = Bench([source(0), source(1, "b.org")], concurrency=Ear())
    first, second = bench.started()
    span = Span(
        stage="download", worker="w", enqueued=0, started=1, ended=2, cpu_seconds=0, parts={"first_byte": (0.25, 0.0)}
    )

    bench.succeed(replace(first, spans=(span,)))
    failure = Failure(source=second.source, stage="download", code="timeout.idle", message="no", spans=(span,))
    bench.frontier.on_outcome(bench.frontier.downloaded(failure))

    assert [("a.org", 1, 0.25, False), ("b.org", 0, None, True)] == noted


def test_bytes_in_memory_are_bounded_but_one_item_always_goes() -> None:
    bench = Bench([source(number, f"h{number}.org") for number in range(20)], buffer_bytes=4_000_000)
    started = bench.started()
    assert 4 == len(started)

    for item in started:
        big = replace(item, value=SourceImage(content=bytes(9_000_000), reply=Reply(status_code=200)))
        bench.frontier.downloaded(big)
    assert isinstance(bench.decide(), Wait)

    for item in started:
        assert bench.frontier.on_outcome(item) is not None
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


def test_refusals_in_a_row_halve_what_a_host_gets_at_once_and_it_earns_it_back() -> None:
    bench = Bench([source(number) for number in range(500)], per_host=8)
    first, *others = bench.started()
    assert 7 == len(others)

    bench.fail(first, Retry.BACKOFF, code="http.503")
    assert [] == bench.started()  # its place is free, but its rate was lowered
    bench.fail(others.pop(), Retry.BACKOFF, code="http.503")  # sent before that: it says nothing new
    assert 8 == bench.frontier.describe_hosts().lowest_limit
    bench.now += 1.0
    (next_one,) = bench.started()
    bench.fail(next_one, Retry.BACKOFF, code="http.503")
    assert 4 == bench.frontier.describe_hosts().lowest_limit

    for item in others:
        bench.succeed(item)
    most = 0
    for _ in range(300):
        bench.now += 10.0
        in_flight = bench.started()
        most = max(most, len(in_flight))
        for item in in_flight:
            bench.succeed(item)
    assert 1 == most  # a bucket of one: never a burst
    assert 4 < next(iter(bench.frontier._hosts._by_name.values())).limit


def test_items_behind_a_host_without_a_name_are_deferred_untried() -> None:
    bench = Bench([source(number) for number in range(100)] + [source(100, "up.org")], per_host=1, retries=0)
    for _ in range(20):
        item = next(one for one in iter(bench.decide, None) if isinstance(one, Item) and "a.org" in one.source.url)
        bench.fail(item, Retry.BACKOFF, code="dns")

    decisions = [bench.decide() for _ in range(80)]

    deferred = [one for one in decisions if isinstance(one, Failure)]
    assert 80 == len(deferred)
    assert bench.frontier.held_bytes <= 1_000_000
    assert {Disposition.DEFERRED} == {one.disposition for one in deferred}
    for failure in deferred:
        assert bench.frontier.downloaded(failure) is failure
        assert failure == bench.frontier.on_outcome(failure)


def test_a_time_out_now_and_then_is_the_items_and_costs_its_host_nothing() -> None:
    bench = Bench([source(number) for number in range(600)], per_host=8, retries=0)
    silent = answered = 0
    while answered < 500:
        for item in bench.started():
            if item.source.index % 100 == 99:
                assert bench.fail(item, Retry.BACKOFF, code="timeout.first_byte") is not None
                silent += 1
            else:
                bench.succeed(item)
                answered += 1

    assert silent
    assert 8 == bench.frontier.describe_hosts().lowest_limit
    assert () == bench.frontier.describe_hosts().troubled


def test_the_few_that_hang_do_not_make_their_host_silent_when_only_they_are_left() -> None:
    bench = Bench([source(number) for number in range(8)], per_host=8, retries=1)
    *answering, one, two = bench.started()
    for item in answering:
        bench.succeed(item)
    assert [None, None] == [bench.fail(item, Retry.BACKOFF, code="timeout.first_byte") for item in (one, two)]

    bench.now += 100.0
    finals = [bench.fail(item, Retry.BACKOFF, code="timeout.first_byte") for item in bench.started()]

    assert [Disposition.FAILED] * 2 == [final.disposition for final in finals if final]
    assert isinstance(bench.decide(), End)


def test_time_outs_in_a_row_are_the_hosts() -> None:
    bench = Bench([source(number) for number in range(100)], per_host=4, retries=0)
    one, two, three, four = bench.started()

    finals = [bench.fail(item, Retry.BACKOFF, code="timeout.first_byte") for item in (one, two, three, four)]

    assert [True, True, False, False] == [final is not None for final in finals]
    assert Wait(1.0) == bench.decide()
    bench.now += 1.0
    assert 1 == len(bench.started())  # a probe


def test_items_of_other_hosts_go_on_whatever_the_order_of_the_list() -> None:
    sources = [source(number) for number in range(5000)] + [source(number, "b.org") for number in range(5000, 5300)]
    bench = Bench(sources, reread=lambda indexes: [sources[index] for index in indexes])
    started: list[Item[Fetch]] = []
    for _ in range(2000):
        started += bench.started()
        bench.now += 0.02
        for item in [one for one in started if "b.org" in one.source.url]:
            bench.succeed(item)
            started.remove(item)

    assert 2 == len(started)  # of a.org, which does not answer
    assert 5000 == bench.frontier.waiting + 2
    assert "host='b.org', starts=300" in str(bench.frontier.describe_hosts())


def test_what_was_put_aside_comes_in_its_order_and_nothing_is_lost() -> None:
    sources = [source(number, f"h{number % 3}.org") for number in range(3000)]
    bench = Bench(sources, reread=lambda indexes: [sources[index] for index in indexes])
    order: dict[str, list[int]] = {}
    while not isinstance(decision := bench.decide(), End):
        if isinstance(decision, Wait):
            bench.now += decision.seconds
            continue
        order.setdefault(host_of(decision.source.url), []).append(decision.source.index)
        bench.succeed(decision)

    assert 3000 == sum(map(len, order.values()))
    assert all(indexes == sorted(indexes) for indexes in order.values())


def test_time_spent_waiting_for_retries_alone_is_noted() -> None:
    frontier = Frontier(iter([source(0)]), per_host=1, retries=1, buffer_bytes=1000, backoff=lambda attempt: 0.01)
    item = next(frontier)
    failure = Failure(source=item.source, stage="download", code="dns", message="no", retry=Retry.BACKOFF)
    frontier.on_outcome(frontier.downloaded(failure))

    assert 2 == next(frontier).value.attempt
    assert 0.0 < frontier.waits.retry_seconds
    assert 0.0 == frontier.waits.pause_seconds


def waited(bench: Bench, seconds: float, workers: int) -> Waits:
    """What the frontier notes of a wait, while which nothing happens."""
    frontier = bench.frontier
    frontier.resume(workers=workers)

    def wait(_: float) -> bool:
        bench.now += seconds
        return False

    with patch.object(frontier._changed, "wait", wait), frontier._changed:
        frontier._wait(1.0)
    return frontier.waits


def test_with_nothing_in_flight_every_worker_waits_for_the_retry() -> None:
    bench = Bench([source(0)])
    bench.fail(bench.started()[0], Retry.BACKOFF)

    assert Waits(retry_seconds=2.0, retry_worker_seconds=8.0) == waited(bench, 2.0, workers=4)


def test_with_nothing_in_flight_every_worker_waits_for_the_paused_host() -> None:
    bench = Bench([source(0)])
    bench.fail(bench.started()[0], Retry.HOST, after=30.0)

    assert Waits(pause_seconds=2.0, pause_worker_seconds=8.0) == waited(bench, 2.0, workers=4)


def test_a_silent_server_is_no_work_beside_a_wait() -> None:
    bench = Bench([source(0), source(1, "b.org")])
    first, _ = bench.started()
    bench.fail(first, Retry.HOST, after=30.0)

    waits = waited(bench, 2.0, workers=16)

    assert Waits(pause_seconds=1.75, pause_worker_seconds=0.25 + 15 * 1.75) == waits  # the other one is a download yet


def test_many_long_downloads_are_work_beside_a_wait() -> None:
    bench = Bench([source(number, f"h{number}.org") for number in range(4)])
    bench.fail(bench.started()[0], Retry.HOST, after=30.0)

    assert Waits(pause_worker_seconds=2.0) == waited(bench, 2.0, workers=16)


def test_what_comes_next_is_what_all_wait_for() -> None:
    bench = Bench([source(0), source(1, "b.org")])
    first, second = bench.started()
    bench.fail(first, Retry.BACKOFF)  # in 10 s
    bench.fail(second, Retry.HOST, after=5.0)

    assert Waits(pause_seconds=2.0, pause_worker_seconds=8.0) == waited(bench, 2.0, workers=4)


def test_beside_others_at_work_as_many_workers_wait_as_have_an_item_that_is_not_due() -> None:
    bench = Bench([source(0), source(1, "b.org"), source(2, "b.org"), source(3, "c.org")])
    first, second = bench.started()[:2]
    bench.fail(first, Retry.BACKOFF)
    bench.fail(second, Retry.HOST, after=5.0)

    assert Waits(retry_worker_seconds=2.0, pause_worker_seconds=2.0) == waited(bench, 2.0, workers=10)


def test_a_wait_for_what_is_in_flight_is_none_for_a_retry_or_a_pause() -> None:
    bench = Bench([source(0), source(1), source(2)])
    assert 2 == len(bench.started())

    assert Waits() == waited(bench, 2.0, workers=10)


def test_workers_that_are_busy_wait_for_nothing() -> None:
    bench = Bench([source(0), source(1, "b.org")])
    first, _ = bench.started()
    bench.fail(first, Retry.BACKOFF)

    assert Waits() == waited(bench, 2.0, workers=1)


def test_waits_of_a_part_are_the_difference() -> None:
    before = Waits(retry_seconds=1.0, pause_worker_seconds=2.0)
    after = Waits(retry_seconds=1.5, pause_seconds=3.0, pause_worker_seconds=2.0)

    assert Waits(retry_seconds=0.5, pause_seconds=3.0) == after.since(before)


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

    fetch = Fetch(etag=known.etag, last_modified=known.last_modified, refresh=True)
    assert fetch == item.value
    assert replace(fetch, attempt=2) == again.value


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
    bench = Bench([source(0), source(1), source(2, "b.org"), source(3), source(4, "b.org")], per_host=1)
    first, third = bench.started()
    bench.move(first, "http://b.org/x")
    bench.succeed(third)
    second, at_target = bench.started()
    bench.fail(at_target, Retry.HOST, after=60.0, code="rate")
    bench.succeed(second)

    assert [3] == [item.source.index for item in bench.started()]
    bench.now += 60.0
    assert [4] == [item.source.index for item in bench.started()]


def test_redirects_to_a_slow_host_do_not_pile_up_without_bound() -> None:
    bench = Bench((source(number) for number in range(10_000)), per_host=8)
    moved = 0
    for _ in range(1000):
        for item in bench.started():
            if "a.org" in item.source.url and item.value.moved is None:
                bench.move(item, f"http://slow.org/{item.source.index}")
                moved += 1

    assert WINDOW <= moved <= WINDOW + 8


def test_it_ends_only_when_redirected_items_were_noted() -> None:
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


def test_a_host_may_have_limits_of_its_own() -> None:
    limits = {"*.slow.org": HostLimit(per_host=1), "paced.org:8443": HostLimit(per_host=8, requests_per_second=2.0)}
    sources = [
        source(3 * number + at, host)
        for number in range(20)
        for at, host in enumerate(("a.slow.org", "paced.org:8443", "b.org"))
    ]
    bench = Bench(sources, per_host=4, host_limits=limits)

    started = Counter(host_of(item.source.url) for item in bench.started())
    bench.now += 0.5
    later = Counter(host_of(item.source.url) for item in bench.started())

    assert {"a.slow.org": 1, "paced.org:8443": 1, "b.org": 4} == started
    assert {"paced.org:8443": 1} == later


@pytest.mark.parametrize(
    ("code", "retry", "disposition"),
    [("tls", Retry.NEVER, Disposition.FAILED), ("proxy", Retry.NEXT_RUN, Disposition.DEFERRED)],
    ids=["client-certificate", "proxy"],
)
def test_who_is_barred_from_a_host_does_not_try_again_and_again(
    code: str, retry: Retry, disposition: Disposition
) -> None:
    bench = Bench([source(number) for number in range(30)], per_host=1)
    for _ in range(3):
        (item,) = bench.started()
        bench.fail(item, retry, code=code)

    rest = [bench.decide() for _ in range(27)]

    assert {(code, disposition)} == {(one.code, one.disposition) for one in rest if isinstance(one, Failure)}
    assert all(isinstance(one, Failure) for one in rest)
