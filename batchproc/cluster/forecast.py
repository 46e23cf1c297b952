"""Before a job is shared out: its parts, how many requests a host will get at once, and about how long it takes.

The time is reckoned from what a worker did: in a sample that is run for this, else in the job's last run. It is a
straight line through that, and holds as far as the sample is like the list and the workers are like this machine.
"""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from batchproc.cluster.shard_plan import LIST_NAME, ClusterPlan, DomainSize, PartList, PendingPart
from batchproc.cluster.task import PartTask, part_config
from batchproc.config import Config
from batchproc.errors import BatchprocError
from batchproc.explain.words import count, quantity, seconds, significant, size
from batchproc.job_file import Job
from batchproc.measure.processes import usable_cores
from batchproc.pipeline import RunOptions, run_job
from batchproc.progress import Quiet
from batchproc.record.run_json import RunRecord, read_run
from batchproc.sink import Layout

SAMPLE_SECONDS = 300.0  # at most
SHOWN_DOMAINS = 5


class SlicedDomain(Struct, frozen=True, kw_only=True):
    """A domain of the list, the slices it is cut into, and the seconds that one worker at a time needs for them."""

    domain: str
    items: int
    slices: int
    seconds: float | None = None


class WorkerRate(Struct, frozen=True, kw_only=True):
    """What one worker does. `request_seconds`: the middle of what a download took; None where nobody knows."""

    source: str
    items: int
    seconds_per_item: float
    request_seconds: float | None
    downloaded_bytes: float  # per item
    made_bytes: float


class HostRate(Struct, frozen=True, kw_only=True):
    """The most that any host gets. `requests_per_second` is None where nobody knows how long a request takes."""

    connections: int
    requests_per_second: float | None


class Forecast(Struct, frozen=True, kw_only=True):
    """The parts of a job, and what is expected of them. `skew`: the largest part, divided by the mean.

    `wall_seconds`: no less than the longest row of slices, which follow one another whatever the workers.
    """

    items: int
    bad_rows: int
    hosts: int
    parts: int
    shard_urls: int
    largest_part: int
    skew: float | None
    domains: tuple[SlicedDomain, ...]
    host: HostRate
    workers: int
    rate: WorkerRate | None = None
    wall_seconds: float | None = None
    worker_seconds: float | None = None
    cost: float | None = None


def forecast(
    plan: ClusterPlan,
    config: Config,
    rate: WorkerRate | None,
    *,
    shard_urls: int,
    workers: int,
    cost_per_hour: float | None,
) -> Forecast:
    """What is to be expected of a plan, done by so many workers like the one that was measured."""
    each = rate.seconds_per_item if rate else None
    slices = Counter(shard.domain for shard in plan.shards if shard.domain)
    domains = tuple(_sliced(one, slices[one.domain], each) for one in plan.largest)
    largest = max((shard.items for shard in plan.shards), default=0)
    whole = None if each is None else plan.items * each
    longest = max((one.seconds or 0.0 for one in domains if one.slices > 1), default=0.0)
    return Forecast(
        items=plan.items,
        bad_rows=plan.bad_rows,
        hosts=plan.hosts,
        parts=len(plan.shards),
        shard_urls=shard_urls,
        largest_part=largest,
        skew=largest * len(plan.shards) / plan.items if plan.items else None,
        domains=domains,
        host=_host_rate(config, rate),
        workers=workers,
        rate=rate,
        wall_seconds=None if whole is None else max(whole / min(workers, max(1, len(plan.shards))), longest),
        worker_seconds=whole,
        cost=None if whole is None or cost_per_hour is None else whole / 3600 * cost_per_hour,
    )


def _sliced(one: DomainSize, slices: int, each: float | None) -> SlicedDomain:
    needed = None if each is None else one.items * each
    return SlicedDomain(domain=one.domain, items=one.items, slices=slices or 1, seconds=needed)


def _host_rate(config: Config, rate: WorkerRate | None) -> HostRate:
    """One worker at a time asks a host, so what is set for one machine holds for all of them."""
    download = config.download
    settings = [(download.per_host, 0.0)]
    settings += [(one.per_host or download.per_host, one.requests_per_second) for one in download.hosts.values()]
    if rate is None or not rate.request_seconds:
        return HostRate(connections=max(connections for connections, _ in settings), requests_per_second=None)
    free = [(connections / rate.request_seconds, most) for connections, most in settings]
    return HostRate(
        connections=max(connections for connections, _ in settings),
        requests_per_second=max(min(reached, most) if most else reached for reached, most in free),
    )


def measure_sample(job: Job, plan: ClusterPlan, folder: Path, items: int) -> WorkerRate | None:
    """Runs so many lines from all over the list as a worker would; what became of it stays nowhere.

    Main thread. None where no item came to an end. Raises `BatchprocError`, and `KeyboardInterrupt` when it is stopped.
    """
    with TemporaryDirectory(prefix="batchproc-sample-") as temporary:
        path = Path(temporary, "sample.jsonl")
        step = max(1, plan.items // items)
        with (folder / LIST_NAME).open("rb") as lines, path.open("wb") as sample:
            sample.writelines(islice(lines, 0, items * step, step))
        task = PartTask(
            config=job.config, run="", store="", plan=plan.name, columns=plan.columns, names=plan.names,
            part=PendingPart(
                number=0, generation=0, list_name=path.name, offset=0, size_bytes=0, items=0, first_shard=0
            ),
            seconds=SAMPLE_SECONDS, slots={},
        )  # fmt: skip
        config = part_config(task, Path(temporary, "out"), cores=usable_cores())
        listing = PartList(path=path, columns=plan.columns, names=plan.names)
        began = time.perf_counter()
        result = run_job(config, job.steps, RunOptions(listing=listing), Quiet())
        if result.record.stopped_by == "signal":
            raise KeyboardInterrupt
        if result.error is not None:
            raise result.error
        took = time.perf_counter() - began
    return _rate(result.record, f"a sample of {count(result.counts.processed, 'URL')} in {seconds(took)}")


def measured_before(config: Config) -> WorkerRate | None:
    """What a worker did in the job's last run; None where there was none, or it did nothing."""
    try:
        record = read_run(Layout(output=config.paths.output).latest_path)
    except (BatchprocError, OSError):
        return None
    return _rate(record, f"the run {record.run_id}")


def _rate(record: RunRecord, source: str) -> WorkerRate | None:
    phase, items = record.measured_phase, record.counts.processed
    if not items or not phase.items or not phase.seconds:
        return None
    at_once = max(1, len(record.cluster.workers)) if record.cluster else 1
    download = record.stages.get("download")
    return WorkerRate(
        source=source,
        items=items,
        seconds_per_item=phase.seconds * at_once / phase.items,
        request_seconds=download.service_seconds.p50 if download else None,
        downloaded_bytes=(record.original_bytes or 0) / items,
        made_bytes=(record.rendition_bytes or 0) / items,
    )


def describe(found: Forecast) -> Iterator[str]:
    """The same for people, a line each."""
    bad = f", {count(found.bad_rows, 'bad row')} among them" if found.bad_rows else ""
    yield f"list        {count(found.items, 'line')}{bad}; {count(found.hosts, 'host')}"
    skew = f"; the largest has {found.largest_part:,}, {quantity(found.skew, 'x')} the mean" if found.skew else ""
    yield f"parts       {found.parts:,} of about {found.shard_urls:,} lines{skew}"
    for number, domain in enumerate(found.domains[:SHOWN_DOMAINS]):
        cut = f", {domain.slices:,} slices one after another" if domain.slices > 1 else ""
        alone = f", {seconds(domain.seconds)} at least" if domain.slices > 1 and domain.seconds else ""
        yield f"{'domains' if not number else '':<11} {domain.domain or 'no host'}: {domain.items:,}{cut}{alone}"
    most = found.host.requests_per_second
    reached = f", {significant(most)} requests per second" if most is not None else ""
    yield f"per host    one worker at a time: at most {count(found.host.connections, 'connection')}{reached}"
    yield from _describe_time(found)


def _describe_time(found: Forecast) -> Iterator[str]:
    rate, whole = found.rate, found.worker_seconds
    if rate is None or whole is None:
        yield "time        unknown: --sample 200 measures it, and so does any run"
        return
    yield (
        f"measured    {rate.source}: {significant(1 / rate.seconds_per_item)} URLs per second and worker; "
        f"{size(rate.downloaded_bytes)} fetched and {size(rate.made_bytes)} made per URL"
    )
    yield f"time        {seconds(found.wall_seconds)} with {count(found.workers, 'worker')} like this machine"
    traffic = f"{size(found.items * rate.downloaded_bytes)} fetched, {size(found.items * rate.made_bytes)} made"
    cost = f", {found.cost:,.2f} at the price given" if found.cost is not None else ""
    yield f"cost        {significant(whole / 3600)} worker hours, {traffic}{cost}"
