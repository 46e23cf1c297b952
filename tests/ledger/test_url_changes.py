"""What the ledger says of an item is true of one URL, whatever URL the list has for it next."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchproc.errors import Retry
from batchproc.ledger import Imported, Ledger, LedgerView
from batchproc.model import Disposition, ListedItem, Outcome, Source
from batchproc.sink import read_manifest
from batchproc.sources.url import is_same_url
from tests.ledger.job import NOW, PLAN, Job, etag_of, failure, hash_key, identified, rejection, versions
from tests.ledger.rebuilding import damage, rebuild
from tests.ledger.test_crash import COUNT, run_until_killed
from tests.ledger.test_store import execute

A, B, C = (f"https://example.org/{name}.jpg" for name in "abc")


@contextmanager
def run(job: Job, rows: Sequence[ListedItem], plan: str = PLAN, **rule: object) -> Iterator[Ledger]:
    """One run with this list, from its import to its end; what becomes of the items is recorded inside."""
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan(plan)
        ledger.import_sources(rows, **({"keyed_by_id": True} | rule))  # type: ignore[arg-type]
        ledger.begin_run("run", NOW)
        yield ledger
        job.end(ledger)


def make(job: Job, url: str, number: int = 1) -> None:
    """An item whose image is done."""
    with run(job, identified({number: url})) as ledger:
        for source in ledger.work():
            ledger.record(job.rendition(source))


def record(job: Job, url: str, outcome: Callable[[Source], Outcome]) -> None:
    with run(job, identified({1: url})) as ledger:
        for source in ledger.work():
            ledger.record(outcome(source))


def quarantined(source: Source) -> Outcome:
    return failure(source, disposition=Disposition.QUARANTINED)


def deferred(source: Source) -> Outcome:
    return failure(source, disposition=Disposition.DEFERRED)


def tried_out(source: Source) -> Outcome:
    return failure(source, retry=Retry.NEXT_RUN)


def image_rows(job: Job) -> dict[str, Mapping[str, object]]:
    """The rows of metadata.jsonl by URL, each checked against its file: whole rows, and none that lies."""
    rows = {str(row["url"]): row for row in read_manifest(job.layout.metadata_path) if row is not None}
    for url, row in rows.items():
        content = (job.output / str(row["file_name"])).read_bytes()
        assert (url.encode() * 3, hashlib.sha256(content).hexdigest()) == (content, row["sha256"])
        assert (etag_of(url), url, f"of {url}") == (row["etag"], row["final_url"], row["caption"])
        assert hashlib.sha256(url.encode()).hexdigest() == row["source_sha256"]
    return rows


def failure_of(job: Job) -> tuple[str, str] | None:
    """The URL and the code that failures.jsonl tells of, if it tells of one."""
    with job.open() as ledger:
        return next(((str(row["url"]), str(row["code"])) for row in ledger.failure_rows()), None)


@pytest.mark.parametrize("refresh", [False, True])
def test_an_item_with_another_url_is_due_and_asks_without_the_old_validators(job: Job, refresh: bool) -> None:
    make(job, A)
    with run(job, identified({1: B})) as ledger:
        (source,) = ledger.pending(10, refresh=refresh)

        assert (B, None) == (source.url, source.refresh)
        assert (0, 1) == (ledger.counts().done, ledger.counts().pending)


def test_the_old_row_stays_whole_until_the_new_image_is_there(job: Job) -> None:
    make(job, A)
    before = job.layout.metadata_path.read_bytes()

    with run(job, identified({1: B})):
        pass
    assert before == job.layout.metadata_path.read_bytes()
    assert {A} == image_rows(job).keys()

    make(job, B)
    assert {B} == image_rows(job).keys()
    assert 1 == len(job.image_files())


@pytest.mark.parametrize("outcome", [failure, tried_out, quarantined, deferred])
def test_the_old_row_stays_while_the_new_url_fails_and_the_failure_is_the_new_urls(
    job: Job, outcome: Callable[[Source], Outcome]
) -> None:
    make(job, A)

    record(job, B, outcome)
    assert {A} == image_rows(job).keys()
    assert (B, "http.404") == failure_of(job)
    with job.open() as ledger:
        ledger.recover()
        assert {A} == image_rows(job).keys()


def test_the_old_image_goes_when_a_check_rejects_the_new_one(job: Job) -> None:
    make(job, A)

    record(job, B, rejection)
    assert {} == image_rows(job) == job.image_files()
    assert (B, "check.min_size") == failure_of(job)


def test_a_kill_before_the_old_image_of_a_rejected_one_is_gone_is_made_up_for(job: Job) -> None:
    make(job, A)
    with run(job, identified({1: B})):
        pass
    execute(job.layout.ledger_path, "UPDATE item SET state = 'rejected', due = 0, stage = 'transform'")

    with job.open() as ledger:
        assert [] == list(ledger.metadata_rows(job.images.file_name))
        assert 1 == ledger.recover().emptied
    assert {} == job.image_files()


@pytest.mark.parametrize("outcome", [None, failure, quarantined, deferred])
def test_the_old_url_back_again_is_done_as_it_was(job: Job, outcome: Callable[[Source], Outcome] | None) -> None:
    make(job, A)
    before = job.result()
    with run(job, identified({1: B})) as ledger:
        for source in ledger.work() if outcome else ():
            ledger.record(outcome(source))

    with run(job, identified({1: A})) as ledger:
        assert [] == ledger.pending(10)
        (source,) = ledger.pending(10, refresh=True)
        assert source.refresh is not None
        assert etag_of(A) == source.refresh.etag
    assert before == job.result()


def test_a_second_change_before_the_first_was_made_keeps_the_image_that_is_there(job: Job) -> None:
    make(job, A)
    record(job, B, failure)

    with run(job, identified({1: C})) as ledger:
        assert [C] == [source.url for source in ledger.pending(10)]
    assert {A} == image_rows(job).keys()
    assert None is failure_of(job)


@pytest.mark.parametrize("outcome", [failure, tried_out, quarantined, deferred, rejection])
def test_an_old_end_is_not_blamed_on_a_new_url(job: Job, outcome: Callable[[Source], Outcome]) -> None:
    for _ in range(2):
        record(job, A, outcome)

    with run(job, identified({1: B})) as ledger:
        assert [B] == [source.url for source in ledger.pending(10, max_runs=1)]
        assert [] == list(ledger.failure_rows())
        assert 1 == ledger.counts().pending
    assert b"" == job.layout.failures_path.read_bytes()


def test_another_spelling_is_no_other_url(job: Job) -> None:
    make(job, A)

    with run(job, identified({1: "HTTPS://EXAMPLE.org:443/%61.jpg"}), same_url=is_same_url) as ledger:
        assert [] == ledger.pending(10)
        (source,) = ledger.pending(10, refresh=True)
        assert source.refresh is not None
        assert etag_of(A) == source.refresh.etag


def test_a_line_that_is_no_url_any_more_fails_and_leaves_the_image(job: Job) -> None:
    make(job, A)
    before = job.layout.metadata_path.read_bytes()
    bad = [ListedItem(key=hash_key("id-1"), line=1, url="http://", code="input.url", message="the host is missing")]

    for _ in range(2):
        with run(job, bad) as ledger:
            assert [] == ledger.pending(10)
            assert (1, {"input.url": 1}) == (ledger.counts().bad_rows, ledger.failures_by_code())
        assert before == job.layout.metadata_path.read_bytes()
    assert ("http://", "input.url") == failure_of(job)
    make(job, A)
    assert before == job.layout.metadata_path.read_bytes()
    assert None is failure_of(job)


def test_a_pending_line_that_is_no_url_any_more_is_never_asked_for(job: Job) -> None:
    with run(job, identified({1: A})):
        pass
    bad = ListedItem(key=hash_key("id-1"), line=1, url="http://", code="input.url", message="the host is missing")

    with run(job, [bad]) as ledger:
        assert [] == ledger.pending(10)
        assert {"input.url": 1} == ledger.failures_by_code()


def test_absent_meanwhile_an_item_is_held_to_its_url(job: Job) -> None:
    make(job, A)
    with run(job, []):
        pass
    assert {} == image_rows(job)

    with run(job, identified({1: B})) as ledger:
        assert [B] == [source.url for source in ledger.pending(10)]
    assert {A} == image_rows(job).keys()
    with run(job, []):
        pass
    assert {} == image_rows(job)
    with run(job, identified({1: A})) as ledger:
        assert [] == ledger.pending(10)
    assert {A} == image_rows(job).keys()


def test_pruned_meanwhile_an_item_has_no_image(job: Job) -> None:
    make(job, A)
    with run(job, identified({1: B})):
        pass
    with job.open() as ledger:
        ledger.import_sources([])
        assert 1 == ledger.prune_absent()

    with run(job, identified({1: A})) as ledger:
        assert [A] == [source.url for source in ledger.pending(10)]
    assert {} == image_rows(job) == job.image_files()


def test_the_image_of_an_earlier_url_is_stale_with_another_plan(job: Job) -> None:
    make(job, A)
    record(job, B, failure)
    with job.open() as ledger:
        change = ledger.compare_plan("plan-two")

        assert change is not None
        assert 1 == change.stale
        assert 1 == ledger.adopt_plan("plan-two", remake_stale=True)
        assert [] == list(ledger.metadata_rows(job.images.file_name))
        assert [B] == [source.url for source in ledger.pending(10)]


def test_another_plan_and_another_url_at_once_believe_no_image(job: Job) -> None:
    make(job, A)
    with job.open() as ledger:
        ledger.adopt_plan("plan-two", remake_stale=True)
        ledger.import_sources(identified({1: B}), keyed_by_id=True)

        assert [] == list(ledger.metadata_rows(job.images.file_name))
        ledger.import_sources(identified({1: A}), keyed_by_id=True)
        assert [A] == [source.url for source in ledger.pending(10)]


def test_a_held_image_that_was_absent_during_a_change_of_the_plan_is_not_believed(job: Job) -> None:
    make(job, A)
    with run(job, identified({1: B})):
        pass
    with run(job, []):
        pass

    with run(job, identified({1: A}), plan="plan-two") as ledger:
        assert [A] == [source.url for source in ledger.pending(10)]
    assert {} == image_rows(job)


def test_afresh_no_image_of_an_earlier_url_is_believed(job: Job) -> None:
    make(job, A)
    with run(job, identified({1: B})):
        pass
    with job.open() as ledger:
        ledger.start_afresh()

        assert [] == list(ledger.metadata_rows(job.images.file_name))
        assert [B] == [source.url for source in ledger.pending(10)]


def moved(url: str) -> list[ListedItem]:
    """The same line of a list without ids, joined with another base_url."""
    return [ListedItem(key=hash_key("a.jpg"), line=1, url=url, extra_json=f'{{"caption": "of {A}"}}')]


def test_an_image_stays_done_under_the_url_that_it_came_from_when_the_base_changes(job: Job) -> None:
    with run(job, moved(A), keyed_by_id=False) as ledger:
        ledger.record(job.rendition(ledger.pending(1)[0]))

    with run(job, moved(B), keyed_by_id=False) as ledger:
        assert [] == ledger.pending(10)
        (source,) = ledger.pending(10, refresh=True)
        assert source.refresh is not None
        assert (B, "", "") == (source.url, source.refresh.etag, source.refresh.last_modified)
        ledger.record(failure(source))
    assert {A} == image_rows(job).keys()
    with run(job, moved(A), keyed_by_id=False) as ledger:
        (source,) = ledger.pending(10, refresh=True)
        assert source.refresh is not None
        assert etag_of(A) == source.refresh.etag


@pytest.mark.parametrize("outcome", [failure, rejection, quarantined])
def test_what_has_no_image_is_tried_again_when_the_base_changes(
    job: Job, outcome: Callable[[Source], Outcome]
) -> None:
    with run(job, moved(A), keyed_by_id=False) as ledger:
        ledger.record(outcome(ledger.pending(1)[0]))

    with run(job, moved(B), keyed_by_id=False) as ledger:
        assert [B] == [source.url for source in ledger.pending(10)]
    assert None is failure_of(job)


def test_the_same_id_with_two_urls_in_one_list_is_a_bad_row_whatever_the_second_is(job: Job) -> None:
    key = hash_key("id-1")
    rows = [
        ListedItem(key=key, line=1, url=A),
        ListedItem(key=key, line=2, url=B),
        ListedItem(key=key, line=3, url="http://", code="input.url", message="the host is missing"),
        ListedItem(key=key, line=4, url="HTTPS://example.ORG/a.jpg"),
    ]
    with job.open() as ledger:
        for expected in (Imported(new=3, duplicates=1, bad_rows=2), Imported(known=3, duplicates=1, bad_rows=2)):
            assert expected == ledger.import_sources(rows, keyed_by_id=True, same_url=is_same_url)
            assert [(2, "input.row"), (3, "input.url")] == [(row["line"], row["code"]) for row in ledger.failure_rows()]
            assert [A] == [source.url for source in ledger.pending(10)]


def test_a_contradiction_ends_when_the_list_has_one_url_again(job: Job) -> None:
    rows = [ListedItem(key=hash_key("id-1"), line=n, url=url) for n, url in ((1, A), (2, B))]
    with job.open() as ledger:
        ledger.import_sources(rows, keyed_by_id=True)

        assert Imported(known=1, absent=1) == ledger.import_sources(rows[1:], keyed_by_id=True)
        assert [B] == [source.url for source in ledger.pending(10)]
        assert [] == list(ledger.failure_rows())


@pytest.mark.parametrize("outcome", [None, failure, rejection])
def test_a_rebuild_knows_which_url_an_image_came_from(job: Job, outcome: Callable[[Source], Outcome] | None) -> None:
    make(job, A)
    with run(job, identified({1: B})) as ledger:
        for source in ledger.work() if outcome else ():
            ledger.record(outcome(source))
    before, ended = job.result(), failure_of(job)
    damage(job)

    rebuild(job, (), rows=identified({1: B}))
    with run(job, identified({1: B})) as ledger:
        assert ([] if outcome else [B]) == [source.url for source in ledger.pending(10)]
    assert before == job.result()
    assert ended == failure_of(job)


def test_a_rebuild_with_another_url_believes_neither_its_validators_nor_its_failure(job: Job) -> None:
    make(job, A)
    record(job, B, failure)
    damage(job)

    rebuild(job, (), rows=identified({1: C}))
    with run(job, identified({1: C})) as ledger:
        (source,) = ledger.pending(10, refresh=True)
        assert (C, None) == (source.url, source.refresh)
    assert {A} == image_rows(job).keys()
    assert None is failure_of(job)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], bytes, bytes]:
    """The result of a list of which every other URL has changed since the run before."""
    job = Job(tmp_path_factory.mktemp("undisturbed") / "out")
    for version in (0, 1):
        job.run_to_the_end(rows=versions(COUNT, version))
    return job.result()


def faults_of_scene(job: Job) -> list[str]:
    """What a killed run left that is not true: of the ledger's rows now, and of those at the end of the run before."""
    with LedgerView.open_view(job.layout.ledger_path) as view:
        known = {str(row["key"]): row for row in view.metadata_rows(job.images.file_name)}
        moving = view._fetch("SELECT lower(hex(key)), lower(hex(sha256)) FROM item WHERE state = 'staged'")
        gone = {key for (key,) in view._fetch("SELECT lower(hex(key)) FROM item WHERE state = 'rejected'")}
    hashes = {Path(name).stem: hashlib.sha256(content).hexdigest() for name, content in job.image_files().items()}
    faults = [f"{row['url']} has another file" for key, row in known.items() if row["sha256"] != hashes.get(key)]
    newer = {key: {str(row["sha256"])} for key, row in known.items()}
    newer |= {key: {digest} for key, digest in moving}
    for row in (*known.values(), *filter(None, read_manifest(job.layout.metadata_path))):
        key, url = str(row["key"]), str(row["url"])
        facts = (etag_of(url), url, f"of {url}", hashlib.sha256(url.encode() * 3).hexdigest())
        if facts != (row["etag"], row["final_url"], row["caption"], row["sha256"]):
            faults.append(f"{row} is not of one URL")
        if hashes.get(key) not in {row["sha256"], *newer.get(key, ())} and key not in gone:
            faults.append(f"{url} has a file that nobody knows")
    return faults


@pytest.mark.parametrize(
    "failpoint",
    [
        "ledger.import:2",
        "ledger.import_end:1",
        "ledger.before_staged:2",
        "ledger.in_staged:1",
        "ledger.after_staged:2",
        "ledger.between_renames:1",
        "ledger.between_renames:11",
        "ledger.between_removals:1",
        "ledger.before_done:1",
        "ledger.after_done:1",
        "sink.before_replace:1",
        "sink.before_replace:2",
    ],
)
def test_killed_while_urls_change_no_row_lies_and_the_next_start_ends_as_if_nothing_had_happened(
    job: Job, failpoint: str, undisturbed: tuple[dict[str, bytes], bytes, bytes]
) -> None:
    job.run_to_the_end(rows=versions(COUNT, 0))

    run_until_killed(job.output, failpoint, "change")
    assert [] == faults_of_scene(job)
    job.run_to_the_end(rows=versions(COUNT, 1))
    job.layout.sweep()
    assert undisturbed == job.result()
    assert [] == faults_of_scene(job)
    assert [] == job.temporary_files()
