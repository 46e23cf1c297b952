"""What is recorded is kept, and what it says about the next run is true."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest

from batchproc.errors import DiskError, ExitCode, Retry, UsageError
from batchproc.ledger import Imported, Ledger, LedgerView, PlanChange
from batchproc.model import Disposition, Item
from tests.ledger.job import NOW, PLAN, Job, failure, listed, listing, rejection, urls


def test_a_recorded_rendition_has_its_final_name_and_its_row(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(job.rendition(source))
        ledger.flush()

        assert 1 == ledger.counts().done
        assert {f"{source.key_hex[:2]}/{source.key_hex}.jpg": (source.url * 3).encode()} == job.image_files()
        assert [] == job.temporary_files()


def test_a_file_has_no_final_name_before_its_row_is_committed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with job.open() as ledger, sqlite3.connect(job.layout.ledger_path) as spy:
        job.begin(ledger, urls(3))
        place = job.images.place

        def watch(name: str, key_hex: str, suffix: str) -> None:
            seen.append(spy_state(job.layout.ledger_path, key_hex))
            place(name, key_hex, suffix)

        monkeypatch.setattr(job.images, "place", watch)
        for source in ledger.pending(3):
            ledger.record(job.rendition(source))
        ledger.flush()
    spy.close()

    assert ["staged"] * 3 == seen


def spy_state(path: Path, key_hex: str) -> str:
    connection = sqlite3.connect(path)
    try:
        query = "SELECT state FROM item WHERE key = ?"
        return str(connection.execute(query, (bytes.fromhex(key_hex),)).fetchone()[0])
    finally:
        connection.close()


def test_more_outcomes_than_the_inbox_holds_are_all_kept(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(3_000))
        for source in ledger.work():
            ledger.record(rejection(source))
        ledger.flush()

        assert 3_000 == ledger.counts().rejected


def test_leaving_the_block_keeps_what_was_recorded(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        for source in ledger.pending(2):
            ledger.record(job.rendition(source))

    with job.open() as ledger:
        assert 2 == ledger.counts().done


@pytest.mark.parametrize(
    ("retry", "disposition", "is_work"),
    [
        pytest.param(Retry.NEVER, Disposition.FAILED, False, id="permanent"),
        pytest.param(Retry.ONCE, Disposition.FAILED, False, id="once-more-was-tried"),
        pytest.param(Retry.BACKOFF, Disposition.FAILED, True, id="backoff"),
        pytest.param(Retry.HOST, Disposition.FAILED, True, id="host"),
        pytest.param(Retry.NEXT_RUN, Disposition.FAILED, True, id="next-run"),
        pytest.param(Retry.BACKOFF, Disposition.QUARANTINED, False, id="quarantined"),
        pytest.param(Retry.NEVER, Disposition.DEFERRED, True, id="deferred"),
    ],
)
def test_the_next_run_tries_again_what_may_pass_by_then(
    job: Job, retry: Retry, disposition: Disposition, is_work: bool
) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(failure(source, retry=retry, disposition=disposition))
        ledger.flush()

        assert is_work == bool(ledger.pending(1))
        assert 1 == getattr(ledger.counts(), disposition)


def test_a_transient_failure_is_tried_in_as_many_runs_as_allowed(job: Job) -> None:
    tried = 0
    for number in range(6):
        with job.open() as ledger:
            job.begin(ledger, urls(1) if number == 0 else ())
            for source in ledger.work(max_runs=3):
                tried += 1
                ledger.record(failure(source, retry=Retry.BACKOFF))

    assert 3 == tried


def test_a_deferred_item_is_never_charged(job: Job) -> None:
    for number in range(4):
        with job.open() as ledger:
            job.begin(ledger, urls(1) if number == 0 else ())
            (source,) = ledger.work(max_runs=2)
            ledger.record(failure(source, disposition=Disposition.DEFERRED))


@pytest.mark.parametrize("code", ["cancelled", "io.nospace"])
def test_what_is_not_the_images_fault_leaves_its_row_alone(job: Job, code: str) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(failure(source, code=code))
        ledger.flush()

        assert (1, 0) == (ledger.counts().pending, ledger.counts().failed)


def test_retry_failed_makes_failures_and_the_quarantined_pending(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(3))
        done, failed, quarantined = ledger.pending(3)
        ledger.record(job.rendition(done))
        ledger.record(failure(failed))
        ledger.record(failure(quarantined, disposition=Disposition.QUARANTINED))
        ledger.finish_recording()

        assert 0 == ledger.retry_failed(["dns"])
        assert 2 == ledger.retry_failed()
        assert [failed, quarantined] == ledger.pending(3)


def test_start_afresh_makes_everything_pending_but_bad_lines(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        done, quarantined = ledger.pending(2)
        ledger.record(job.rendition(done))
        ledger.record(failure(quarantined, disposition=Disposition.QUARANTINED))
        ledger.finish_recording()
        ledger.import_sources([*listing(urls(2)), listed("no url", code="input.url", message="no")])

        assert 2 == ledger.start_afresh()
        assert [done, quarantined] == ledger.pending(3)


def test_work_is_read_in_windows_by_position(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(5)))

        assert [[0, 1], [2, 3], [4], []] == [
            [source.index for source in ledger.pending(2, after)] for after in (-1, 1, 3, 4)
        ]


def test_counts_add_up_while_a_run_is_under_way(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(40))
        for source in ledger.pending(30):
            ledger.record(job.outcome(source))
        ledger.flush()
        counts = ledger.counts()

        parts = (counts.done, counts.rejected, counts.failed, counts.quarantined, counts.deferred, counts.pending)
        assert (40, 10, 21, 4, 5) == (counts.items, counts.pending, counts.done, counts.rejected, counts.failed)
        assert counts.items == sum(parts)


def test_an_unknown_item_is_an_error_and_not_a_silence(job: Job) -> None:
    with job.open() as ledger, job.open() as stranger:
        stranger.recover()
        ledger.recover()
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        unknown = type(source)(index=99, line=1, url=source.url, key=source.key)
        ledger.record(failure(unknown))

        with pytest.raises(Exception, match="1 outcomes for 0 items"):
            ledger.flush()


def test_metadata_rows_have_the_contracts_columns_in_order(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([listed("https://example.org/a", extra_json='{"label": "cat", "width": 3}')])
        job.begin(ledger)
        (source,) = ledger.pending(1)
        ledger.record(job.rendition(source))
        job.end(ledger)

    (row,) = map(json.loads, job.layout.metadata_path.read_text().splitlines())
    columns = (
        "file_name url key width height original_width original_height original_format size_bytes sha256 "
        "source_sha256 final_url status_code etag last_modified image_notes image_recipe label list_width"
    )
    assert columns.split() == list(row)
    assert (job.output / row["file_name"]).stat().st_size == row["size_bytes"]
    assert "icc profile dropped: corrupt; eXIf ignored" == row["image_notes"]
    assert (256, 192, 2048, 1536) == (row["width"], row["height"], row["original_width"], row["original_height"])
    assert ("https://example.org/a", 200, "cat") == (row["final_url"], row["status_code"], row["label"])


def test_failure_rows_have_the_contracts_columns_in_order(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(failure(source, message="half a pair \udc80, a quote \", ünï"))
        ledger.flush()

        (row,) = ledger.failure_rows()
        expected = {
            "url": source.url, "line": 1, "key": source.key_hex, "stage": "download", "outcome": "failed",
            "code": "http.404", "message": "half a pair \\udc80, a quote \", ünï", "hint": "look at the URL",
            "attempts": 2,
        }  # fmt: skip
        assert list(expected.items()) == list(row.items())


def test_manifests_are_current_until_something_changes(job: Job) -> None:
    job.run_to_the_end(urls(3))
    with job.open() as ledger:
        assert ledger.manifests_are_current()
        ledger.start_afresh()
        assert not ledger.manifests_are_current()


def test_another_plan_is_told_with_what_changed(job: Job) -> None:
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("one", {"output.format": "jpeg", "quality": 85})
        ledger.import_sources(listing(urls(2)))
        ledger.begin_run("r", NOW)
        ledger.record(job.rendition(ledger.pending(1)[0]))
        ledger.finish_recording()
        change = ledger.compare_plan("two")

    assert PlanChange(before="one", settings={"output.format": "jpeg", "quality": 85}, stale=1) == change


def test_a_plan_that_is_the_same_by_its_settings_is_taken_over(job: Job) -> None:
    job.run_to_the_end(urls(2))
    with job.open() as ledger:
        ledger.take_over_plans("two", {"quality": 1}, lambda before, after: False)
        assert ledger.compare_plan("two") is not None

        ledger.take_over_plans("two", {"quality": 1}, lambda before, after: (before, after) == ({}, {"quality": 1}))
        assert ledger.compare_plan("two") is None
        ledger.adopt_plan("two", {"quality": 1})
        assert 0 == ledger.adopt_plan("two", {"quality": 1}, remake_stale=True)


def test_images_of_another_recipe_are_counted_and_made_again_on_demand_alone(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(3))
        for source in ledger.pending(2):
            ledger.record(job.rendition(source))
        ledger.finish_recording()
        assert 0 == ledger.count_outdated()

        assert ledger.compare_plan(PLAN) is None
        assert 0 == ledger.adopt_plan(PLAN, recipe="new")
        assert (2, 1) == (ledger.count_outdated(), ledger.count_work())
        ledger.import_sources(listing(urls(3)[2:]))
        assert Imported(known=3, returned=2) == ledger.import_sources(listing(urls(3)))
        assert 1 == ledger.count_work()
        assert 2 == ledger.adopt_plan(PLAN, recipe="new", remake_stale=True)
        assert (0, 3) == (ledger.count_outdated(), ledger.count_work())


def test_another_plan_is_nothing_to_tell_before_there_are_results(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        ledger.record(failure(ledger.pending(1)[0]))
        ledger.finish_recording()

        assert ledger.compare_plan("two") is None


def test_an_accepted_plan_makes_stale_results_pending_and_keeps_failed_downloads(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(4))
        done, rejected, broken, missing = ledger.pending(4)
        ledger.record(job.rendition(done))
        ledger.record(rejection(rejected))
        ledger.record(failure(broken, stage="transform"))
        ledger.record(failure(missing))
        ledger.finish_recording()

        assert 3 == ledger.adopt_plan("two", remake_stale=True)
        assert [done, rejected, broken] == ledger.pending(4)
        assert ledger.compare_plan("two") is None


def test_going_back_to_the_first_plan_spares_what_it_made(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        first, second = ledger.pending(2)
        ledger.record(job.rendition(first))
        ledger.finish_recording()
        ledger.adopt_plan("two")
        ledger.begin_run("r2", NOW)
        ledger.record(job.rendition(second))
        ledger.finish_recording()

        change = ledger.compare_plan("plan-one")
        assert change is not None
        assert 1 == change.stale


def test_a_rendition_with_another_suffix_removes_the_file_of_the_old_one(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(job.rendition(source))
        ledger.finish_recording()
        ledger.start_afresh()
        ledger.begin_run("r2", NOW)
        ledger.record(job.rendition(source, suffix=".webp"))
        ledger.flush()

    assert [f"{source.key_hex[:2]}/{source.key_hex}.webp"] == list(job.image_files())


def test_a_folder_in_the_place_of_a_file_fails_that_item_alone(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        blocked, free = ledger.pending(2)
        job.images.final_path(blocked.key_hex, ".jpg").mkdir(parents=True)
        ledger.record(job.rendition(blocked))
        ledger.record(job.rendition(free))
        ledger.flush()

        assert {"io.other": 1} == ledger.failures_by_code()
        assert 1 == ledger.counts().done


def test_runs_are_remembered_newest_first(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        ledger.finish_recording()
        ledger.end_run(ended=NOW, exit_code=3, counters={"processed": 1})
        ledger.begin_run("second", NOW)

        second, first = ledger.last_runs()
        assert ("second", False, None) == (second.name, second.is_clean, second.exit_code)
        assert (True, 3, {"processed": 1}, "2026-11-22T08:15:30.000+00:00") == (
            first.is_clean, first.exit_code, first.counters, first.ended,
        )  # fmt: skip


def test_the_ledger_is_for_its_owner_alone(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources(listing(urls(1)))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in job.output.glob("batchproc.db*")}

    assert {"batchproc.db": 0o600, "batchproc.db-wal": 0o600, "batchproc.db-shm": 0o600} == modes


def test_a_ledger_of_a_newer_version_is_refused_untouched(job: Job) -> None:
    job.run_to_the_end(urls(1))
    execute(job.layout.ledger_path, "PRAGMA user_version = 99")
    before = job.layout.ledger_path.read_bytes()

    with pytest.raises(UsageError, match="version 99, made by a newer batchproc") as caught:
        job.open()
    assert ExitCode.USAGE == caught.value.exit_code
    assert before == job.layout.ledger_path.read_bytes()


def test_the_database_of_another_program_is_refused(job: Job) -> None:
    execute(job.layout.ledger_path, "CREATE TABLE bookmarks (url)")

    with pytest.raises(UsageError, match="another program"):
        job.open()


def execute(path: Path, statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statements)
    connection.commit()
    connection.close()


def test_a_file_that_is_no_database_is_told_with_the_way_out(job: Job) -> None:
    job.layout.ledger_path.write_bytes(b"not a database, just text " * 100)

    with pytest.raises(DiskError, match=r"batchproc\.db: the ledger is damaged\. `batchproc rebuild") as caught:
        job.open()
    assert ExitCode.DISK == caught.value.exit_code


def test_a_damaged_page_is_found_after_an_unclean_end(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2_000))
        ledger.finish_recording()  # no end_run: the row says that the run was killed
    content = bytearray(job.layout.ledger_path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xaa" * 4096
    job.layout.ledger_path.write_bytes(content)

    with pytest.raises(DiskError, match="damaged"):
        job.open()


def test_a_view_reads_and_cannot_write(job: Job) -> None:
    job.run_to_the_end(urls(12))
    with LedgerView.open_view(job.layout.ledger_path) as view:
        assert (12, 9) == (view.counts().items, view.counts().done)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            view._reader.execute("DELETE FROM item")


def test_a_view_of_a_job_that_never_ran_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the job has not run"):
        LedgerView.open_view(tmp_path / "batchproc.db")


def test_a_host_that_asked_for_a_pause_is_left_alone_in_the_next_run(job: Job) -> None:
    with job.open() as ledger:
        ledger.remember_pauses({"a.example": 1_500.0, "b.example": 1_010.0, "over.example": 900.0})
    with job.open() as ledger:
        assert {"a.example": 1_100.0, "b.example": 1_010.0} == ledger.pauses(1_000.0, longest_seconds=100.0)
        assert {"a.example": 1_120.0} == ledger.pauses(1_020.0, longest_seconds=100.0)
        assert {} == ledger.pauses(2_000.0, longest_seconds=100.0)


def test_sources_are_read_again_by_their_positions_with_their_validators(job: Job) -> None:
    job.run_to_the_end(urls(12))
    with job.open() as ledger:
        sources = list(ledger.work(refresh=True))
        assert [sources[1], sources[3]] == ledger.reread([sources[3].index, sources[1].index])
        assert any(source.refresh is not None for source in sources)


def test_nothing_is_recorded_before_a_run(job: Job) -> None:
    with job.open() as ledger:
        ledger.recover()
        ledger.import_sources(listing(urls(1)))
        outcome = job.rendition(ledger.pending(1)[0])

        with pytest.raises(LookupError, match="no run was begun"):
            ledger.record(outcome)
        with pytest.raises(LookupError, match="no plan was adopted"):
            ledger.begin_run("r", NOW)


def test_only_the_writer_writes_during_a_run(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))

        with pytest.raises(LookupError, match="the writer owns the ledger"):
            ledger.retry_failed()


def test_power_makes_names_durable_before_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path / "out", power=True)
    synced: list[str] = []
    monkeypatch.setattr("batchproc.sink.layout.sync_folder", lambda path: synced.append(path.name))
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        item: Item = job.rendition(ledger.pending(1)[0])
        ledger.record(item)
        ledger.flush()
        assert isinstance(ledger, Ledger)
        assert 2 == ledger._connection.execute("PRAGMA synchronous").fetchone()[0]

    assert ["images", item.source.key_hex[:2]] == synced
