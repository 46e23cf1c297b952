"""A job that is shared out comes to what it comes to on one machine, whatever happens to its parts."""

import hashlib
import json
import signal
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from batchproc.api import run
from batchproc.cluster import shared_run as cluster_run
from batchproc.errors import ExitCode, UsageError
from batchproc.job_file import Job
from batchproc.pipeline import RunOptions, RunResult
from batchproc.progress import Quiet

from .conftest import CLUSTER, MakeJob, Site
from .engines import ThreadEngine

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

POISON = """
import os
import pathlib
import signal

from batchproc import step


@step
def poison(image):
    if pathlib.Path(__file__).with_name("poisoned").exists():
        os.killpg(0, signal.SIGKILL)
    return image
"""


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[ThreadEngine]:
    """The engines that were opened."""
    found: list[ThreadEngine] = []

    def open_engine(_table: object) -> ThreadEngine:
        found.append(ThreadEngine())
        return found[-1]

    monkeypatch.setattr(cluster_run, "open_engine", open_engine)
    return found


def shared(job: Job, **options: Any) -> RunResult:
    return cluster_run.run_on_cluster(job, RunOptions(**options), Quiet())


def alone(make_job: MakeJob, output: Path, **options: Any) -> RunResult:
    return run(make_job(cluster="", output=str(output), **options))


def rows(output: Path, name: str = "metadata.jsonl") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (output / name).read_text().splitlines()]
    return sorted(found, key=lambda row: (row["key"], row.get("line", 0)))


def images(output: Path) -> dict[str, str]:
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (output / "images").rglob("*.*")
    }


def test_it_comes_to_the_same_as_on_one_machine(
    make_job: MakeJob, engines: list[ThreadEngine], tmp_path: Path
) -> None:
    expected = alone(make_job, tmp_path / "alone", missing=2)

    result = shared(make_job(missing=2))

    output = tmp_path / "out"
    assert ExitCode.DONE == result.exit_code
    assert images(tmp_path / "alone") == images(output)
    assert rows(tmp_path / "alone") == rows(output)
    assert rows(tmp_path / "alone", "failures.jsonl") == rows(output, "failures.jsonl")
    wanted, found = expected.counts, result.counts
    names = ("items", "done", "failed", "rejected", "deferred", "pending", "processed", "duplicates", "bad_rows")
    assert [getattr(wanted, name) for name in names] == [getattr(found, name) for name in names]
    assert expected.record.failures == result.record.failures


def test_a_second_run_finds_nothing_to_do(make_job: MakeJob, engines: list[ThreadEngine], sites: list[Site]) -> None:
    job = make_job()
    shared(job)
    asked = sum(site.asked.total() for site in sites)

    result = shared(job)

    assert 1 == len(engines)
    assert ExitCode.DONE == result.exit_code
    assert (40, 0) == (result.counts.done, result.counts.processed)
    assert asked == sum(site.asked.total() for site in sites)


def test_what_every_part_measured_adds_up(make_job: MakeJob, engines: list[ThreadEngine]) -> None:
    record = shared(make_job(missing=1)).record

    for stage in record.stages.values():
        assert stage.whole_seconds == pytest.approx(sum(stage.account.values()), rel=0.01)
        assert stage.tasks == sum(int(bucket.partition(":")[2]) for bucket in stage.service_histogram.split())
    assert (40, 35) == (record.stages["download"].tasks, record.stages["transform"].tasks)
    assert record.cluster is not None
    assert 40 == sum(worker.processed for worker in record.cluster.workers)
    assert record.cluster.parts_planned == record.cluster.parts_committed == len(engines[0].submitted)


def test_shards_of_all_parts_are_in_one_manifest(
    make_job: MakeJob, engines: list[ThreadEngine], tmp_path: Path
) -> None:
    layout = '[output]\nlayout = "webdataset"\nshard_items = 4\ncaption = "caption"\n'

    result = shared(make_job(missing=1, more=layout))

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    keys = set()
    for shard in manifest["shards"]:
        content = (tmp_path / "out" / shard["name"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        with tarfile.open(tmp_path / "out" / shard["name"]) as tar:
            keys |= {name.partition(".")[0] for name in tar.getnames()}
    assert (35, 35, 35) == (result.counts.done, manifest["count"], len(keys))
    assert {row["key"] for row in rows(tmp_path / "out")} == keys


def test_shards_of_attempts_that_lost_are_swept_once_every_part_is_committed(
    make_job: MakeJob, engines: list[ThreadEngine], tmp_path: Path
) -> None:
    job = make_job(more='[output]\nlayout = "webdataset"\n')
    shared(job)
    shards = tmp_path / "out/shards"
    expected = {path.name for path in shards.iterdir()}
    (shards / "00000-0123456789abcdef.tar").write_bytes(b"")
    (shards / "own.txt").write_bytes(b"")

    shared(job)

    assert expected | {"own.txt"} == {path.name for path in shards.iterdir()}


def test_what_a_part_did_not_reach_in_its_time_becomes_a_part_of_its_own(
    make_job: MakeJob, engines: list[ThreadEngine], slow_asked: threading.Event, let_go: threading.Event
) -> None:
    job = make_job(slow=1, cluster=f'{CLUSTER}shard_timeout = "1s"\n', settings=["download.workers=1"])
    threading.Thread(target=_let_go_after, args=(slow_asked, let_go, 1.5), daemon=True).start()

    result = shared(job)

    assert ExitCode.DONE == result.exit_code
    assert (40, 0) == (result.counts.done, result.counts.pending)
    assert any(generation for _, generation in engines[0].submitted)


def test_a_part_that_always_fails_is_put_into_quarantine_and_tried_again_when_asked(
    make_job: MakeJob, engines: list[ThreadEngine], tmp_path: Path
) -> None:
    """A part whose process is killed by what it meets, as by a decoder that crashes it."""
    (tmp_path / "poison.py").write_text(POISON)
    step = '[[transform.steps]]\nop = "poison:poison"\n'
    job = make_job(images=1, more=step)
    (tmp_path / "poisoned").touch()

    first = shared(job)

    assert first.record.cluster is not None
    assert ExitCode.TOO_MANY_FAILED == first.exit_code
    assert 3 * first.record.cluster.parts_planned == len(engines[0].submitted)
    assert first.record.cluster.parts_planned == len(first.record.cluster.quarantined)
    assert 5 == first.counts.pending

    (tmp_path / "poisoned").unlink()
    unchanged, last = shared(job), shared(job, retry_failed=True)

    assert (ExitCode.TOO_MANY_FAILED, 0) == (unchanged.exit_code, unchanged.counts.processed)
    assert (ExitCode.DONE, 5) == (last.exit_code, last.counts.done)


def test_a_run_that_was_stopped_keeps_what_its_parts_have_and_goes_on_later(
    make_job: MakeJob, engines: list[ThreadEngine], slow_asked: threading.Event, let_go: threading.Event,
    sites: list[Site],
) -> None:  # fmt: skip
    job = make_job(slow=1, settings=["download.workers=1"])
    threading.Thread(target=_interrupt_after, args=(slow_asked, let_go), daemon=True).start()

    stopped = shared(job)
    resumed = shared(job)

    assert ExitCode.INTERRUPTED == stopped.exit_code
    assert 0 < stopped.counts.done < 40
    assert (ExitCode.DONE, 40) == (resumed.exit_code, resumed.counts.done)
    assert {1} == {times for site in sites for times in site.asked.values()}


def test_items_that_failed_are_tried_again_when_asked(
    make_job: MakeJob, engines: list[ThreadEngine], sites: list[Site], tmp_path: Path
) -> None:
    job = make_job(images=3, missing=1)
    first = shared(job)
    for site in sites:
        site.found_again = True

    other, last = shared(job, retry_failed=True, retry_codes=("dns",)), shared(job, retry_failed=True)

    assert (5, 10) == (first.counts.failed, first.counts.done)
    assert (5, 0) == (other.counts.failed, other.counts.processed)
    assert (0, 15, 5) == (last.counts.failed, last.counts.done, last.counts.processed)
    assert 15 == len(rows(tmp_path / "out"))
    assert [] == rows(tmp_path / "out", "failures.jsonl")


def test_the_health_check_and_the_metrics_hear_of_the_whole_run_alone(
    make_job: MakeJob, engines: list[ThreadEngine], sites: list[Site], tmp_path: Path
) -> None:
    more = f'[metrics]\ntextfile = "metrics.prom"\nping_url = "{sites[0].base}/ping"\n'

    shared(make_job(images=3, more=more))

    pings = {path: times for path, times in sites[0].asked.items() if path.startswith("/ping")}
    assert {"/ping/start": 1, "/ping": 1} == pings
    assert 'batchproc_items{job="shared",state="done"} 15' in (tmp_path / "metrics.prom").read_text()


@pytest.mark.parametrize("option", ["limit", "refresh", "repair", "strict"])
def test_what_only_one_machine_can_do_is_refused(make_job: MakeJob, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option}: is not possible with"):
        shared(make_job(), **{option: True})

    assert not (tmp_path / "out").exists()


def _let_go_after(asked: threading.Event, let_go: threading.Event, seconds: float) -> None:
    asked.wait(30)
    threading.Event().wait(seconds)
    let_go.set()


def _interrupt_after(asked: threading.Event, let_go: threading.Event) -> None:
    asked.wait(30)
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait(0.5)
    let_go.set()
