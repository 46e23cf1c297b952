"""Shards that go to a bucket: the same bytes as on a disk, whatever the store answers meanwhile."""

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import ExitCode, StoreError, UsageError
from batchproc.pipeline.rebuild import rebuild_ledger
from batchproc.pipeline.types import RunOptions
from tests.jobs import MakeJob
from tests.object_store import StoreServer, store

from .test_job import rows
from .test_modes import images, run
from .test_shard_maker import SHARDS, shards

pytest.importorskip("obstore", reason="the extra [cloud] is not installed")

pytestmark = pytest.mark.extra

__all__ = ["store"]
BUCKET = (*SHARDS, 'job.output="s3://bkt/set"', 'job.state="state"')


def sent(store: StoreServer) -> dict[str, bytes]:
    """The shards in the bucket, by name."""
    names = sorted(name for name in store.objects if name.startswith("set/shards/"))
    return {name.removeprefix("set/"): store.objects[name] for name in names}


def assert_published(store: StoreServer) -> None:
    """The manifest names what is there, and nothing else is there."""
    told = json.loads(store.objects["set/manifest.json"])["shards"]
    assert [*sent(store)] == [shard["name"] for shard in told]
    assert [shard["sha256"] for shard in told] == [hashlib.sha256(one).hexdigest() for one in sent(store).values()]
    assert {"manifest.json", "owner.json", "README.md"} == {
        name.removeprefix("set/") for name in store.objects if "/shards/" not in name
    }


def test_the_bucket_has_the_shards_and_the_folder_all_else(
    make_job: MakeJob, tmp_path: Path, store: StoreServer
) -> None:
    config = make_job(images=12)
    run(config, *SHARDS, 'job.output="local"')

    assert ExitCode.DONE == run(config, *BUCKET).exit_code

    assert shards(tmp_path / "local") == sent(store)
    assert_published(store)
    assert [] == [*(tmp_path / "state/shards").iterdir(), *images(tmp_path / "state")]
    assert rows(tmp_path / "local/metadata.jsonl") == rows(tmp_path / "state/metadata.jsonl")
    assert not (tmp_path / "s3:").exists()


def test_the_card_has_its_pictures_in_the_bucket(make_job: MakeJob, tmp_path: Path, store: StoreServer) -> None:
    config = make_job(images=2)
    run(config, *BUCKET, "report.html=true")
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "state/thumbnails").iterdir()}

    assert 2 == len(pictures)
    assert {f"set/thumbnails/{name}": content for name, content in pictures.items()} == {
        name: content for name, content in store.objects.items() if "thumbnails" in name
    }
    (tmp_path / "list.txt").write_text((tmp_path / "list.txt").read_text().splitlines()[0])
    run(config, *BUCKET, "job.prune=true")
    assert 1 == len([name for name in store.objects if "thumbnails" in name])


def test_interruptions_change_no_byte_and_a_run_without_work_sends_nothing(
    make_job: MakeJob, tmp_path: Path, store: StoreServer
) -> None:
    config = make_job(images=12)
    run(config, *SHARDS, 'job.output="local"')

    for limit in (3, 4, 0):
        run(config, *BUCKET, options=RunOptions(limit=limit))
        assert_published(store)
    assert shards(tmp_path / "local") == sent(store)
    before = len(store.requests)

    result = run(config, *BUCKET)

    assert 12 == result.counts.already_done
    assert ["PUT set/owner.json"] == [one for one in store.requests[before:] if one.startswith(("PUT", "POST"))]


def test_a_store_that_stumbles_gets_everything_in_the_end(
    make_job: MakeJob, tmp_path: Path, store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.FIRST_PAUSE_SECONDS", 0.001)
    store.faults = ["lost", "503", "", "lost", "500", "409", "lost", "lost"]

    assert ExitCode.DONE == run(make_job(images=12), *BUCKET).exit_code

    assert [] == store.faults
    assert_published(store)


def test_a_store_that_stays_away_ends_the_run_and_loses_nothing(
    make_job: MakeJob, tmp_path: Path, store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.FIRST_PAUSE_SECONDS", 0.001)
    config = make_job(images=12)
    store.faults = ["", "", *["503"] * 200]

    result = run(config, *BUCKET)

    assert ExitCode.DISK == result.exit_code
    assert "set/manifest.json" not in store.objects
    store.faults = []
    assert ExitCode.DONE == run(config, *BUCKET).exit_code
    assert_published(store)


def test_a_second_job_is_refused_at_the_same_place(make_job: MakeJob, tmp_path: Path, store: StoreServer) -> None:
    config = make_job(images=3)
    run(config, *BUCKET)
    before = dict(store.objects)

    with pytest.raises(UsageError, match="belongs to another job"):
        run(config, *BUCKET, 'job.state="other"')

    assert before == store.objects


def test_a_job_keeps_its_bucket(make_job: MakeJob, tmp_path: Path, store: StoreServer) -> None:
    config = make_job(images=3)
    run(config, *BUCKET)

    with pytest.raises(UsageError, match="another address"):
        run(config, *BUCKET, 'job.output="s3://bkt/elsewhere"')
    with pytest.raises(UsageError, match="in a bucket"):
        run(config, *SHARDS, 'job.output="state"')


@pytest.mark.parametrize(
    ("says", "overrides"),
    [
        ("[job] state", (*SHARDS, 'job.output="s3://bkt/set"')),
        ("[output] layout", ('job.output="s3://bkt/set"', 'job.state="state"')),
        ("must be a path here, or begin with s3://", ('job.output="ftp://host/set"',)),
    ],
)
def test_what_a_bucket_needs_is_told(make_job: MakeJob, says: str, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        run(make_job(images=1), *overrides)

    assert says in str(caught.value)


def test_a_shard_that_is_gone_or_altered_there_is_made_again_on_demand(
    make_job: MakeJob, tmp_path: Path, store: StoreServer
) -> None:
    config = make_job(images=12)
    run(config, *BUCKET)
    before = sent(store)
    gone, altered, cut = (f"set/{name}" for name in before)
    del store.objects[gone]
    store.objects[altered] = store.objects[altered].replace(b"JFIF", b"JFIX")
    store.objects[cut] = store.objects[cut][:-1]

    assert 0 == run(config, *BUCKET).counts.processed
    assert 12 == run(config, *BUCKET, options=RunOptions(repair=True)).counts.processed
    assert before == sent(store)
    assert_published(store)
    assert 0 == run(config, *BUCKET, options=RunOptions(repair=True)).counts.processed


@pytest.mark.parametrize(
    ("status", "says"), [("404", "the bucket is not there"), ("403", "may not be written; are the credentials there")]
)
@pytest.mark.parametrize("served", [0, 1], ids=["from the first request on", "when the first shard is sent"])
def test_a_bucket_that_refuses_is_told_and_nothing_is_lost(
    make_job: MakeJob, tmp_path: Path, store: StoreServer, status: str, says: str, served: int
) -> None:
    config, kept = make_job(images=7), 0
    store.faults = [*[""] * served, *[status] * 50]

    with ExitStack() as stack:
        if not served:
            stack.enter_context(pytest.raises(StoreError, match=says))
        result = run(config, *BUCKET)
        assert (ExitCode.DISK, True) == (result.exit_code, says in str(result.error))
        kept = result.counts.done
        assert (True, 7, 0) == (kept >= 5, kept + result.counts.pending, result.counts.failed)  # all of the first shard

    store.faults = []
    result = run(config, *BUCKET)
    assert (ExitCode.DONE, 7) == (result.exit_code, result.counts.done)
    assert kept <= result.counts.already_done == 7 - result.counts.processed
    assert_published(store)


def test_a_shard_whose_connection_is_lost_between_its_parts_is_sent_whole(
    make_job: MakeJob, tmp_path: Path, store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("batchproc.stores.PART_BYTES", 4096)
    config = make_job(images=7)
    run(config, *SHARDS, 'job.output="local"')
    store.faults = ["", "", "lost", "", "503", "lost"]  # the mark, the begin of an upload, its parts

    assert ExitCode.DONE == run(config, *BUCKET).exit_code

    assert any("uploads" in request or "partNumber" in request for request in store.queries)
    assert shards(tmp_path / "local") == sent(store)
    assert_published(store)


def test_a_lost_ledger_is_made_again_from_the_bucket(make_job: MakeJob, tmp_path: Path, store: StoreServer) -> None:
    config = make_job(images=7)
    run(config, *BUCKET)
    before = sent(store)
    (tmp_path / "state/batchproc.db").unlink()
    job, steps = load_job(config, BUCKET)

    assert 7 == rebuild_ledger(job, steps, same_plan=False, notify=lambda _: None).counts.done
    assert 7 == run(config, *BUCKET).counts.already_done
    assert before == sent(store)
    assert_published(store)
