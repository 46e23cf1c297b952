"""What `batchproc shards` says of a job before it is shared out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import to_builtins

from batchproc.cluster.forecast import Forecast, WorkerRate, describe, forecast, measured_before
from batchproc.cluster.shard_plan import ClusterPlan, DomainSize, ListShard
from batchproc.job_file import load
from tests.cluster.conftest import CLUSTER, MakeJob, Site

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

HOSTS = """
[download.hosts."slow.example"]
requests_per_second = 2
[download.hosts."*.kind.example"]
per_host = 20
requests_per_second = 100
"""
RATE = WorkerRate(
    source="a sample", items=100, seconds_per_item=0.5, request_seconds=0.1, downloaded_bytes=2e6, made_bytes=1e5
)


def plan(*sizes: int, large: int = 0, slices: int = 0) -> ClusterPlan:
    """Parts of these sizes, and behind them slices of one domain."""
    cut = [large // slices] * slices if slices else []
    shards = tuple(
        ListShard(number=number, offset=0, size_bytes=1, items=items, hosts=1, domain="big.org" if cut_ else None)
        for number, (items, cut_) in enumerate([*((size, False) for size in sizes), *((size, True) for size in cut)])
    )
    largest = (DomainSize(domain="big.org", items=large), DomainSize(domain="small.org", items=3))
    return ClusterPlan(
        digest="0" * 64, fingerprint="", columns="", names=(), items=sum(sizes) + large, bad_rows=1, hosts=7,
        shards=shards, largest=largest[0 if large else 1 :],
    )  # fmt: skip


def expect(
    found: ClusterPlan, tmp_path: Path, rate: WorkerRate | None = RATE, *, workers: int = 2, more: str = ""
) -> Forecast:
    path = tmp_path / "job.toml"
    path.write_text('[job]\nname = "a"\ninput = "a.txt"\noutput = "out"\n[download]\nper_host = 4\n' + more)
    return forecast(found, load(path).config, rate, shard_urls=100, workers=workers, cost_per_hour=3.6)


def test_time_and_cost_are_shared_out_among_the_workers(tmp_path: Path) -> None:
    found = expect(plan(100, 100, 50), tmp_path)

    assert (250 * 0.5, 250 * 0.5 / 2, 250 * 0.5 * 3.6 / 3600) == (
        found.worker_seconds, found.wall_seconds, found.cost,
    )  # fmt: skip
    assert 100 * 3 / 250 == found.skew


def test_slices_of_one_domain_take_their_time_whatever_the_workers(tmp_path: Path) -> None:
    found = expect(plan(100, 100, large=400, slices=4), tmp_path, workers=50)

    assert 400 * 0.5 == found.wall_seconds
    assert ("big.org", 4) == (found.domains[0].domain, found.domains[0].slices)


def test_more_workers_than_parts_are_of_no_use(tmp_path: Path) -> None:
    assert 100 * 0.5 == expect(plan(100, 100), tmp_path, workers=50).wall_seconds


def test_a_host_gets_what_one_worker_may_ask_it(tmp_path: Path) -> None:
    assert 4 / 0.1 == expect(plan(10), tmp_path).host.requests_per_second
    found = expect(plan(10), tmp_path, more=HOSTS)
    assert (20, 100) == (found.host.connections, found.host.requests_per_second)
    assert expect(plan(10), tmp_path, None, more=HOSTS).host.requests_per_second is None


def test_nothing_is_said_of_time_that_was_not_measured(tmp_path: Path) -> None:
    found = expect(plan(10), tmp_path, None)

    assert (None, None, None) == (found.wall_seconds, found.worker_seconds, found.cost)
    assert "time        unknown: --sample 200 measures it, and so does any run" == [*describe(found)][-1]


def test_it_is_said_in_so_many_words(tmp_path: Path) -> None:
    assert [
        "list        600 lines, 1 bad row among them; 7 hosts",
        "parts       6 of about 100 lines; the largest has 100, 1 times the mean",
        "domains     big.org: 400, 4 slices one after another, 3 min 20 s at least",
        "            small.org: 3",
        "per host    one worker at a time: at most 4 connections, 40.0 requests per second",
        "measured    a sample: 2 URLs per second and worker; 2 MB fetched and 100 KB made per URL",
        "time        3 min 20 s with 2 workers like this machine",
        "cost        0.08 worker hours, 1.2 GB fetched, 60.0 MB made, 0.30 at the price given",
    ] == [*describe(expect(plan(100, 100, large=400, slices=4), tmp_path))]


def test_an_empty_list_has_a_forecast(tmp_path: Path) -> None:
    assert 0 == expect(plan(), tmp_path).wall_seconds


def call(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "batchproc", "shards", "job.toml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_sample_measures_and_leaves_no_trace(make_job: MakeJob, sites: list[Site], tmp_path: Path) -> None:
    make_job(missing=1)

    done = call(tmp_path, "--sample", "20", "--workers", "3", "--cost-per-hour", "1", "--json")

    assert (0, "") == (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    assert (40, 20, 3) == (found["items"], found["rate"]["items"], found["workers"])
    assert found["wall_seconds"] > 0 < found["cost"]
    assert 20 == sum(site.asked.total() for site in sites)
    assert {"job.toml", "list.csv"} == {path.name for path in tmp_path.iterdir()}


def test_a_job_that_cannot_be_shared_out_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    make_job(cluster=CLUSTER + "local = 2\n")

    done = call(tmp_path)

    assert (2, "") == (done.returncode, done.stdout)
    assert "[cluster] scheduler, local" in done.stderr


def test_the_last_run_is_taken_where_there_is_no_sample(make_job: MakeJob, tmp_path: Path) -> None:
    from batchproc.api import run

    assert measured_before(make_job().config) is None
    run(make_job(cluster=""))

    rate = measured_before(make_job().config)

    assert rate is not None
    assert (40, "the run ") == (rate.items, rate.source[:8])
    assert json.dumps(to_builtins(rate))
