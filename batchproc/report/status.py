"""What `status`, `check` and `steps` print: a job at a glance with what to do next, its plan, and the steps there are.

Changes nothing: the ledger is opened for reading only, and the run lock is tried, never kept. With `--watch` again and
again until the run ends: on a terminal one screen that is drawn anew, elsewhere a line whenever something has changed.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

from msgspec import Struct, field, to_builtins
from msgspec.structs import asdict, replace

from batchproc.config import Config, deciding_values, resolved, unwise
from batchproc.errors import ExitCode, UsageError
from batchproc.explain.mode_wording import rates_of_run
from batchproc.explain.words import STATES, count, seconds, significant, size
from batchproc.ledger import LedgerRun, LedgerView
from batchproc.lock import Holder, find_holder, read_last_holder
from batchproc.measure.processes import usable_cores
from batchproc.record.run_json import NOTHING_DUE, Counts, DueAgain, RunRecord, read_run
from batchproc.redact import printable
from batchproc.report.items_view import host_of
from batchproc.report.terminal import failure_step, list_lines, named_keys
from batchproc.sink import ImageFolder, Layout
from batchproc.sources import find_sources
from batchproc.sources.finding import may_mean_images
from batchproc.transform.steps.step import BuiltIn, keys_of

RUNS_SHOWN = 10
HOSTS_SHOWN = 5
CODES_SHOWN = 3
SECOND = len("2026-11-22T08:15:30")  # of a time in ISO 8601: the lock file has whole seconds
RUNS_COMPARED = 3  # a trend needs at least so many runs that had work
MEANINGS = {
    "quarantined": "  killed their worker twice; --retry-failed tries them again",
    "deferred": "  left for the next run without being charged",
    "absent": "  no longer in the list",
}
TREND = {"rate": "images_per_second", "failures": "failed_this_run", "duration": "wall_seconds"}  # counters of a run


class TrendFigure(Struct, frozen=True, kw_only=True):
    """One figure of the last run that had work, beside the median of those before it."""

    last: float
    median_before: float


class FailingHost(Struct, frozen=True, kw_only=True):
    """A host and how many items are without an image there; `codes`: the causes, the most frequent first."""

    host: str
    items: int
    codes: Sequence[str]


class DiskUse(Struct, frozen=True, kw_only=True):
    """What a job takes of its disk, in bytes: images as the ledger knows them, the ledger, and the folders of runs."""

    images_bytes: int
    ledger_bytes: int
    runs_bytes: int
    free_bytes: int


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job as its ledger and its lock tell of it. `runs`: the last ones, newest first; `next`: what to do.

    `verdict`, `bottleneck`: what the last run that worked says of its modes and of what held it back, a line each;
    `page`: the last report made, where it is.
    """

    job: str
    config: str
    output: str
    running: Holder | None = None
    lost_start: Holder | None = None
    counts: Counts
    failures: Mapping[str, int] = field(default_factory=dict)
    due: int = 0
    due_again: DueAgain = NOTHING_DUE
    list_remarks: Sequence[str] = ()
    keeps_rows: bool = False
    missing_files: int = 0
    failing_hosts: Sequence[FailingHost] = ()
    disk: DiskUse | None = None
    verdict: str = ""
    bottleneck: str = ""
    page: str = ""
    runs: Sequence[LedgerRun] = ()
    trend: Mapping[str, TrendFigure] | None = None
    next: str = ""

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        runs = [to_builtins(run) | {"is_clean": run.is_clean} for run in self.runs]
        return {**to_builtins(self), "runs": runs}


def read_status(config: Config) -> JobStatus:
    """The state of the job. Raises `UsageError` when it never ran, `DiskError` when unreadable."""
    layout = Layout(output=config.paths.output)
    holder = find_holder(layout.lock_path)
    with LedgerView.open_view(layout.ledger_path) as ledger:
        runs, most = ledger.last_runs(RUNS_SHOWN), config.job.max_runs_per_item
        record = _last_record(layout, runs)
        status = JobStatus(
            job=config.job.name,
            config=str(config.paths.config),
            output=str(layout.output),
            running=holder,
            lost_start=None if holder else _find_lost_start(layout.lock_path, runs),
            counts=ledger.counts(),
            failures=ledger.failures_by_code(),
            due=ledger.count_work(max_runs=most),
            # Steps are not looked at: that would load them.
            due_again=ledger.find_due_again(deciding_values(config), max_runs=most),
            list_remarks=ledger.remarks(),
            keeps_rows=config.job.duplicates == "rows",
            missing_files=ledger.count_missing(ImageFolder(layout.output)),
            failing_hosts=_failing_hosts(ledger.failed_urls()),
            disk=_disk_use(layout, ledger.image_totals()[1]),
            verdict=_verdict(record) if record else "",
            bottleneck=record.bottleneck.because if record else "",
            page=str(page) if (page := layout.output / "report.html").exists() else "",
            runs=runs,
            trend=find_trend(runs),
        )
    return replace(status, next=advise(status))


def _failing_hosts(failed: Iterable[tuple[str, str]]) -> tuple[FailingHost, ...]:
    codes: dict[str, Counter[str]] = {}
    for url, code in failed:
        codes.setdefault(host_of(url), Counter())[code] += 1
    most = sorted(codes, key=lambda host: (-codes[host].total(), host))[:HOSTS_SHOWN]
    named = {host: [code for code, _ in codes[host].most_common(CODES_SHOWN)] for host in most}
    return tuple(FailingHost(host=host, items=codes[host].total(), codes=named[host]) for host in most)


def _disk_use(layout: Layout, images_bytes: int) -> DiskUse:
    ledger = layout.ledger_path
    return DiskUse(
        images_bytes=images_bytes,
        ledger_bytes=sum(map(_size, (ledger, ledger.with_name(f"{ledger.name}-wal")))),
        runs_bytes=sum(map(_size, layout.runs_folder.rglob("*"))),
        free_bytes=shutil.disk_usage(layout.output).free,
    )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # a run that is under way removes files
        return 0


def _last_record(layout: Layout, runs: Sequence[LedgerRun]) -> RunRecord | None:
    """Of the last run that worked; None where there is none, or where it is of another version, or removed."""
    worked = next((run for run in runs if run.is_clean and _counter(run, "images_per_second")), None)
    try:
        return read_run(layout.runs_folder / worked.name) if worked else None
    except UsageError:
        return None


def _verdict(record: RunRecord) -> str:
    return "; ".join(f"{one.stage}: {one.headline} ({one.reason})" for one in rates_of_run(record))


def _find_lost_start(lock_path: Path, runs: Sequence[LedgerRun]) -> Holder | None:
    """The last start, if it ended before it had a row in the ledger: killed while it read the list, or refused by the
    disk. The lock file alone knows of it. One that was refused before it had the lock (exit codes 2 and 75) left no
    trace."""
    last = read_last_holder(lock_path)
    if last is None:
        return None
    if runs and last.pid == runs[0].pid and last.started[:SECOND] <= runs[0].started[:SECOND]:
        return None
    return last


def _counter(run: LedgerRun, name: str) -> float:
    value = run.counters.get(name)
    return value if isinstance(value, int | float) else 0


def find_trend(runs: Sequence[LedgerRun]) -> dict[str, TrendFigure] | None:
    """The last run that had work, beside the median of those before it; None without enough of them."""
    worked = [run for run in runs if run.is_clean and _counter(run, "images_per_second")]
    if len(worked) < RUNS_COMPARED:
        return None
    return {
        name: TrendFigure(last=_counter(worked[0], key), median_before=median(_counter(run, key) for run in worked[1:]))
        for name, key in TREND.items()
    }


def advise(status: JobStatus) -> str:
    """What to do next, as one sentence."""
    command = f"batchproc run {status.config}"
    last = status.runs[0] if status.runs else None
    if status.running:
        return f"wait: a run is under way; kill -USR1 {status.running.pid} makes it tell how far it is"
    if lost := status.lost_start:
        return f"the start of {lost.started} ended before its run began; {command} goes on, or says why it cannot"
    if last is not None and last.exit_code == ExitCode.DISK:
        return f"the last run could not write: make room or look at the disk, then {command}"
    if last is not None and not last.is_clean:
        return f"the last run was killed; {command} continues and loses nothing"
    if again := status.due_again.items:
        changed = named_keys(status.due_again.because)
        more = f", and {status.due:,} more" if status.due else ""
        return f"{count(again, 'item')} due again, since {changed} changed{more}: {command}"
    if status.due:
        return f"{count(status.due, 'item')} due: {command}"
    if missing := status.missing_files:
        return f"{count(missing, 'file')} missing: {command} --repair makes them again"
    if step := failure_step(status.failures, status.counts, Path(status.output) / "failures.jsonl", command):
        return f"nothing is due; {step}"
    return "nothing is due; --refresh asks the servers whether anything has changed"


def describe_status(status: JobStatus) -> str:
    """The state for people."""
    return "\n".join(_lines(status))


def _lines(status: JobStatus) -> Iterator[str]:
    yield f"{status.job}: {count(status.counts.items, 'item')} in {status.output}"
    for state in (*STATES, "absent"):
        if (number := getattr(status.counts, state)) or state == "done":
            yield f"  {state:<12}{number:>10,}{MEANINGS.get(state, '')}"
    if status.missing_files:
        yield f"files missing: {status.missing_files:,} of done items; --repair makes them again"
    pruned = int(_counter(status.runs[0], "pruned")) if status.runs else 0
    for text in list_lines(status.counts, status.list_remarks, keeps_rows=status.keeps_rows, pruned=pruned):
        yield f"list: {text}"
    if status.disk:
        disk = status.disk
        yield (
            f"disk: images {size(disk.images_bytes)}, ledger {size(disk.ledger_bytes)}, runs {size(disk.runs_bytes)}; "
            f"{size(disk.free_bytes)} free"
        )
    if status.failures:
        yield "failed by code: " + ", ".join(f"{code} {number:,}" for code, number in status.failures.items())
    if status.failing_hosts:
        hosts = (f"{one.host} {one.items:,} ({', '.join(one.codes)})" for one in status.failing_hosts)
        yield f"failing hosts: {', '.join(hosts)}"
    if status.running:
        yield f"running now: pid {status.running.pid}, since {status.running.started}"
    if status.lost_start:
        yield f"last start: {status.lost_start.started}, ended before its run began"
    yield "last runs, newest first:"
    yield f"  {'run':<20}{'exit':>4}{'processed':>12}{'failed':>9}{'deferred':>10}{'images/s':>10}{'duration':>12}"
    yield from (_run(run, status.running) for run in status.runs)
    if status.trend:
        yield "trend: " + "; ".join(_trend_words(status.trend))
    if status.verdict:
        yield f"last verdict: {status.verdict}"
    if status.bottleneck:
        yield f"last bottleneck: {status.bottleneck}"
    if status.page:
        yield f"last report: {status.page}"
    yield f"next: {status.next}"


def _run(run: LedgerRun, running: Holder | None) -> str:
    if not run.is_clean:
        under_way = running is not None and running.pid == run.pid
        return f"  {run.name:<20}{'under way' if under_way else 'did not end: it was killed'}"
    rate = _counter(run, "images_per_second")
    duration = seconds(_counter(run, "wall_seconds")) if "wall_seconds" in run.counters else "-"
    return (
        f"  {run.name:<20}{run.exit_code:>4}{_counter(run, 'processed'):>12,}"
        f"{_counter(run, 'failed_this_run'):>9,}{_counter(run, 'deferred_this_run'):>10,}"
        f"{significant(rate) if rate else '-':>10}{duration:>12}"
    )


def _trend_words(trend: Mapping[str, TrendFigure]) -> Iterator[str]:
    rate, failures, duration = trend["rate"], trend["failures"], trend["duration"]
    change = 100 * (rate.last / rate.median_before - 1)
    yield f"{significant(rate.last)} images/s, before {significant(rate.median_before)} ({change:+.0f}%)"
    yield f"{failures.last:,.0f} failed, before {failures.median_before:,.0f}"
    yield f"{seconds(duration.last)}, before {seconds(duration.median_before)}"


REFRESH_SECONDS = 2.0
MOST_SHARE = 0.1  # of the time that is spent with reading: a large ledger is looked at less often
HOME_AND_CLEAR = "\x1b[H\x1b[J"

Show = Callable[[JobStatus, float | None], None]  # with the items that came to their end per second, where known


def watch(
    read: Callable[[], JobStatus],
    show: Show,
    *,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Shows the state, and again while a run is under way; returns when it has ended. Ends with KeyboardInterrupt."""
    before: tuple[float, int] | None = None
    while True:
        asked = clock()
        status = read()
        now, ended = clock(), status.counts.items - status.counts.pending
        rate = (ended - before[1]) / (now - before[0]) if before and now > before[0] else None
        show(status, rate)
        if status.running is None:
            return
        before = (now, ended)
        wait(max(REFRESH_SECONDS, (now - asked) / MOST_SHARE))


def screen(write: Callable[[str], object], size: Callable[[], tuple[int, int]]) -> Show:
    """Draws the whole state over the last one, cut to the terminal's columns and lines."""

    def show(status: JobStatus, rate: float | None) -> None:
        columns, lines = size()
        speed = "" if rate is None else f"\n{significant(rate)} items/s just now"
        text = describe_status(status) + speed
        write(HOME_AND_CLEAR + "\n".join(line[: columns - 1] for line in text.split("\n")[: lines - 1]) + "\n")

    return show


def lines(write: Callable[[str], object], now: Callable[[], datetime]) -> Show:
    """Writes a line where something has changed, and the whole state at the end."""
    last = ""

    def show(status: JobStatus, rate: float | None) -> None:
        nonlocal last
        line = _progress(status)
        if line != last:
            speed = f"; {significant(rate)} items/s" if rate else ""
            write(f"{now():%H:%M:%S} {line}{speed}\n")
            last = line
        if status.running is None:
            write(f"{describe_status(status)}\n")

    return show


def _progress(status: JobStatus) -> str:
    numbers = {state: getattr(status.counts, state) for state in STATES}
    states = ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number)
    return f"{count(status.counts.items, 'item')}: {states}"


class JobPlan(Struct, frozen=True, kw_only=True):
    """What a run of a config would do. `images`: of this machine, which are the sources themselves; 0 with lists."""

    config: Config
    cores: int
    workers: Mapping[str, int]
    images: int
    unwise: Sequence[str]
    missing_files: int

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it; secrets are hidden."""
        return asdict(self) | {"config": resolved(self.config)}


def resolve_plan(config: Config) -> JobPlan:
    """The plan. Raises as `LedgerView.open_view` does."""
    cores = usable_cores()
    return JobPlan(
        config=config,
        cores=cores,
        workers={
            "download": config.download.worker_count(config.download.first_mode, cores),
            "transform": 1 if config.transform.mode == "serial" else config.transform.worker_count(cores),
        },
        images=_count_images(config),
        unwise=unwise(config, cores),
        missing_files=missing_files(config),
    )


def _count_images(config: Config) -> int:
    """How many images of this machine are the sources themselves; 0 with lists, and with what a run would refuse."""
    if not any(map(may_mean_images, config.paths.inputs)):
        return 0
    try:
        return len(find_sources(config.paths.inputs).images)
    except UsageError:
        return 0


def missing_files(config: Config) -> int:
    """How many images of the job, if it ran before, have no file any more. Raises as `LedgerView.open_view` does."""
    layout = Layout(output=config.paths.output)
    if not layout.ledger_path.exists():
        return 0
    with LedgerView.open_view(layout.ledger_path) as ledger:
        return ledger.count_missing(ImageFolder(layout.output))


def describe_plan(plan: JobPlan) -> str:
    """The plan for people."""
    config = plan.config
    job, download, transform, output = config.job, config.download, config.transform, config.output
    shown = resolved(config)  # without secrets, and with whole paths
    inputs, folder = ", ".join(shown["job"]["input"]), shown["job"]["output"]
    steps = [" ".join([step["op"], *(f"{name}={value}" for name, value in step.items() if name != "op")])
             for step in shown["transform"]["steps"]] or ["none: decode and encode again"]  # fmt: skip
    adapts = download.workers == "auto" and download.mode != "serial"
    most = f"{'as the network answers, up to ' if adapts else ''}{plan.workers['download']}"
    lines = [
        f"job         {job.name}: {inputs} -> {folder}",
        f"list        {_list_words(plan, shown['job']['root'])}",
        f"download    {_mode(download.mode)}, {most} workers, "
        f"at most {download.per_host} per host, {size(download.max_bytes)} per image, "
        f"{seconds(download.total_timeout)} per request, {download.retries} retries",
        f"transform   {_mode(transform.mode)}, {plan.workers['transform']} workers on {plan.cores} cores, "
        f"{transform.max_pixels:,} pixels at most, quality {transform.quality}",
        *(f"  steps[{number}]  {text}" for number, text in enumerate(steps)),
        f"output      {output.format}, quality {output.quality}, durability {output.durability}",
    ]
    if output.layout != "files":
        lines.append(
            f"shards      {output.layout}, {output.shard_items:,} items each; until theirs is complete, images "
            f"wait in {folder}/images, at most {size(output.spool)}"
        )
    if download.keep_originals:
        lines.append(
            f"originals   kept in {folder}/originals, each once: as much room again as is downloaded, at most "
            f"{size(download.max_bytes)} per image"
        )
    lines.append(f"exit 3      above {job.max_failed_ratio:.0%} failed items")
    lines += [f"unwise      {sentence}" for sentence in plan.unwise]
    if plan.missing_files:
        lines.append(f"missing     {count(plan.missing_files, 'file')} of done items; run --repair makes them again")
    return "\n".join(lines)


def _list_words(plan: JobPlan, root: str) -> str:
    """How the list is read."""
    job = plan.config.job
    if plan.images:
        return f"none, but {count(plan.images, 'image')} of this machine, each known by its path from {root}"
    identity = f'known by "{job.id_column}"' if job.id_column else "known by their URL"
    cut = f'cells cut at "{printable(job.delimiter)}"' if job.delimiter else "cut by its name's ending"
    files = f", files below {job.local_root}" if job.allow_local else ""
    return f"{cut}, quoting {job.quoting}, items {identity}, duplicates {job.duplicates}{files}"


def _mode(mode: str) -> str:
    return "auto: measured and chosen in the run" if mode == "auto" else mode


def describe_step(step: type[BuiltIn]) -> str:
    """One step for people: what it does, its keys, an example."""
    lines = [f"{step.op}: {step.summary()}"]
    for key in keys_of(step):
        default = "required" if key.required else f"default {key.default_toml}" if key.default_toml else "optional"
        lines.append(f"    {key.name}  ({key.kind.allowed}; {default})  {key.help}")
    gil = "holds" if step.work.holds_gil else "releases"
    lines.append(f"    {gil} the GIL; costs {step.work.cost_words} per pixel")
    return "\n".join([*lines, *(f"      {line}" for line in step.example_toml().splitlines())])
