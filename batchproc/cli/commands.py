"""The smaller commands; `check`, `status`, `shards`, `steps` and `schema` only read."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from batchproc import defaults
from batchproc.cli.console import (
    AsJson,
    ConfigPath,
    Settings,
    config_schema,
    from_here,
    load_config,
    load_job,
    print_found,
    print_json,
    print_message,
    read_duration,
    read_folder,
    read_size,
)
from batchproc.cli.run import Output
from batchproc.errors import DiskError, ExitCode, Problem, UsageError

if TYPE_CHECKING:
    from batchproc.report.status import JobStatus


def check(config: ConfigPath, setting: Settings = None, as_json: AsJson = False) -> None:
    """Validate a config and show the plan it resolves to.

    Also finds what a run would refuse; touches nothing.

    Example: batchproc check configs/demo.toml
    """
    job, steps = load_job(config, setting or ())
    from batchproc.api import Job, refuse
    from batchproc.config import outdated_schema
    from batchproc.report.status import describe_plan, resolve_plan

    plan = resolve_plan(job)
    print_found(plan.to_json, lambda: describe_plan(plan), as_json=as_json)
    if stale := outdated_schema(job):
        print_message(f"note: {stale} is of another version; batchproc schema > {shlex.quote(stale)} renews it")
    refuse(Job(config=job, steps=steps))


Watch = Annotated[bool, typer.Option("--watch", help="again and again, until the run that is under way ends")]


def status(config: ConfigPath, setting: Settings = None, as_json: AsJson = False, watch: Watch = False) -> None:
    """Show what is done, pending and failed, and the last runs.

    It reads the ledger and changes nothing.

    Example: batchproc status configs/demo.toml
    """
    job = load_config(config, setting or ())
    if job.cluster is not None:
        if watch:
            raise UsageError([Problem(where="--watch", message="is not possible with [cluster]; see the dashboard.")])
        from msgspec import to_builtins

        from batchproc.cluster.part_ledger import describe_cluster_status, read_cluster_status

        parts = read_cluster_status(job)
        print_found(lambda: to_builtins(parts), lambda: "\n".join(describe_cluster_status(parts)), as_json=as_json)
        return
    from batchproc.report.status import describe_status, read_status

    if watch:
        _watch(lambda: read_status(job))
        return
    found = read_status(job)
    print_found(found.to_json, lambda: describe_status(found), as_json=as_json)


def _watch(read: "Callable[[], JobStatus]") -> None:
    """Until the run ends, or until Ctrl-C: whoever looked on long enough has not failed."""
    from batchproc.report.status import lines, screen, watch

    def write(text: str) -> None:
        print(text, end="", flush=True)

    is_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    show = screen(write, shutil.get_terminal_size) if is_screen else lines(write, datetime.now)
    try:
        watch(read, show)
    except KeyboardInterrupt as error:
        if getattr(error, "exit_code", ExitCode.INTERRUPTED) != ExitCode.INTERRUPTED:  # SIGTERM asks for its own code
            raise


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
    from tempfile import TemporaryDirectory

    from msgspec import to_builtins

    from batchproc.cluster.forecast import describe, forecast, measure_sample, measured_before
    from batchproc.cluster.partition import make_plan
    from batchproc.cluster.shared_run import refuse
    from batchproc.config import ClusterTable
    from batchproc.job_file import load, warm_up
    from batchproc.pipeline.import_list import JobList

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
    print_found(lambda: to_builtins(found), lambda: "\n".join(describe(found)), as_json=as_json)


def steps(as_json: AsJson = False) -> None:
    """List the steps with their keys and an example of each.

    Example: batchproc steps
    """
    from batchproc.report.status import describe_step
    from batchproc.transform.plan import BUILT_IN, built_in, steps_json_schema

    examples = (describe_step(built_in(op)) for op in BUILT_IN)
    print_found(steps_json_schema, lambda: "\n\n".join(examples), as_json=as_json)


def schema() -> None:
    """Print the JSON Schema of the config, for editors.

    Example: batchproc schema > batchproc.schema.json
    """
    print_json(config_schema())


ReportPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="a run's or a bench's folder, or a job's output folder")
]
SamePlan = Annotated[
    bool, typer.Option("--same-plan", help="this config made the images; asked for where no run.json proves it")
]


def report(path: ReportPath) -> None:
    """Make the HTML report of a run, a bench or a job again.

    Of a job's output folder it is that of its last run, else of its last bench.

    Example: batchproc report outputs/demo
    """
    from batchproc.report.html import make_report

    from_here(path)
    try:
        print(make_report(path))
    except OSError as error:
        raise DiskError(f"{error.filename or path}: {error.strerror}. The page before it stays.") from error


def rebuild(config: ConfigPath, output: Output = None, setting: Settings = None, same_plan: SamePlan = False) -> None:
    """Make a damaged ledger anew from what stands in the output.

    From metadata.jsonl and the files it names, hashes checked; fetches nothing.

    Example: batchproc rebuild configs/nightly.toml
    """
    folder = None if output is None else read_folder("--output", output)
    job, steps = load_job(config, [*([f"job.output={folder}"] if folder else []), *(setting or ())])
    from batchproc.pipeline.rebuild import describe_rebuilt, rebuild_ledger, summarise_rebuilt

    rebuilt = rebuild_ledger(job, steps, same_plan=same_plan, notify=print_message)
    for line in describe_rebuilt(rebuilt):
        print_message(line)
    words = ["batchproc", "run", str(config), *(["--output", folder] if folder else [])]
    print(summarise_rebuilt(rebuilt, shlex.join([*words, *(f"--set={one}" for one in setting or ())])))


Photos = Annotated[str, typer.Option(metavar="DIR", help="serve this folder's images")]
Images = Annotated[int, typer.Option(min=1, help="images to make")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one")]
Latency = Annotated[str, typer.Option(metavar="TIME", help="before each reply, as 60ms")]
Jitter = Annotated[float, typer.Option(min=0, max=2, help="sigma of the latency's log-normal factor")]
Bandwidth = Annotated[str, typer.Option(metavar="SIZE", help="per second and connection; 0 = unlimited")]
Faults = Annotated[
    Optional[bool],  # noqa: UP045 - typer reads it at run time
    typer.Option("--faults/--no-faults", help="misbehave for 5% of the URLs; by default only without --photos"),
]
Seed = Annotated[int, typer.Option(min=0, help="of images, latencies and faults")]


def origin(
    photos: Photos = "",
    images: Images = defaults.ORIGIN_IMAGES,
    port: Port = 0,
    latency: Latency = f"{1000 * defaults.ORIGIN_LATENCY_SECONDS:g}ms",
    jitter: Jitter = defaults.ORIGIN_JITTER,
    bandwidth: Bandwidth = "0",
    faults: Faults = None,
    seed: Seed = defaults.ORIGIN_SEED,
) -> None:
    """Serve demo images, or your own, until Ctrl-C.

    Example: batchproc origin --photos ~/Pictures --port 8000 --latency 200ms
    """
    from batchproc.origin.server import serve_alone
    from batchproc.origin.site import OriginSettings

    settings = OriginSettings(
        images=images,
        seed=seed,
        latency_seconds=read_duration("--latency", latency),
        jitter=jitter,
        bandwidth_bytes_per_second=read_size("--bandwidth", bandwidth),
        faults=faults,
        photos=photos,
        port=port,
    )
    raise typer.Exit(serve_alone(settings))
