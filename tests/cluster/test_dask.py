"""Real schedulers and workers of Dask, and what becomes of a run when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from batchproc.api import run
from batchproc.cluster import engine as cluster_engine
from batchproc.cluster.engine import DaskEngine
from batchproc.cluster.task import PartOutcome
from batchproc.config import ClusterTable
from batchproc.errors import ExitCode, UsageError

from ..object_store import BUCKET, StoreServer, store
from .conftest import MakeJob
from .dask_cluster import PATIENCE_SECONDS, DaskCluster, part_processes, wait_for
from .test_cluster_run import alone, images, rows
from .test_task import first_part

pytest.importorskip("distributed", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

__all__ = ["store"]

@pytest.fixture
def dask(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DaskCluster]:
    """A scheduler with two workers; as an indirect parameter, whether nannies watch over them."""
    (tmp_path / "dask").mkdir()
    with ExitStack() as stack:
        cluster = DaskCluster(tmp_path / "dask", stack)
        cluster.start_scheduler()
        for _ in range(2):
            cluster.start_worker(nanny=getattr(request, "param", False))
        yield cluster


def table(dask: DaskCluster) -> str:
    return f'[cluster]\nscheduler = "{dask.address}"\nshard_urls = 10\n'


def test_two_workers_come_to_the_same_as_one_machine(
    make_job: MakeJob, dask: DaskCluster, tmp_path: Path
) -> None:
    alone(make_job, tmp_path / "alone", missing=1)

    result = run(make_job(missing=1, cluster=table(dask)))

    assert (ExitCode.DONE, 35) == (result.exit_code, result.counts.done)
    assert images(tmp_path / "alone") == images(tmp_path / "out")
    assert rows(tmp_path / "alone") == rows(tmp_path / "out")
    assert result.record.cluster is not None
    assert 2 == len(result.record.cluster.workers)


@pytest.mark.parametrize("dask", [True], indirect=True, ids=["nannied"])
def test_the_part_of_a_worker_that_is_killed_is_done_by_another(
    make_job: MakeJob, dask: DaskCluster, tmp_path: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    job, workers, left = make_job(slow=1, cluster=table(dask)), dask.pids(), []

    def kill() -> None:
        slow_asked.wait(PATIENCE_SECONDS)
        busy = next(pid for pid in workers.values() if part_processes(pid))
        family = part_processes(busy)
        os.kill(busy, signal.SIGKILL)
        left.extend(psutil.wait_procs(family, timeout=5)[1])
        let_go.set()

    threading.Thread(target=kill, daemon=True).start()
    result = run(job)

    assert [] == left
    assert (ExitCode.DONE, 40) == (result.exit_code, result.counts.done)
    assert 40 == len(images(tmp_path / "out"))


def test_a_run_goes_on_when_its_scheduler_was_killed_and_came_back(
    make_job: MakeJob, dask: DaskCluster, slow_asked: threading.Event, let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also when it was away for longer than a connection is tried."""
    monkeypatch.setattr(cluster_engine, "CONNECT_SECONDS", 1.0)
    job = make_job(slow=1, cluster=table(dask))

    def kill() -> None:
        slow_asked.wait(PATIENCE_SECONDS)
        assert dask.scheduler is not None
        dask.scheduler.kill()
        dask.scheduler.wait()
        let_go.set()
        threading.Event().wait(4)
        dask.start_scheduler()
        dask.start_worker()

    threading.Thread(target=kill, daemon=True).start()
    result = run(job)

    assert (ExitCode.DONE, 40) == (result.exit_code, result.counts.done)


def test_a_run_whose_driver_was_killed_is_continued_by_the_same_command(
    make_job: MakeJob, dask: DaskCluster, tmp_path: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    make_job(slow=1, cluster=table(dask))
    command = [sys.executable, "-m", "batchproc", "run", "-q", "job.toml"]
    driver = subprocess.Popen(command, cwd=tmp_path)
    assert slow_asked.wait(PATIENCE_SECONDS)
    driver.kill()
    driver.wait()
    let_go.set()

    continued = subprocess.run(command, cwd=tmp_path, check=False, timeout=PATIENCE_SECONDS)

    assert 0 == continued.returncode
    assert 40 == len(images(tmp_path / "out")) == len(rows(tmp_path / "out"))


def test_a_worker_that_was_stopped_and_goes_on_later_does_no_harm(
    make_job: MakeJob, dask: DaskCluster, tmp_path: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    job, workers = make_job(slow=1, cluster=table(dask)), dask.pids()

    def stop() -> None:
        slow_asked.wait(PATIENCE_SECONDS)
        busy = next(pid for pid in workers.values() if part_processes(pid))
        os.kill(busy, signal.SIGSTOP)
        let_go.set()
        threading.Event().wait(3)
        os.kill(busy, signal.SIGCONT)

    threading.Thread(target=stop, daemon=True).start()
    result = run(job)

    assert (ExitCode.DONE, 40) == (result.exit_code, result.counts.done)
    assert 40 == len(images(tmp_path / "out"))


def test_a_worker_that_is_silent_keeps_no_other_from_answering(dask: DaskCluster, tmp_path: Path) -> None:
    engine = DaskEngine(ClusterTable(scheduler=dask.address))
    workers = dask.pids()
    silent, other = workers
    os.kill(workers[silent], signal.SIGSTOP)
    try:
        answers = engine.ask(os.getpid, [silent, other])
    finally:
        os.kill(workers[silent], signal.SIGCONT)
        engine.close()

    assert {other: workers[other]} == answers


def test_a_part_comes_back_when_the_workers_that_may_do_it_are_gone(
    make_job: MakeJob, dask: DaskCluster, tmp_path: Path, slow_asked: threading.Event
) -> None:
    engine = DaskEngine(ClusterTable(scheduler=dask.address))
    workers = dask.pids()
    failed, other = workers
    engine.submit(first_part(make_job(slow=8), tmp_path / "out"), frozenset({failed}))
    assert slow_asked.wait(PATIENCE_SECONDS)

    os.kill(workers[other], signal.SIGKILL)
    found: list[PartOutcome] = []
    wait_for(lambda: other not in engine.slots())
    wait_for(lambda: found.extend(engine.wait(0.1)) or found)
    engine.close()

    assert [("cancelled", False)] == [(one.reason, one.is_charged) for one in found]


def test_a_scheduler_that_is_not_there_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_engine, "CONNECT_SECONDS", 0.5)

    with pytest.raises(UsageError, match=r"no scheduler answers at tcp://127.0.0.1:1; is it running\?"):
        DaskEngine(ClusterTable(scheduler="tcp://127.0.0.1:1"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the start of a run, and not much more."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here: that takes root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", 0) as file:
        while True:
            file.write(bytes(4096))


def test_what_does_not_fit_on_the_disk_of_one_worker_is_done_by_another(
    make_job: MakeJob, tmp_path: Path, small_disk: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    let_go.set()
    alone(make_job, tmp_path / "alone", slow=1)
    let_go.clear()
    slow_asked.clear()
    (tmp_path / "dask").mkdir()
    with ExitStack() as stack:
        cluster = DaskCluster(tmp_path / "dask", stack)
        cluster.start_scheduler()
        cluster.start_worker(small_disk)
        (own,) = cluster.pids()

        def fill_and_go_on() -> None:
            assert slow_asked.wait(PATIENCE_SECONDS)
            cluster.start_worker()
            assert 2 == len(cluster.pids())
            fill(small_disk)
            let_go.set()

        thread = threading.Thread(target=fill_and_go_on)
        thread.start()
        result = run(make_job(slow=1, cluster=table(cluster)))
        thread.join()

    assert (ExitCode.DONE, 40) == (result.exit_code, result.counts.done)
    assert images(tmp_path / "alone") == images(tmp_path / "out")
    assert rows(tmp_path / "alone") == rows(tmp_path / "out")
    assert result.record.cluster is not None
    assert own not in [worker.worker for worker in result.record.cluster.workers]


def test_the_shards_of_all_workers_go_to_a_bucket(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: StoreServer
) -> None:
    pytest.importorskip("obstore", reason="the extra [cloud] is not installed")
    with ExitStack() as stack:
        (tmp_path / "dask").mkdir()
        cluster = DaskCluster(tmp_path / "dask", stack)
        cluster.start_scheduler()
        cluster.start_worker()  # with the store's address in its environment
        settings = [f"job.output=s3://{BUCKET}/set", "job.state=state", 'output.layout="webdataset"']

        result = run(make_job(cluster=table(cluster), settings=settings))

    assert (ExitCode.DONE, 40) == (result.exit_code, result.counts.done)
    manifest = json.loads(store.objects["set/manifest.json"])
    assert 40 == manifest["count"]
    assert {f"set/{shard['name']}" for shard in manifest["shards"]} <= set(store.objects)
    assert 40 == len(rows(tmp_path / "state"))
