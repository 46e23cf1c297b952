"""The files of absent items go, nothing else does, and a kill in between leaves no lie."""

from pathlib import Path

import pytest

from tests.ledger.job import Job, listing, urls
from tests.ledger.test_crash import run_until_killed

COUNT = 60  # of tests.ledger.killed


def relist(job: Job, names: list[str], *, prune: bool = True) -> int:
    """What a start with another list does, up to its work. Returns how many files went."""
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one")
        ledger.import_sources(listing(names))
        return ledger.prune_absent() if prune else 0


def test_the_files_of_absent_items_go_and_no_others(job: Job) -> None:
    job.run_to_the_end(urls(4))
    before = job.image_files()

    assert 2 == relist(job, urls(2))

    assert {name: content for name, content in before.items() if content in kept(2)} == job.image_files()
    assert 2 == len(job.image_files())


def kept(count: int) -> list[bytes]:
    return [url.encode() * 3 for url in urls(count)]


def test_pruning_again_finds_nothing(job: Job) -> None:
    job.run_to_the_end(urls(3))
    relist(job, urls(1))

    assert 0 == relist(job, urls(1))


def test_a_pruned_item_that_returns_is_fetched_again(job: Job) -> None:
    job.run_to_the_end(urls(3))
    whole = job.result()
    relist(job, urls(1))

    job.run_to_the_end(urls(3))

    assert whole == job.result()


def test_an_absent_item_that_is_not_pruned_returns_as_it_was(job: Job) -> None:
    job.run_to_the_end(urls(3))
    relist(job, urls(1), prune=False)

    with job.open() as ledger:
        job.begin(ledger, urls(3))
        assert (3, 0) == (ledger.counts().done, ledger.count_work())
        job.end(ledger)


@pytest.mark.parametrize("failpoint", ["ledger.prune_marked:1", "ledger.prune_removed:1", "ledger.prune_removed:7"])
@pytest.mark.parametrize("returns", [True, False], ids=["returns", "stays-away"])
def test_a_kill_while_pruning_leaves_no_lie(job: Job, failpoint: str, returns: bool) -> None:
    job.run_to_the_end(urls(COUNT))
    whole = job.result()
    run_until_killed(job.output, failpoint, "prune")

    if returns:
        job.run_to_the_end(urls(COUNT))
        assert whole == job.result()
    else:
        relist(job, urls(COUNT // 2))
        expected = {name: data for name, data in whole[0].items() if data in kept(COUNT // 2)}
        assert expected == job.image_files()


def test_a_returning_item_whose_old_file_is_still_there_keeps_only_its_new_one(job: Job) -> None:
    job.run_to_the_end(urls(COUNT))
    run_until_killed(job.output, "ledger.prune_marked:1", "prune")

    with job.open() as ledger:
        job.begin(ledger, urls(COUNT))
        for source in ledger.work():
            ledger.record(job.rendition(source, suffix=".webp"))
        job.end(ledger)

    stems = [Path(name).stem for name in job.image_files()]
    assert len(stems) == len(set(stems))


def test_a_folder_in_the_place_of_a_file_is_never_deleted(job: Job) -> None:
    job.run_to_the_end(urls(2))
    (name,) = [name for name, data in job.image_files().items() if data == urls(2)[1].encode() * 3]
    path = job.layout.images_folder / name
    path.unlink()
    path.mkdir()

    relist(job, urls(1))

    assert path.is_dir()
