"""What the manifests and the files prove comes back as it stood; nothing else is believed."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.errors import Code, Retry
from batchproc.ledger import State
from batchproc.ledger.rebuilding import Left, is_final, read_made
from batchproc.model import Disposition, Outcome, Source
from tests.ledger.job import PLAN, Job, failure, hash_key, rejection, urls
from tests.ledger.rebuilding import damage, done_rows, rebuild, redirected, run, states

COUNT = 12
ENDS = ("jpg", "webp", "redirected", "rejected", "404", "dns", "quarantined", "deferred")


def make(job: Job, source: Source, end: str) -> Outcome:
    match end:
        case "jpg" | "webp":
            return job.rendition(source, suffix=f".{end}")
        case "redirected":
            return redirected(job.rendition(source, text=f"moved {source.url}"), f"{source.url}?moved")
        case "rejected":
            return rejection(source)
        case "dns":
            return failure(source, code="dns", retry=Retry.BACKOFF)
        case "404":
            return failure(source, message="half a pair \udc80")
    return failure(source, disposition=Disposition(end))


names = st.lists(st.sampled_from(urls(COUNT)), unique=True, min_size=1)
ends = st.lists(st.sampled_from(ENDS), min_size=COUNT, max_size=COUNT)


@settings(max_examples=40, deadline=None)
@given(first=names, second=names, how=ends)
def test_a_rebuilt_ledger_is_the_old_one_in_all_that_is_done(
    first: list[str], second: list[str], how: list[str]
) -> None:
    """Two runs with lists that have little in common, in any order; then the ledger is lost."""
    folder = Path(tempfile.mkdtemp())
    try:
        job = Job(folder / "out")
        for listed in (first, second):
            run(job, listed, lambda source: make(job, source, how[int(source.url[-8:-4])]))
        done, result = done_rows(job), job.result()
        lasting = {url: state for url, state in states(job).items() if how[int(url[-8:-4])] != "dns"}
        damage(job)

        restored = rebuild(job, second)

        assert done == done_rows(job)
        assert len(done) == restored.done
        found = states(job)
        assert {url: lasting[url] for url in second if url in lasting} == {
            url: found[url] for url in second if url in lasting
        }
        work = run(job, second, lambda source: make(job, source, how[int(source.url[-8:-4])]))
        assert {"dns", "deferred"} >= {how[int(source.url[-8:-4])] for source in work}
        assert result == job.result()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def lost(job: Job) -> Job:
    """Twelve items, of which one failed, one was rejected and ten are done; without a ledger."""
    run(job, urls(COUNT), lambda source: make(job, source, {3: "404", 6: "rejected"}.get(source.index, "jpg")))
    damage(job)
    return job


def path_of(job: Job, number: int) -> Path:
    return job.images.final_path(hash_key(urls(COUNT)[number]).hex(), ".jpg")


def test_what_was_restored_is_no_work(lost: Job) -> None:
    before = lost.result()

    restored = rebuild(lost, urls(COUNT))

    assert (10, 2, 0, 0) == (restored.done, restored.early, restored.unvouched, restored.missing)
    assert [] == run(lost, urls(COUNT))
    assert before == lost.result()


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "gone": ("missing", Path.unlink),
    "shorter": ("changed", lambda path: path.write_bytes(b"x")),
    "of the same size": ("changed", lambda path: path.write_bytes(b"x" * path.stat().st_size)),
    "a folder": ("changed", put_folder),
    "a link to the same bytes": ("changed", put_link),
}


@pytest.mark.parametrize("harm", FILES)
def test_an_image_whose_file_is_not_what_its_row_says_is_pending(lost: Job, harm: str) -> None:
    reason, apply = FILES[harm]
    apply(path_of(lost, 4))

    restored = rebuild(lost, urls(COUNT))

    assert (9, 1) == (restored.done, getattr(restored, reason))
    assert "pending" == states(lost)[urls(COUNT)[4]]


def test_an_image_that_the_system_does_not_give_out_is_pending(lost: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, bad = Path.open, path_of(lost, 4)

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == bad:
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)

    restored = rebuild(lost, urls(COUNT))

    assert (9, 1) == (restored.done, restored.unreadable_files)


@pytest.mark.parametrize(
    "change",
    [
        {"file_name": "../../etc/passwd"},
        {"file_name": "images/ab/0.jpg"},
        {"key": "no key"},
        {"sha256": "A" * 64},
        {"size_bytes": -1},
        {"size_bytes": True},
        {"width": "256"},
        {"status_code": 2**70},
        {"etag": 7},
        {"url": None},
    ],
    ids=str,
)
def test_a_row_that_is_not_as_we_write_it_is_not_believed(lost: Job, change: dict[str, object]) -> None:
    lines = lost.layout.metadata_path.read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | change)
    lost.layout.metadata_path.write_text("\n".join(lines))

    restored = rebuild(lost, urls(COUNT))

    assert (9, 1) == (restored.done, restored.unreadable_rows)


def test_manifests_that_break_off_cost_only_what_is_behind_the_break(lost: Job) -> None:
    for path in (lost.layout.metadata_path, lost.layout.failures_path):
        path.write_bytes(path.read_bytes()[:-30])

    restored = rebuild(lost, urls(COUNT))

    assert (9, 1, 2) == (restored.done, restored.early, restored.unreadable_rows)
    assert 2 == len(run(lost, urls(COUNT)))


def test_a_row_that_comes_twice_counts_once(lost: Job) -> None:
    text = lost.layout.metadata_path.read_text()
    lost.layout.metadata_path.write_text(text + text.splitlines()[0] + "\n")

    restored = rebuild(lost, urls(COUNT))

    assert (10, 1) == (restored.done, restored.unreadable_rows)


def test_images_of_sources_that_left_the_list_are_absent_and_return_as_they_were(lost: Job) -> None:
    before = lost.result()

    restored = rebuild(lost, urls(COUNT)[:5])

    assert (4, 6) == (restored.done, restored.absent)
    assert [] == run(lost, urls(COUNT)[:5])
    work = run(lost, urls(COUNT), lambda source: make(lost, source, "rejected"))
    assert [urls(COUNT)[6]] == [source.url for source in work]
    assert before[0] == lost.image_files()
    assert sorted(before[1].splitlines()) == sorted(lost.layout.metadata_path.read_bytes().splitlines())


def test_a_file_that_no_row_vouches_for_is_made_again_and_goes_when_that_fails(lost: Job) -> None:
    lines = lost.layout.metadata_path.read_text().splitlines()
    lost.layout.metadata_path.write_text("\n".join(lines[1:]) + "\n")

    restored = rebuild(lost, urls(COUNT))
    run(lost, urls(COUNT), failure)

    assert (9, 1) == (restored.done, restored.unvouched)
    assert not path_of(lost, 0).exists()
    assert 9 == len(lost.image_files())


def test_a_file_of_an_unknown_item_is_absent_so_that_prune_finds_it(lost: Job) -> None:
    path = lost.images.final_path("ab" * 16, ".jpg")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"?")

    restored = rebuild(lost, urls(COUNT))

    assert 1 == restored.unvouched
    with lost.open() as ledger:
        assert 1 == ledger.counts().absent
        assert 1 == ledger.prune_absent()
    assert not path.exists()


def test_what_failed_for_good_and_has_a_file_is_not_believed(lost: Job) -> None:
    """As after `--retry-failed` and a kill before the manifests were written."""
    path = path_of(lost, 3)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"made since")

    restored = rebuild(lost, urls(COUNT))

    assert (1, 1) == (restored.early, restored.contradicted)
    assert "pending" == states(lost)[urls(COUNT)[3]]


def test_what_may_be_tried_again_is_pending_and_told_by_its_code(job: Job) -> None:
    run(job, urls(4), lambda source: make(job, source, ("404", "dns", "dns", "jpg")[source.index]))
    damage(job)

    restored = rebuild(job, urls(4))

    assert ({"dns": 2}, 1, 1) == (restored.undecided, restored.early, restored.done)


def test_a_list_in_another_order_changes_nothing_in_that_of_the_manifests(lost: Job) -> None:
    before = lost.layout.metadata_path.read_bytes()

    restored = rebuild(lost, urls(COUNT)[::-1])
    run(lost, urls(COUNT)[::-1])

    assert restored.reordered
    assert before == lost.layout.metadata_path.read_bytes()


def test_an_unchanged_list_keeps_the_numbers_that_it_gives(lost: Job) -> None:
    assert not rebuild(lost, urls(COUNT)).reordered
    assert urls(COUNT) == list(states(lost))


def test_a_ledger_without_manifests_begins_anew(lost: Job) -> None:
    lost.layout.metadata_path.unlink()
    lost.layout.failures_path.unlink()

    restored = rebuild(lost, urls(COUNT))

    assert (0, 0, 10) == (restored.done, restored.early, restored.unvouched)
    assert COUNT == len([state for state in states(lost).values() if state == "pending"])


def test_a_kill_while_restoring_leaves_the_damaged_ledger_where_it_was(
    lost: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.ledger.rebuilding.failpoint", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rebuild(lost, urls(COUNT))
    monkeypatch.undo()

    assert b"\xaa" == lost.layout.ledger_path.read_bytes()[:1]
    assert 10 == rebuild(lost, urls(COUNT)).done


@pytest.mark.parametrize(
    ("stage", "code", "outcome", "expected"),
    [
        ("download", "http.404", "failed", True),
        ("download", "http.503", "failed", False),
        ("download", "http.408", "failed", False),
        ("download", "truncated", "failed", False),
        ("transform", "truncated", "failed", True),
        ("transform", "worker.timeout", "failed", True),
        ("download", "worker.timeout", "failed", False),
        ("download", "policy.robots", "failed", False),
        ("output", Code.IO_OTHER, "failed", True),
        ("transform", "check.mine", "rejected", True),
        ("download", "dns", "quarantined", True),
    ],
)
def test_what_a_row_proves(stage: str, code: str, outcome: str, expected: bool) -> None:
    left = Left(key="", url="", stage=stage, code=code, outcome=State(outcome), message="", hint="", attempts=1)

    assert expected == is_final(left)


def test_extra_columns_of_an_unknown_item_come_back_under_their_names(job: Job) -> None:
    run(job, urls(1))
    (row,) = map(json.loads, job.layout.metadata_path.read_text().splitlines())

    made = read_made(row | {"label": "cat", "list_width": 3}, job.images.file_name)

    assert made is not None
    assert {"label": "cat", "list_width": 3} == json.loads(made.extra_json)


def test_each_image_comes_back_with_the_recipe_that_made_it(job: Job) -> None:
    for recipe, count in (("2", 2), ("3 pillow", 3)):
        with job.open() as ledger:
            job.begin(ledger, urls(count), recipe=recipe)
            for source in ledger.pending(9):
                ledger.record(job.rendition(source))
            job.end(ledger)
    damage(job)

    rebuild(job, urls(3))

    with job.open() as ledger:
        rows = ledger.metadata_rows(job.images.file_name)
        assert ["2", "2", "3 pillow"] == [row["image_recipe"] for row in rows]
        assert 3 == ledger.count_outdated()
        ledger.adopt_plan(PLAN, recipe="3 pillow")
        assert 2 == ledger.count_outdated()
