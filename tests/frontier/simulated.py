"""Servers that refuse, on a clock that jumps: what the frontier makes of them, without waiting for any of it."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from batchproc.frontier import End, Frontier, Refill, Wait, host_of
from batchproc.frontier.hosts import Recall
from batchproc.kinds import kind_of
from batchproc.model import Failure, Item, Outcome, Source


def leaky_bucket(rate: float, burst: float, code: str = "http.503") -> Callable[[float, int], str]:
    """nginx's `limit_req ... burst=N nodelay`."""
    state = {"excess": 0.0, "at": -1e9}

    def ask(now: float, index: int) -> str:
        excess = max(0.0, state["excess"] - (now - state["at"]) * rate + 1)
        if excess > burst + 1:
            return code
        state.update(excess=excess, at=now)
        return ""

    return ask


def quota(count: int, seconds: float) -> Callable[[float, int], str]:
    """So many requests in each window of time."""
    taken: Counter[int] = Counter()

    def ask(now: float, index: int) -> str:
        taken[int(now / seconds)] += 1
        return "http.503" if taken[int(now / seconds)] > count else ""

    return ask


def failing(
    seconds: float, *, every: float = 1e9, then: Callable[[float, int], str] = lambda now, index: ""
) -> Callable[[float, int], str]:
    """A gateway whose origin is away for so long, at first and every so often."""
    return lambda now, index: "http.502" if now % every < seconds else then(now, index)


def refusing_some(share: float) -> Callable[[float, int], str]:
    """Some items are refused for good, as by a gateway before a broken image."""
    return lambda now, index: "http.502" if random.Random(index).random() < share else ""


@dataclass(slots=True)
class Told:
    """What a host saw, and what became of its items."""

    asked: int = 0
    refused: list[int] = field(default_factory=list)  # the numbers of the requests that were
    ends: Counter[str] = field(default_factory=Counter)
    last: float = 0.0


def simulate(
    hosts: Sequence[tuple[str, Callable[[float, int], str], int]],
    *,
    retry_after: Mapping[str, float] | None = None,
    latency: float = 0.01,
    workers: int = 32,
) -> dict[str, Told]:
    """Runs a list of (host, server, items), in this order, to its end; by host, what came of it."""
    sources = [(name, ask) for name, ask, count in hosts for _ in range(count)]
    listed = [
        Source(index=at, line=at + 1, url=f"http://{name}/{at}", key=at.to_bytes(16, "big"))
        for at, (name, _) in enumerate(sources)
    ]
    servers = {name: ask for name, ask, _ in hosts}
    told = {name: Told() for name in servers}
    now = 1.0
    frontier = Frontier(
        iter(listed), per_host=8, retries=3, buffer_bytes=10**10, clock=lambda: now,
        reread=lambda indexes: [listed[index] for index in indexes], backoff=lambda attempt: 0.5,
    )  # fmt: skip
    numbers = itertools.count()
    under_way: list[tuple[float, int, Outcome]] = []
    while True:
        decision = frontier.decide(now) if len(under_way) < workers else Wait(1.0)
        match decision:
            case Refill():
                frontier._refill()
            case Recall():
                frontier._recall(decision)
            case Failure():
                heapq.heappush(under_way, (now, next(numbers), decision))
            case Item():
                outcome = _asked(decision, now, servers, told, retry_after or {})
                ends = now + latency * random.Random(next(numbers)).uniform(0.8, 1.3)
                heapq.heappush(under_way, (ends, next(numbers), outcome))
            case _ if under_way and (isinstance(decision, End) or under_way[0][0] <= now + decision.seconds):
                now, _, outcome = heapq.heappop(under_way)
                passed = frontier.downloaded(outcome)
                assert passed is not None
                final = frontier.on_outcome(passed)
                if final is not None:
                    seen = told[host_of(final.source.url)]
                    seen.last = now
                    seen.ends["done" if isinstance(final, Item) else final.disposition] += 1
            case Wait():
                now += max(decision.seconds, 1e-6)
            case _:
                return told


def _asked(
    item: Item[object], now: float, servers: Mapping[str, Callable[[float, int], str]], told: Mapping[str, Told],
    retry_after: Mapping[str, float],
) -> Outcome:  # fmt: skip
    name = host_of(item.source.url)
    seen, code = told[name], servers[name](now, item.source.index)
    seen.asked += 1
    if not code:
        return item
    seen.refused.append(seen.asked)
    return Failure(
        source=item.source, stage="download", code=code, message="no", retry=kind_of(code).retry,
        retry_after_seconds=retry_after.get(name),
    )  # fmt: skip
