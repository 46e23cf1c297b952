"""Counts every outcome of a run, in constant memory: histograms, sums, connections, and a sample of the spans."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from batchproc.measure.samples import Histogram, Reservoir
from batchproc.model import Failure, GilAsks, Item, Outcome, Rejection, Span, Unchanged

if TYPE_CHECKING:
    from batchproc.record.run_parts import ConnectionTotals

WHAT = ("opened", "reused", "dropped")  # dropped: closed before the end, by whichever side
HOSTS_REMEMBERED = 10_000  # the first ones; all others are in the totals only
HOSTS_TOLD = 20


class Connections:
    """Counts `opened HOST`, `reused HOST` and `dropped HOST`. Used by the main thread alone."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._hosts: dict[str, Counter[str]] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """What one span counted."""
        for words, number in counts.items():
            what, _, host = words.partition(" ")
            self._totals[what] += number
            if host in self._hosts or len(self._hosts) < HOSTS_REMEMBERED:
                self._hosts.setdefault(host, Counter())[what] += number

    def describe(self) -> "ConnectionTotals | None":
        """The totals, and the hosts that were asked most. None when nothing was counted."""
        if not self._totals:
            return None
        requests = {host: counts["opened"] + counts["reused"] for host, counts in self._hosts.items()}
        top = sorted(requests, key=lambda host: (-requests[host], host))[:HOSTS_TOLD]
        from batchproc.record.run_parts import ConnectionTotals, HostConnections

        hosts = tuple(HostConnections(host=host, **_numbers(self._hosts[host])) for host in top)
        return ConnectionTotals(**_numbers(self._totals), hosts=hosts)


def _numbers(counts: Counter[str]) -> dict[str, int]:
    return {what: counts[what] for what in WHAT}


SPANS_KEPT = 5_000  # enough for a timeline; four times as many would weigh 12 MB more
SPANS_KEPT_FOR_TRACE = 20_000


class StageSums(Struct):
    """What all spans of one stage add up to. Seconds; `parts`: name -> [wall, CPU]."""

    service: Histogram = field(default_factory=Histogram)
    waiting: Histogram = field(default_factory=Histogram)
    cpu_seconds: float = 0.0
    runqueue_seconds: float = 0.0
    runqueue_known: int = 0  # spans that could tell their run-queue delay
    inside_seconds: float = 0.0  # from entering the stage to leaving it, waiting for the next one included
    parts: dict[str, list[float]] = field(default_factory=dict)
    gil: dict[str, GilAsks] = field(default_factory=dict)
    connections: Connections = field(default_factory=Connections)

    def add(self, span: Span, left: float) -> None:
        """Adds one span of an item that left the stage at `left`, perf_counter seconds."""
        self.inside_seconds += left - span.enqueued
        self.service.add(span.service_seconds)
        self.waiting.add(span.waiting_seconds)
        self.cpu_seconds += span.cpu_seconds
        if span.runqueue_seconds is not None:
            self.runqueue_seconds += span.runqueue_seconds
            self.runqueue_known += 1
        for name, (wall, cpu) in span.parts.items():
            sums = self.parts.get(name) or self.parts.setdefault(name, [0.0, 0.0])
            sums[0] += wall
            sums[1] += cpu
        for name, asks in span.gil.items():
            self.gil[name] = self.gil.get(name, GilAsks()) + asks
        if span.counts:
            self.connections.add(span.counts)


class Observer:
    """Counts what the main thread hears. Used by that thread alone; others may read single counts.

    `stages`, `phase_items` and `phase_first_start` are of the phase under way, all else of the whole run.
    """

    def __init__(self, *, spans_kept: int = SPANS_KEPT) -> None:
        self.started = time.perf_counter()
        self.first_start: float | None = None  # perf_counter seconds of the first work on any item
        self.phase_first_start: float | None = None
        self.stages: defaultdict[str, StageSums] = defaultdict(StageSums)
        self.processed = 0  # items whose outcome is final in this run
        self.phase_items = 0  # and in this phase
        self.outcomes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.original_bytes = 0
        self.rendition_bytes = 0
        self.sample: Reservoir[bytes] = Reservoir(spans_kept)  # lines of spans.jsonl

    def describe(self, work: int) -> str:
        """How far the run is, for whoever asks. From any thread."""
        on_outcome = ", ".join(f"{self.outcomes[word]:,} {word}" for word in sorted(self.outcomes))
        return f"{self.processed:,} of {work:,} items{f' ({on_outcome})' if on_outcome else ''}"

    def begin_phase(self) -> None:
        """From now on the stages may run in other modes: what is measured of them begins anew."""
        self.stages = defaultdict(StageSums)
        self.phase_first_start = None
        self.phase_items = 0

    def on_outcome(self, outcome: Outcome, final: Outcome | None) -> None:
        """Hears an attempt's outcome, and what the frontier made of it: None when the item comes back."""
        left = time.perf_counter()
        for span in reversed(outcome.spans):  # a stage is left when the next one is entered
            self.stages[span.stage].add(span, left)
            left = span.enqueued
        if outcome.spans:
            started = outcome.spans[0].started
            self.first_start = min(started, self.first_start or started)
            self.phase_first_start = min(started, self.phase_first_start or started)
        word = "retried" if final is None else _word(final)
        self.outcomes[word] += 1
        if final is not None:
            self.processed += 1
            self.phase_items += 1
        if isinstance(final, Failure):
            self.failures[final.code] += 1
        if isinstance(outcome, Item):
            self._weigh(outcome)
        self.sample.offer(lambda: _span_line(outcome, word, self.started))

    def _weigh(self, item: Item[Any]) -> None:
        self.original_bytes += item.value.original_size_bytes
        self.rendition_bytes += item.value.size_bytes + item.value.kept_bytes


def _word(outcome: Outcome) -> str:
    if isinstance(outcome, Unchanged):
        return "unchanged"
    if isinstance(outcome, Rejection):
        return "rejected"
    return str(outcome.disposition) if isinstance(outcome, Failure) else "done"


def _span_line(outcome: Outcome, word: str, origin: float) -> bytes:
    """A line of spans.jsonl: one attempt at one item. Times in seconds since `origin`; parts as [wall, CPU].

    Put together by hand, for it is made for every item of a short run: every text in it is a word of ours.
    """
    code = json.dumps(outcome.code) if isinstance(outcome, Rejection | Failure) else '""'
    spans = ",".join([_span(span, origin) for span in outcome.spans])
    source = outcome.source
    return (
        f'{{"index":{source.index},"key":"{source.key_hex}","outcome":"{word}","code":{code},'
        f'"spans":[{spans}]}}\n'
    ).encode()


def _span(span: Span, origin: float) -> str:
    delay = span.runqueue_seconds
    parts = ",".join([f'"{name}":[{wall:.6f},{cpu:.6f}]' for name, (wall, cpu) in span.parts.items()])
    return (
        f'{{"stage":"{span.stage}","worker":"{span.worker}","enqueued":{span.enqueued - origin:.6f},'
        f'"started":{span.started - origin:.6f},"ended":{span.ended - origin:.6f},"cpu":{span.cpu_seconds:.6f},'
        f'"runqueue":{"null" if delay is None else f"{delay:.6f}"},"parts":{{{parts}}}}}'
    )
