"""Servers made of arithmetic: when a request that comes now will have its first byte. The clock is the test's."""

import heapq
import itertools
import random
from collections.abc import Callable

from batchproc.frontier import Concurrency

Serve = Callable[[str, float], float | None]  # (host, now) -> seconds to first byte; None = it struggles


class Latency:
    """A way without a queue: each host has its own latency, with log-normal jitter."""

    def __init__(self, latencies: dict[str, float], jitter: float = 0.3, seed: int = 1) -> None:
        self.latencies = latencies
        self._jitter = jitter
        self._random = random.Random(seed)

    def __call__(self, host: str, now: float) -> float:
        return self.latencies[host] * self._random.lognormvariate(0.0, self._jitter)


class Queue:
    """What all requests share, behind their host's latency: `slots` serve at once, the others queue, first come."""

    def __init__(self, before: Latency, slots: int, service_seconds: float) -> None:
        self.service_seconds = service_seconds
        self._before = before
        self._free = [0.0] * slots

    def __call__(self, host: str, now: float) -> float:
        latency = self._before(host, now)
        done = max(self._free[0], now) + self.service_seconds * (latency / self._before.latencies[host])
        heapq.heapreplace(self._free, done)
        return done - now + latency

    def lose(self, slots: int) -> None:
        """So many slots fewer from now on: those that would have been free first."""
        for _ in range(slots):
            heapq.heappop(self._free)


class World:
    """Downloads under a `Concurrency`, event by event. `places` bounds those under way, as worker threads do.

    `transform_seconds` > 0: a next stage takes the originals one by one, and what waits for it counts as in flight.
    """

    def __init__(self, serve: Serve, hosts: list[str], *, places: int = 1000, transform_seconds: float = 0.0) -> None:
        self.now = 0.0
        self.limits: list[int] = []  # at each outcome
        self._serve = serve
        self._hosts = hosts
        self._places = places
        self._transform_seconds = transform_seconds
        self._transform_free = 0.0
        self._in_flight = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._random = random.Random(7)

    def run(self, concurrency: Concurrency, items: int) -> None:
        """Goes on until so many more outcomes were noted."""
        wanted = len(self.limits) + items
        while len(self.limits) < wanted:
            while self._in_flight < self._places and concurrency.allows(self._in_flight):
                self._start(concurrency)
            self.now, _, happen = heapq.heappop(self._events)
            happen()

    def _start(self, concurrency: Concurrency) -> None:
        self._in_flight += 1
        host = self._random.choice(self._hosts)
        first_byte = self._serve(host, self.now)
        service = 0.01 if first_byte is None else first_byte

        def land() -> None:
            self._in_flight -= 1
            concurrency.on_outcome(
                host,
                in_flight=self._in_flight,
                service_seconds=service,
                first_byte_seconds=first_byte,
                struggled=first_byte is None,
            )
            self.limits.append(concurrency.limit)

        def arrive() -> None:
            self._transform_free = max(self.now, self._transform_free) + self._transform_seconds
            self._at(self._transform_free, land)

        self._at(self.now + service, arrive if self._transform_seconds else land)

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._sequence), happen))
