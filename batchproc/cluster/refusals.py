"""What cannot be shared out among machines, and what to do instead: told before anything is touched."""

from batchproc.cluster.engine import refuse_without_extra
from batchproc.config import STDIN
from batchproc.errors import Problem, UsageError
from batchproc.job_file import Job
from batchproc.pipeline import RunOptions
from batchproc.pipeline.job_list import JobList
from batchproc.pipeline.opening import check_certificates, check_layout
from batchproc.sink import Layout
from batchproc.transform.steps.checks import unique_bits


def refuse_options(options: RunOptions) -> None:
    """Raises `UsageError` for what is asked of a run that only one on one machine can do."""
    asked = {
        "--limit": options.limit, "--refresh": options.refresh, "--repair": options.repair, "--strict": options.strict,
    }  # fmt: skip
    message = "is not possible with [cluster]; run the job on one machine for that."
    if problems := [Problem(where=flag, message=message) for flag, is_asked in asked.items() if is_asked]:
        raise UsageError(problems)


def refuse(job: Job) -> None:
    """Raises `UsageError` for a job that cannot be shared out; one without the table may be looked at."""
    refuse_without_extra()
    config, table = job.config, job.config.cluster
    problems = []
    if table is not None and bool(table.scheduler) == bool(table.local):
        message = "must name a scheduler, or the number of workers to start here: the one or the other."
        problems.append(Problem(where="[cluster] scheduler, local", message=message))
    if STDIN in config.paths.inputs:
        problems.append(Problem(where="[job] input", message="stdin can be read only once; give a file to [cluster]."))
    if config.origin is not None and (table is None or table.scheduler):
        message = "is a server of this machine, which others do not reach; `batchproc origin` starts one by itself."
        problems.append(Problem(where="[origin]", message=message))
    if unique_bits(job.steps) is not None:
        message = "`unique` compares all images of a job, and no worker sees them all; run it without [cluster]."
        problems.append(Problem(where="[transform] steps", message=message))
    if config.download.keep_originals:
        message = "must be false: a cluster's workers hand back images alone; run it without [cluster]."
        problems.append(Problem(where="[download] keep_originals", message=message))
    layout = Layout(output=config.paths.output)
    if table is not None and layout.ledger_path.exists():
        message = f"{layout.output} holds what one machine made; choose another output for [cluster]."
        problems.append(Problem(where="[job] output", message=message))
    if problems:
        raise UsageError(problems)
    layout.check()
    JobList.of(config, config.job.base_url).check()
    check_layout(config)
    check_certificates(config)
