"""The work on one part: what it leaves when it is killed, and when another was quicker."""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from batchproc.cluster import part_process
from batchproc.cluster.partition import make_plan
from batchproc.cluster.shard_plan import LIST_NAME, ClusterPlan, PendingPart
from batchproc.cluster.shared_store import open_store
from batchproc.cluster.task import PartTask, part_config, run_part, stop_parts, sweep_attempts
from batchproc.job_file import Job
from batchproc.pipeline.import_list import JobList

from .conftest import MakeJob, Site
from .dask_cluster import part_processes

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

WORKER = """
import pickle, sys
from batchproc.cluster.task import run_part
with open(sys.argv[1], "rb") as file:
    task = pickle.load(file)
print(run_part(task, worker="first"))
"""


def planned(job: Job, folder: Path) -> ClusterPlan:
    return make_plan(JobList.of(job.config, ""), folder / "cluster/plan", shard_urls=100)


def first_part(job: Job, folder: Path) -> PartTask:
    """The only part of a job whose output is `folder`."""
    plan = planned(job, folder)
    (shard,) = plan.shards
    return PartTask(
        config=job.config, run="run", store=str(folder), plan="plan", columns=plan.columns, names=plan.names,
        part=PendingPart(
            number=0, generation=0, list_name=f"cluster/plan/{LIST_NAME}", offset=shard.offset,
            size_bytes=shard.size_bytes, items=shard.items, first_shard=0,
        ),
        seconds=60.0, slots={},
    )  # fmt: skip


def numbered(task: PartTask, number: int) -> PartTask:
    """The same lines as another part."""
    return replace(task, part=replace(task.part, number=number))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_process_of_a_part_ends_with_its_worker(
    make_job: MakeJob, tmp_path: Path, slow_asked: threading.Event
) -> None:
    order = tmp_path / "task"
    order.write_bytes(pickle.dumps(first_part(make_job(slow=8), tmp_path / "out")))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(order)], stdout=subprocess.DEVNULL)
    assert slow_asked.wait(30)
    family = psutil.Process(worker.pid).children(recursive=True)

    worker.kill()
    worker.wait()
    _, alive = psutil.wait_procs(family, timeout=5)

    assert family
    assert [] == alive


def test_a_part_is_done_by_another_after_its_worker_was_killed(
    make_job: MakeJob, tmp_path: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    task, order = first_part(make_job(slow=1), tmp_path / "out"), tmp_path / "task"
    order.write_bytes(pickle.dumps(task))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(order)], stdout=subprocess.DEVNULL)
    assert slow_asked.wait(30)
    worker.kill()
    worker.wait()
    let_go.set()

    outcome = run_part(task, worker="second")

    assert "" == outcome.reason
    assert outcome.manifest is not None
    assert 40 == outcome.manifest.record["counts"]["done"]


def test_of_two_attempts_one_is_committed_and_the_other_leaves_nothing(
    make_job: MakeJob, tmp_path: Path, slow_asked: threading.Event, let_go: threading.Event
) -> None:
    """A worker that was taken for dead, and came back when another had done its part."""
    output = tmp_path / "out"
    late, task = first_part(make_job(slow=1), tmp_path / "out"), None
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run_part(late, worker="late")))
    thread.start()
    assert slow_asked.wait(30)
    part = (output / "cluster/plan" / LIST_NAME).read_bytes()
    quick = b"".join(line for line in part.splitlines(keepends=True) if b"/slow/" not in line)
    (output / "quick.jsonl").write_bytes(quick)
    task = replace(late, part=replace(late.part, list_name="quick.jsonl", size_bytes=len(quick)))

    first = run_part(task, worker="quick")
    before = files_in(output)
    let_go.set()
    thread.join(30)

    assert first.manifest is not None
    assert [first.manifest] == [outcome.manifest for outcome in outcomes]
    assert before == files_in(output)


def test_what_killed_attempts_at_a_committed_part_left_is_swept(make_job: MakeJob, tmp_path: Path) -> None:
    task = first_part(make_job(), tmp_path / "out")
    outcome = run_part(task, worker="first")
    assert outcome.manifest is not None
    before = files_in(tmp_path / "out")
    attempts = tmp_path / "out/cluster/plan/attempts"
    (attempts / "000000-0-killed/images/ab").mkdir(parents=True)
    (attempts / "000000-1-committing").mkdir()  # another part, whose manifest may come at any instant

    sweep_attempts(open_store(task.store), "plan", {outcome.manifest.part: outcome.manifest.attempt})

    assert before == files_in(tmp_path / "out")
    assert {f"000000-0-{outcome.manifest.attempt}", "000000-1-committing"} == {one.name for one in attempts.iterdir()}


def test_no_part_of_a_run_that_was_stopped_begins_and_none_is_to_blame(
    make_job: MakeJob, tmp_path: Path, sites: list[Site]
) -> None:
    task = replace(first_part(make_job(), tmp_path / "out"), run="stopped")
    stop_parts("stopped")

    stopped, other = run_part(task, worker="first"), run_part(replace(task, run="other"), worker="first")

    assert (None, False) == (stopped.manifest, stopped.is_charged)
    assert other.manifest is not None
    assert {1} == {times for site in sites for times in site.asked.values()}


def test_parts_of_a_run_are_done_by_one_process_those_of_another_run_by_another(
    make_job: MakeJob, tmp_path: Path
) -> None:
    task = first_part(make_job(), tmp_path / "out")

    found = []
    for number, run in enumerate(("first", "first", "second")):
        outcome = run_part(replace(numbered(task, number), run=run), worker="worker")
        found.append([process.pid for process in part_processes(os.getpid())])
        assert outcome.manifest is not None, outcome.reason

    assert found[0] == found[1]
    assert 2 == len(found[2])
    assert found[0][0] in found[2]


def test_a_process_waits_for_no_part_of_a_run_that_is_over(make_job: MakeJob, tmp_path: Path) -> None:
    run_part(replace(first_part(make_job(), tmp_path / "out"), run="over"), worker="worker")
    waiting = part_processes(os.getpid())

    stop_parts("over")

    assert 1 == len(waiting)
    assert [] == part_processes(os.getpid())


def test_a_process_that_was_killed_between_two_parts_is_replaced(make_job: MakeJob, tmp_path: Path) -> None:
    task = first_part(make_job(), tmp_path / "out")
    run_part(task, worker="worker")
    (waiting,) = part_processes(os.getpid())
    waiting.kill()
    psutil.wait_procs([waiting], timeout=5)

    outcome = run_part(numbered(task, 1), worker="worker")

    assert "" == outcome.reason
    assert outcome.manifest is not None


def test_a_process_does_so_many_parts_and_no_more(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_process, "MOST_PARTS", 1)

    run_part(first_part(make_job(), tmp_path / "out"), worker="worker")

    assert [] == part_processes(os.getpid())


def test_processes_of_a_run_that_is_heard_of_no_more_are_ended_by_the_next_part_of_another(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver may have been killed: one that ended by itself would stay a zombie for as long as the worker lives."""
    task = first_part(make_job(), tmp_path / "out")
    run_part(replace(task, run="lost"), worker="worker")
    (waiting,) = part_processes(os.getpid())
    monkeypatch.setattr(part_process, "IDLE_SECONDS", 0.0)

    run_part(numbered(task, 1), worker="worker")

    assert not psutil.pid_exists(waiting.pid)


def test_a_process_whose_run_is_stopped_as_its_part_ends_waits_for_no_other(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(first_part(make_job(), tmp_path / "out"), run="stopped at the end")
    keep = part_process.keep_process

    def stop_and_keep(run: str, process: part_process.PartProcess) -> None:
        stop_parts(run)
        keep(run, process)

    monkeypatch.setattr(part_process, "keep_process", stop_and_keep)

    run_part(task, worker="worker")

    assert [] == part_processes(os.getpid())


def test_a_process_without_an_order_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run's driver may be gone without a word."""
    monkeypatch.setattr(
        part_process, "COMMAND", (*part_process.COMMAND[:-1], "import batchproc.cluster.part_process as part\n"
        "part.IDLE_SECONDS = 0.01\npart.main()")
    )  # fmt: skip
    process = part_process.PartProcess()

    assert process.has_ended(30.0)
    assert "ended with 0: it said nothing" == process.end()


def test_a_process_that_dies_over_a_part_is_to_blame_and_its_last_words_are_told(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_process, "COMMAND", (sys.executable, "-c", "raise SystemExit('no memory left')"))

    outcome = run_part(first_part(make_job(), tmp_path / "out"), worker="worker")

    assert (None, True) == (outcome.manifest, outcome.is_charged)
    assert "the process of this part ended with 1: no memory left" == outcome.reason


def test_what_dask_may_log_of_a_part_has_no_secret(make_job: MakeJob, tmp_path: Path) -> None:
    secret = "download.headers={Authorization = 'Bearer 4711'}"

    task = first_part(make_job(settings=[secret]), tmp_path / "out")

    assert "Bearer 4711" == task.config.download.headers["Authorization"]
    assert "4711" not in repr(task)


def test_a_part_that_is_committed_costs_a_look(make_job: MakeJob, tmp_path: Path, sites: list[Site]) -> None:
    task = first_part(make_job(), tmp_path / "out")
    first = run_part(task, worker="first")
    asked = sum(site.asked.total() for site in sites)

    again = run_part(task, worker="second")

    assert first.manifest == again.manifest
    assert asked == sum(site.asked.total() for site in sites)


def test_what_is_of_the_whole_job_is_not_done_for_a_part(make_job: MakeJob, tmp_path: Path) -> None:
    metrics = '[metrics]\ntextfile = "metrics.prom"\nping_url = "http://127.0.0.1:1/ping"\n'
    task = first_part(make_job(more=metrics, settings=["job.prune=true", "transform.workers=auto"]), tmp_path / "out")

    config = part_config(task, tmp_path / "part", cores=3)

    assert ("", "", False, None) == (
        config.metrics.textfile, config.metrics.ping_url, config.job.prune, config.cluster
    )  # fmt: skip
    assert (3, tmp_path / "part") == (config.transform.workers, config.paths.output)


def test_a_part_whose_list_is_gone_tells_why(make_job: MakeJob, tmp_path: Path) -> None:
    task = first_part(make_job(), tmp_path / "out")
    (tmp_path / "out/cluster/plan" / LIST_NAME).unlink()

    outcome = run_part(task, worker="first")

    assert outcome.manifest is None
    assert "list.jsonl: cannot be read: No such file or directory" in outcome.reason


def test_an_attempt_that_nobody_waits_for_is_ended(
    make_job: MakeJob, tmp_path: Path, slow_asked: threading.Event
) -> None:
    task = first_part(make_job(slow=8), tmp_path / "out")

    outcome = run_part(task, worker="first", is_ended=slow_asked.is_set)

    assert (None, False) == (outcome.manifest, outcome.is_charged)
    assert [] == part_processes(os.getpid())
