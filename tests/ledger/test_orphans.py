"""A done item that ends without an image loses its file: ledger first, and whatever instant it is killed at."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batchproc.ledger import Recovered
from batchproc.ledger import files as recovery_module
from batchproc.ledger import writer as writer_module
from batchproc.model import Disposition, Outcome, Source
from tests.ledger.job import NOW, Job, failure, listing, rejection, urls
from tests.ledger.test_store import execute, spy_state

COUNT = 3
ENDS: dict[str, Callable[[Source], Outcome]] = {
    "rejected": rejection,
    "failed": failure,
    "quarantined": lambda source: failure(source, disposition=Disposition.QUARANTINED),
}


def make_again(job: Job, end: Callable[[Source], Outcome], *, refresh: bool = False) -> None:
    """The first item is done; then it is made again, by another plan or because it has changed, and ends otherwise."""
    with job.open() as ledger:
        job.begin(ledger, urls(COUNT))
        for source in ledger.pending(COUNT):
            ledger.record(job.rendition(source))
        job.end(ledger)
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one" if refresh else "plan-two", remake_stale=True)
        ledger.begin_run("again", NOW)
        ledger.record(end(ledger.pending(1, refresh=refresh)[0]))
        job.end(ledger)


def rows(job: Job) -> list[tuple[str, str | None]]:
    connection = sqlite3.connect(job.layout.ledger_path)
    try:
        return connection.execute("SELECT state, suffix FROM item ORDER BY id").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("end", ENDS)
def test_the_file_of_an_item_that_ends_without_an_image_goes(job: Job, end: str) -> None:
    make_again(job, ENDS[end])

    assert COUNT - 1 == len(job.image_files())
    assert (end, None) == rows(job)[0]


def test_a_refreshed_image_that_a_check_drops_takes_its_file_along(job: Job) -> None:
    make_again(job, rejection, refresh=True)

    assert COUNT - 1 == len(job.image_files()) == len(job.layout.metadata_path.read_text().splitlines())


@pytest.mark.parametrize("end", ["failed", "quarantined"])
def test_a_refresh_that_fails_keeps_image_and_row(job: Job, end: str) -> None:
    make_again(job, ENDS[end], refresh=True)

    assert COUNT == len(job.image_files()) == len(job.layout.metadata_path.read_text().splitlines())
    assert ("done", ".jpg") == rows(job)[0]


def test_an_item_that_is_only_deferred_keeps_its_file_until_it_is_decided(job: Job) -> None:
    make_again(job, lambda source: failure(source, disposition=Disposition.DEFERRED))

    assert COUNT == len(job.image_files())
    assert ("deferred", ".jpg") == rows(job)[0]


def test_the_row_tells_the_end_before_the_file_goes(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    remove = job.images.remove

    def watch(key_hex: str, suffix: str) -> None:
        seen.append(spy_state(job.layout.ledger_path, key_hex))
        remove(key_hex, suffix)

    monkeypatch.setattr(job.images, "remove", watch)
    make_again(job, rejection)

    assert ["rejected"] == seen


@pytest.mark.parametrize("point", ["after_staged", "between_removals", "before_done"])
def test_a_kill_leaves_a_name_by_which_the_next_start_finds_the_file(
    job: Job, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    is_second_run: list[bool] = []

    def pass_point(name: str) -> None:
        if name == f"ledger.{point}" and is_second_run:
            raise RuntimeError("killed")

    monkeypatch.setattr(writer_module, "failpoint", pass_point)
    monkeypatch.setattr(recovery_module, "failpoint", pass_point)

    def reject(source: Source) -> Outcome:
        is_second_run.append(True)
        return rejection(source)

    with pytest.raises(Exception, match="killed"):
        make_again(job, reject)
    monkeypatch.undo()
    assert ("rejected", ".jpg") == rows(job)[0]

    with job.open() as ledger:
        assert Recovered(emptied=1) == ledger.recover()
    with job.open() as ledger:
        assert Recovered() == ledger.recover()
    assert COUNT - 1 == len(job.image_files())
    assert ("rejected", None) == rows(job)[0]


def test_a_stale_file_of_another_suffix_goes_too(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(job.rendition(source))
        job.end(ledger)
    old = job.images.final_path(source.key_hex, ".webp")
    old.write_bytes(b"an older one, of a kill between two renames")
    execute(job.layout.ledger_path, "UPDATE item SET state = 'pending', due = 1, stale_suffix = '.webp'")
    with job.open() as ledger:
        job.begin(ledger)
        ledger.record(rejection(source))
        ledger.flush()

    assert {} == job.image_files()


def test_a_folder_in_the_place_of_the_file_stays_and_stops_nothing(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(1))
        (source,) = ledger.pending(1)
        ledger.record(job.rendition(source))
        job.end(ledger)
    path: Path = job.images.final_path(source.key_hex, ".jpg")
    path.unlink()
    path.mkdir()
    execute(job.layout.ledger_path, "UPDATE item SET state = 'pending', due = 1")
    with job.open() as ledger:
        job.begin(ledger)
        ledger.record(rejection(source))
        ledger.flush()

        assert 1 == ledger.counts().rejected
    assert path.is_dir()


def test_a_source_that_returns_under_another_plan_is_made_again(job: Job) -> None:
    with job.open() as ledger:
        job.begin(ledger, urls(2))
        for source in ledger.pending(2):
            ledger.record(job.rendition(source))
        job.end(ledger)
    with job.open() as ledger:
        ledger.import_sources(listing(["https://example.org/other.jpg"]))
        assert ledger.compare_plan("plan-two") is None  # nothing in the list is stale
        ledger.adopt_plan("plan-two")
        ledger.import_sources(listing(urls(2)))

        assert (0, 2) == (ledger.counts().done, ledger.counts().pending)
