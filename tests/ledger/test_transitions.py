"""Any order of records, flushes, crashes, list changes and fresh starts leaves a ledger that tells the truth."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from batchproc.errors import BatchprocError, Retry
from batchproc.ledger import files as recovery_module
from batchproc.ledger import writer as writer_module
from batchproc.model import Disposition, Outcome, Source
from tests.ledger.job import NOW, Job, failure, listing, rejection, urls

COUNT = 12
POINTS = [
    "before_staged", "in_staged", "after_staged", "between_renames", "between_removals", "before_done", "after_done",
]  # fmt: skip
# What is recorded -> the state of the row, and whether the item is work again.
ENDS: dict[str, tuple[str, bool]] = {
    "done": ("done", False),
    "rejected": ("rejected", False),
    "permanent": ("failed", False),
    "transient": ("failed", True),
    "quarantined": ("quarantined", False),
    "deferred": ("deferred", True),
}
PENDING = ("pending", True)


class Killed(Exception):
    """Stands for SIGKILL inside this process: the writer ends at the point, with no last word."""


class LedgerMachine(RuleBasedStateMachine):
    """The real ledger, and beside it what must be true: for each URL, where its row may stand now."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(writer_module, "failpoint", self.pass_point)
        self.patch.setattr(recovery_module, "failpoint", self.pass_point)
        self.patch.setattr(writer_module, "BATCH", 3)
        self.armed, self.passes_left, self.version = "", 0, 0
        self.folder = Path(tempfile.mkdtemp())
        self.job = Job(self.folder / "out")
        self.possible: dict[str, set[tuple[str, bool]]] = {url: {PENDING} for url in urls(COUNT)}
        self.recorded: dict[str, tuple[str, bool]] = {}  # since the last flush
        self.listed = urls(COUNT)
        self.open()

    def pass_point(self, name: str) -> None:
        if name == f"ledger.{self.armed}":
            self.passes_left -= 1
            if self.passes_left == 0:
                raise Killed(name)

    def open(self) -> None:
        self.armed = ""
        self.ledger = self.job.open().__enter__()
        self.ledger.recover()
        self.ledger.adopt_plan("one")
        self.ledger.import_sources(listing(self.listed))
        self.ledger.begin_run("again", NOW)

    def crash(self) -> None:
        """What a kill leaves: files, and rows as last committed. Then the next start."""
        self.ledger._stop_writer()  # it has ended already, or ends now: the error is final
        self.ledger._reader.close()
        self.ledger._connection.close()
        self.open()
        self.settle(self.found())
        assert [] == self.job.temporary_files()

    def settle(self, found: dict[str, tuple[str, bool]]) -> None:
        """Checks every row against where it may stand; from now on it stands where it was found."""
        for url, possible in self.possible.items():
            assert found[url] in possible, (url, found[url], possible)
        self.possible = {url: {state} for url, state in found.items()}
        self.recorded = {}

    def found(self) -> dict[str, tuple[str, bool]]:
        """Every row: what it is, or was before it left the list."""
        rows = self.ledger._fetch("SELECT url, coalesce(before_absent, state), due FROM item")
        return {url: (state, bool(due)) for url, state, due in rows}

    def attempt(self, action: Callable[[], object]) -> bool:
        """Whether the writer survived this."""
        try:
            action()
        except BatchprocError:
            self.crash()
            return False
        return True

    def make(self, source: Source, end: str) -> Outcome:
        match end:
            case "done":
                self.version += 1
                return self.job.rendition(source, text=f"{source.url} {self.version}")
            case "rejected":
                return rejection(source)
            case "permanent":
                return failure(source)
            case "transient":
                return failure(source, retry=Retry.NEXT_RUN)
        return failure(source, disposition=Disposition(end))

    def record_all(self, pairs: Iterable[tuple[Source, str]]) -> None:
        for source, end in pairs:
            self.possible[source.url].add(ENDS[end])
            self.recorded[source.url] = ENDS[end]
            self.ledger.record(self.make(source, end))

    @rule(ends=st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=COUNT))
    def record(self, ends: list[str]) -> None:
        work = [source for source in self.ledger.pending(COUNT, max_runs=99) if source.url not in self.recorded]
        self.attempt(lambda: self.record_all(zip(work, ends, strict=False)))

    @rule()
    def record_what_is_not_charged(self) -> None:
        work = [source for source in self.ledger.pending(COUNT, max_runs=99) if source.url not in self.recorded]
        self.attempt(lambda: [self.ledger.record(failure(source, code="cancelled")) for source in work])

    @rule()
    def flush(self) -> None:
        if self.attempt(self.ledger.flush):
            self.possible.update({url: {state} for url, state in self.recorded.items()})
            self.settle(self.found())

    @rule(point=st.sampled_from(POINTS), passes=st.integers(1, 4))
    def arm_a_kill(self, point: str, passes: int) -> None:
        self.passes_left, self.armed = passes, point

    @rule(listed=st.sets(st.sampled_from(urls(COUNT)), min_size=1))
    def change_the_list(self, listed: set[str]) -> None:
        self.listed = sorted(listed)
        if self.attempt(self.ledger.finish_recording):
            self.possible.update({url: {state} for url, state in self.recorded.items()})
            self.ledger.import_sources(listing(self.listed))
            self.settle(self.found())
            self.ledger.begin_run("another list", NOW)

    @rule()
    def start_afresh(self) -> None:
        if self.attempt(self.ledger.finish_recording):
            self.possible.update({url: {state} for url, state in self.recorded.items()})
            self.ledger.start_afresh()
            self.possible.update({url: {PENDING} for url in self.listed})
            self.settle(self.found())
            self.ledger.begin_run("afresh", NOW)

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.ledger.counts()
        parts = counts.done, counts.rejected, counts.failed, counts.quarantined, counts.deferred, counts.pending
        assert (len(self.listed), COUNT - len(self.listed)) == (sum(parts), counts.absent)

    @invariant()
    def what_is_done_has_its_file(self) -> None:
        if self.recorded:
            return  # a new rendition may have the name already: its row says `staged`, not yet `done`
        for row in self.ledger.metadata_rows(self.job.images.file_name):
            content = (self.job.output / str(row["file_name"])).read_bytes()
            assert row["sha256"] == hashlib.sha256(content).hexdigest()

    @invariant()
    def what_ended_without_an_image_has_no_file(self) -> None:
        if self.recorded:
            return  # the file goes after the commit
        ended = self.ledger._fetch("SELECT key FROM item WHERE state IN ('rejected', 'failed', 'quarantined')")
        assert not {key.hex() for (key,) in ended} & {Path(name).stem for name in self.job.image_files()}

    @invariant()
    def work_is_what_may_still_pass(self) -> None:
        if self.recorded:
            return
        due = [url for url in self.listed if self.possible[url] <= {PENDING, ("failed", True), ("deferred", True)}]
        assert due == [source.url for source in self.ledger.work(max_runs=99)]

    def teardown(self) -> None:
        self.armed = ""
        with closing(self.ledger._reader), closing(self.ledger._connection):
            self.ledger._stop_writer()
        self.job.run_to_the_end(urls(COUNT))
        with self.job.open() as ledger:
            assert 0 == ledger.count_work()
            files = {str(row["file_name"]) for row in ledger.metadata_rows(self.job.images.file_name)}
            assert files <= {f"images/{name}" for name in self.job.image_files()}
        self.patch.undo()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLedgerTransitions = LedgerMachine.TestCase


@pytest.mark.slow
class TestManyLedgerTransitions(LedgerMachine.TestCase):  # type: ignore[name-defined,misc]
    """The same with many more histories."""

    settings = settings(LedgerMachine.TestCase.settings, max_examples=500, stateful_step_count=60)
