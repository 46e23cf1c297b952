"""What `status` says of a job on a cluster."""

import pytest

from batchproc.cluster.parts_status import describe_cluster_status, read_cluster_status
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
    assert "shared: 1 part: 1 committed" == describe_cluster_status(status).splitlines()[0]
