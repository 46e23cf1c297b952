"""SIGKILL at every point of the making of shards: the next start ends with the same bytes.

The short version is in the suite; the rest is `pytest -m slow tests/campaign/test_shard_kills.py`, and 100 kills at
random times are `python -m tests.campaign.shard_kills`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.failpoints import VARIABLE
from tests.campaign.family import ROOT
from tests.campaign.shard_kills import ending, faults_of
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run

FLAGS = ("output.shard_items=3", "transform.mode=serial", "download.mode=serial", "report.sampling=false")
POINTS = (
    "shards.begun:1",
    "sink.shard_written:1",
    "sink.before_replace:1",
    "shards.written:1",
    "shards.committed:2",
    "shards.emptying:2",
    "shards.published:1",
    "shards.removed:1",
    "ledger.after_staged:1",
    "ledger.before_manifests_noted:1",
)
SHORT = ("sink.shard_written:1", "shards.emptying:2", "shards.published:1")


def start(config: Path, layout: str, output: str, point: str = "") -> int:
    sets = (*FLAGS, f"output.layout={layout}", f"job.output={output}")
    flags = [word for one in sets for word in ("--set", one)]
    environment = {**os.environ, VARIABLE: point} if point else None
    command = [sys.executable, "-m", "batchproc", "run", str(config), *flags]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("point", SHORT)
def test_a_job_killed_as_it_makes_shards_continues_to_the_same_bytes(
    make_job: MakeJob, tmp_path: Path, point: str
) -> None:
    config = make_job(images=8)
    run(config, *FLAGS, "output.layout=webdataset", "job.output=calm")

    assert -9 == start(config, "webdataset", "killed", point)
    run(config, *FLAGS, "output.layout=webdataset", "job.output=killed")

    assert [] == faults_of(tmp_path / "killed", ending(tmp_path / "calm"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
@pytest.mark.parametrize("point", POINTS)
def test_the_matrix_of_shards_of_a_grown_list(make_job: MakeJob, tmp_path: Path, point: str, layout: str) -> None:
    if layout == "parquet":
        pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    for output in ("calm", "killed"):
        assert 0 == start(make_job(images=4), layout, output)
        config = make_job(images=8)
        if output == "killed":
            assert -9 == start(config, layout, output, point)
        assert 0 == start(config, layout, output)

    assert [] == faults_of(tmp_path / "killed", ending(tmp_path / "calm"))


@pytest.mark.slow
def test_unpacking_that_is_killed_goes_on(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=8)
    for output in ("calm", "killed"):
        assert 0 == start(config, "webdataset", output)
    assert -9 == start(config, "files", "killed", "shards.unpacking:5")
    for output in ("calm", "killed"):
        assert 0 == start(config, "files", output)

    assert [] == faults_of(tmp_path / "killed", ending(tmp_path / "calm"))
