"""A failure whose cause was in the config is due again once that part of the config has changed, and no other."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing

import pytest

from batchproc.errors import Retry
from batchproc.ledger import Ledger, LedgerView
from batchproc.model import Disposition, Rejection
from batchproc.record.run_json import DueAgain
from tests.ledger.job import NOW, PLAN, Job, failure, listing, urls
from tests.ledger.old_ledger import write_old_ledger

ADDRESSES, LARGE, STEPS = "download.allow_addresses", "download.max_bytes", "transform.steps"
BEFORE = {ADDRESSES: "a1", LARGE: "b1", STEPS: "c1"}
CODES = ("policy.address", "too_large", "http.404", "check.min_size")  # of the items, in their order
MOST = 3


def begin(ledger: Ledger, deciding: Mapping[str, str]) -> DueAgain:
    ledger.recover()
    ledger.adopt_plan(PLAN)
    ledger.import_sources(listing(urls(len(CODES))))
    again = ledger.make_due_again(deciding, max_runs=MOST)
    ledger.begin_run("20261122T081530Z", NOW, deciding)
    return again


def run(job: Job, deciding: Mapping[str, str], **facts: object) -> tuple[DueAgain, list[int]]:
    """One run in which all fails again; what was due again, and which items were tried."""
    with job.open() as ledger:
        again = begin(ledger, deciding)
        tried = list(ledger.work(max_runs=MOST))
        for source in tried:
            code = CODES[source.index]
            rejected = Rejection(source=source, stage="transform", code=code, message="too small")
            failed = failure(source, code=code, **facts)  # type: ignore[arg-type]
            ledger.record(rejected if code.startswith("check.") else failed)
        job.end(ledger)
    return again, [source.index for source in tried]


def test_nothing_changed_makes_nothing_due(job: Job) -> None:
    assert (DueAgain(), [0, 1, 2, 3]) == run(job, BEFORE)
    assert (DueAgain(), []) == run(job, BEFORE)


@pytest.mark.parametrize(("key", "item"), [(ADDRESSES, 0), (LARGE, 1), (STEPS, 3)])
def test_what_a_changed_key_decided_is_due_again(job: Job, key: str, item: int) -> None:
    run(job, BEFORE)

    assert (DueAgain(items=1, because=(key,)), [item]) == run(job, BEFORE | {key: "other"})
    assert (DueAgain(), []) == run(job, BEFORE | {key: "other"})


def test_what_was_tried_with_the_changed_config_already_is_not_due_a_second_time(job: Job) -> None:
    run(job, BEFORE)
    run(job, BEFORE | {LARGE: "b2"})

    assert (DueAgain(items=1, because=(ADDRESSES,)), [0]) == run(job, BEFORE | {LARGE: "b2", ADDRESSES: "a2"})


def test_a_run_that_is_killed_before_its_first_item_loses_nothing(job: Job) -> None:
    run(job, BEFORE)
    with job.open() as ledger:
        begin(ledger, BEFORE | {LARGE: "b2"})

    assert [1] == run(job, BEFORE | {LARGE: "b2"})[1]


def test_a_transient_failure_that_was_given_up_is_due_again_too(job: Job) -> None:
    for _ in range(MOST):
        run(job, BEFORE, retry=Retry.BACKOFF)
    assert [] == run(job, BEFORE)[1]

    assert (DueAgain(items=1, because=(LARGE,)), [1]) == run(job, BEFORE | {LARGE: "b2"})


def test_the_quarantined_are_due_again_where_the_config_decided(job: Job) -> None:
    run(job, BEFORE, disposition=Disposition.QUARANTINED)

    assert [1] == run(job, BEFORE | {LARGE: "b2"})[1]


def test_a_key_that_nobody_noted_or_knows_has_not_changed(job: Job) -> None:
    run(job, {ADDRESSES: "a1"})

    assert (DueAgain(), []) == run(job, {LARGE: "b2"})


def test_items_that_left_the_list_or_are_bad_lines_stay_as_they_are(job: Job) -> None:
    run(job, BEFORE)
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan(PLAN)
        ledger.import_sources(listing(urls(1)))

        assert DueAgain() == ledger.make_due_again(BEFORE | {LARGE: "b2"}, max_runs=MOST)


def test_the_view_tells_what_the_next_run_will_do_and_changes_nothing(job: Job) -> None:
    run(job, BEFORE)

    with LedgerView.open_view(job.layout.ledger_path) as view:
        assert DueAgain(items=1, because=(LARGE,)) == view.find_due_again(BEFORE | {LARGE: "b2"}, max_runs=MOST)
        assert 0 == view.count_work(max_runs=MOST)


def test_the_manifest_of_failures_loses_what_is_due_again(job: Job) -> None:
    run(job, BEFORE)
    with job.open() as ledger:
        begin(ledger, BEFORE | {LARGE: "b2"})
        ledger.finish_recording()

        assert not ledger.manifests_are_current()
        assert ["policy.address", "http.404", "check.min_size"] == [row["code"] for row in ledger.failure_rows()]


def test_a_ledger_of_an_earlier_version_knows_no_causes_and_stays_as_it_is(job: Job) -> None:
    path = write_old_ledger(job.output)
    with LedgerView.open_view(path) as view:
        assert DueAgain() == view.find_due_again(BEFORE, max_runs=MOST)
    with job.open() as ledger:
        assert DueAgain() == ledger.make_due_again(BEFORE, max_runs=MOST)


def test_only_fingerprints_are_stored(job: Job) -> None:
    run(job, BEFORE)

    with closing(sqlite3.connect(job.layout.ledger_path)) as connection:
        ((stored,),) = connection.execute("SELECT deciding_json FROM run").fetchall()
    assert BEFORE == json.loads(stored)
