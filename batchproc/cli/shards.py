"""`batchproc shards`: how a job will be shared out, before it is."""

from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Optional

import typer

from batchproc.cli.arguments import AsJson, ConfigPath, Settings, from_here
from batchproc.cli.console import print_json

Sample = Annotated[int, typer.Option(min=0, metavar="N", help="run so many URLs from all over the list, and keep none")]
Workers = Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="workers like this machine")]
Cost = Annotated[
    Optional[float],  # noqa: UP045 - typer reads it at run time
    typer.Option("--cost-per-hour", min=0, metavar="PRICE", help="of one worker, in whatever currency"),
]


def shards(
    config: ConfigPath,
    sample: Sample = 0,
    workers: Workers = 1,
    cost_per_hour: Cost = None,
    setting: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show how [cluster] shares out a job: parts, hosts, time, cost.

    It touches nothing of the job. The time comes from a sample, or from the last run.

    Example: batchproc shards job.toml --sample 200 --workers 8
    """
    import sys
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from batchproc.cluster.forecast import describe, forecast, measure_sample, measured_before
    from batchproc.cluster.partition import make_plan
    from batchproc.cluster.refusals import refuse
    from batchproc.config import ClusterTable
    from batchproc.job_file import load, warm_up
    from batchproc.pipeline.job_list import JobList

    from_here(config)
    with redirect_stdout(sys.stderr):  # a step of the user's may print
        job = load(config, settings=setting or ())
        refuse(job)
        if sample:
            warm_up(job.config)
        shard_urls = (job.config.cluster or ClusterTable()).shard_urls
        with TemporaryDirectory(prefix="batchproc-shards-") as temporary:
            folder = Path(temporary)
            job_list = JobList.of(job.config, job.config.job.base_url)
            plan = make_plan(job_list, folder, shard_urls=shard_urls)
            rate = measure_sample(job, plan, folder, sample) if sample else measured_before(job.config)
    found = forecast(plan, job.config, rate, shard_urls=shard_urls, workers=workers, cost_per_hour=cost_per_hour)
    if as_json:
        print_json(asdict(found))
    else:
        print("\n".join(describe(found)))
