"""What `status` says of a job on a cluster."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchproc.cli.app import app
from batchproc.cluster.part_ledger import describe_cluster_status, read_cluster_status
from batchproc.errors import UsageError

from .conftest import MakeJob
from .engines import ThreadEngine
from .test_cluster_run import engines, shared

__all__ = ["engines"]

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra


def test_before_the_first_run(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match="there is no plan yet"):
        read_cluster_status(make_job().config)


def test_after_a_run(make_job: MakeJob, engines: list[ThreadEngine]) -> None:
    job = make_job(images=2)
    record = shared(job).record

    status = read_cluster_status(job.config)

    assert {"committed": 1, "waiting": 0, "quarantined": 0} == status.parts
    assert record.run_id == status.last_run
    assert status.counts is not None
    assert 10 == status.counts.done
    assert status.running is None
    assert "shared: 1 part: 1 committed" == next(describe_cluster_status(status))


def test_it_changes_nothing(make_job: MakeJob, engines: list[ThreadEngine], tmp_path: Path) -> None:
    """Also before the first part was put down."""
    job = make_job(images=2)
    shared(job)
    (ledger,) = (tmp_path / "out").glob("cluster/*/parts.db")
    ledger.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    status = read_cluster_status(job.config)

    assert {"committed": 0, "waiting": 1, "quarantined": 0} == status.parts
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_to_watch_it_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    make_job(images=1)

    done = CliRunner().invoke(app, ["status", str(tmp_path / "job.toml"), "--watch"])

    assert isinstance(done.exception, UsageError)
    assert "--watch: is not possible with [cluster]" in str(done.exception)
