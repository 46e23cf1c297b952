"""A run of a job on several machines, from its plan to its record: what `batchproc run` does with `[cluster]`."""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import Signals

from msgspec import to_builtins
from msgspec.structs import replace

from batchproc import signals
from batchproc.cluster.driver import Driver
from batchproc.cluster.engine import ask_workers, open_engine, refuse_without_extra
from batchproc.cluster.merge import Amending, Measured, Merged, retry_failed, write_rows
from batchproc.cluster.part_ledger import COMMITTED, PARTS_NAME, PartLedger
from batchproc.cluster.partition import Plans
from batchproc.cluster.shard_plan import FOLDER, ClusterPlan, PartManifest
from batchproc.cluster.shared_store import FolderStore, Store, open_store
from batchproc.cluster.task import place_images, sweep_attempts
from batchproc.columns import Columns
from batchproc.config import STDIN, Config, resolved
from batchproc.errors import BatchprocError, ExitCode, Problem, UsageError, file_errors
from batchproc.explain.wording import nothing_done
from batchproc.job_file import Job
from batchproc.lock import RunLock
from batchproc.measure.processes import describe_machine
from batchproc.measure.samples import Samples
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline import Display, RunOptions, RunResult
from batchproc.pipeline.closing import judge, write_beside
from batchproc.pipeline.import_list import JobList
from batchproc.pipeline.monitoring import RunMonitoring
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.opening import check_job, make_transform, origin_port
from batchproc.pipeline.run_record import iso_time
from batchproc.pipeline.stages import make_origin_settings
from batchproc.pipeline.stopping import ENDING
from batchproc.record.run_json import FILE_NAME, MachineRecord, RunCounts, RunRecord, write_text
from batchproc.record.run_parts import ClusterRecord
from batchproc.sink import Layout, write_atomically
from batchproc.sink.shard_files import FOLDER as SHARDS
from batchproc.sink.shard_files import MANIFEST, manifest_text
from batchproc.sink.shard_files import NAME as SHARD_NAME
from batchproc.transform.plan import fingerprint, recipe_of, unique_bits
from batchproc.version import VERSION


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
    check_job(config)


PARTS_JSONL = "parts.jsonl"
TERMINAL = ("done", "rejected", "failed", "quarantined", "deferred")


def run_on_cluster(job: Job, options: RunOptions, display: Display) -> RunResult:
    """Runs a job on the workers of its cluster, and continues what an earlier run left. Main thread.

    Raises `UsageError` before anything is touched, `LockHeldError`, `DiskError`, and `ExecutorError` when nobody is
    there to work; what is committed by then is kept.
    """
    refuse_options(options)
    refuse(job)
    layout = Layout(output=job.config.paths.output)
    layout.prepare()
    with RunMonitoring(job.config, display.note) as monitor:
        with RunLock(layout.lock_path, wait_seconds=options.wait_seconds, notify=display.note):
            monitor.begin()
            layout.sweep()
            result = _ClusterRun(job, options, display, layout).execute()
        monitor.result = result
    return result


class _ClusterRun:
    """One run under way."""

    def __init__(self, job: Job, options: RunOptions, display: Display, layout: Layout) -> None:
        assert job.config.cluster is not None
        self._job = job
        self._config: Config = job.config
        self._table = job.config.cluster
        self._options = options
        self._display = display
        self._layout = layout
        self._measured = Measured()
        self._observer = Observer()  # of the display
        self._signals: list[Signals] = []
        self._is_over = False  # `max_duration` has passed
        self._started = datetime.now(UTC)
        self._clock_started = time.perf_counter()

    def execute(self) -> RunResult:
        store = open_store(self._config.paths.bucket or str(self._layout.output))
        port = origin_port(self._layout.output) if self._config.origin else 0
        plan = self._plan(store, port)
        folder = self._layout.new_run_folder(self._started)
        with PartLedger.open(self._home / plan.name / PARTS_NAME) as ledger:
            if self._options.retry_failed:
                retry_failed(plan, ledger, store, self._options.retry_codes)
            with self._origin(port if _has_work(plan, ledger) else 0):
                error, line_seconds = self._work(plan, ledger, store)
            merged = self._merge(plan, ledger, store)
            record = self._record(plan, ledger, merged, error, line_seconds)
        self._write(folder, record)
        return RunResult(exit_code=ExitCode(record.exit_code), record=record, folder=folder, error=error)

    @property
    def _home(self) -> Path:
        """Where the driver keeps what it knows: on this machine's disk, beside the rows."""
        return self._layout.output / FOLDER

    @contextmanager
    def _origin(self, port: int) -> Iterator[None]:
        """The embedded origin of a cluster on this machine, while the block lasts."""
        if not port:
            yield
            return
        self._display.note("starting the embedded origin; the first time it draws its pictures ...")
        with EmbeddedOrigin(make_origin_settings(self._config, port)):
            yield

    def _plan(self, store: Store, port: int) -> ClusterPlan:
        """The plan of the list as it is; made on demand. Raises `UsageError` when the settings have changed."""
        base_url = f"http://127.0.0.1:{port}/" if port else self._config.job.base_url
        job_list = JobList.of(self._config, base_url, keep=True)
        options = self._options
        with signals.doing("sharing out the list"):
            return self._plans(store).find(job_list, fresh=options.fresh, accept=options.accept_config_change)

    def _plans(self, store: Store) -> Plans:
        output = self._config.output
        settings = fingerprint(make_transform(self._config, self._job.steps))
        settings = f"{settings} {output.layout} {output.shard_items} {output.caption}"
        return Plans(config=self._config, table=self._table, settings=settings, layout=self._layout, store=store)

    def _work(self, plan: ClusterPlan, ledger: PartLedger, store: Store) -> tuple[BatchprocError | None, float]:
        """Does what is left of the plan; what ended that before its time, and how long it took."""
        if not _has_work(plan, ledger):
            return None, 0.0
        driver = Driver(
            self._config, plan, ledger, partial(open_engine, self._table), note=self._display.note,
            committed=self._committed, joined=partial(ask_workers, self._config, store), store=store.address,
            amended=partial(self._plans(store).amended, plan),
        )  # fmt: skip
        began = time.perf_counter()
        try:
            if dashboard := driver.open().dashboard:
                self._display.note(f"dashboard: {dashboard}")
            self._display.begin(plan.items)
            began = time.perf_counter()
            with self._stopped_by_signals(driver), signals.doing(driver.describe):
                driver.work()
            self._is_over = driver.is_over
        except UsageError:
            raise
        except BatchprocError as error:
            return error, time.perf_counter() - began
        finally:
            self._display.end()
            driver.close()
        return None, time.perf_counter() - began

    @contextmanager
    def _stopped_by_signals(self, driver: Driver) -> Iterator[None]:
        """A signal stops the driver, and a second one ends it: parts that are being worked on are left then."""

        def on_signal(number: int) -> None:
            if number in ENDING:
                self._signals.append(Signals(number))
                driver.stop()
                is_first = len(self._signals) == 1
                what = "parts in progress commit what they have. Once more leaves them" if is_first else "leaving"
                self._display.note(f"{Signals(number).name}: nothing more is handed out; {what}.")

        with signals.handled_by(on_signal):
            yield

    def _committed(self, manifest: PartManifest) -> None:
        self._measured.add(manifest)
        counts = manifest.record["counts"]
        self._observer.outcomes.update({word: counts[word] for word in TERMINAL})
        self._observer.processed += counts["processed"]
        self._observer.failures.update(manifest.record["failures_this_run"] or {})
        self._display.advance(self._observer)

    def _merge(self, plan: ClusterPlan, ledger: PartLedger, store: Store) -> Merged:
        """The manifests of the whole job, from those of its parts."""
        with signals.doing("putting the parts together"):
            attempts: dict[str, str] = {}
            for manifest in ledger.manifests():
                place_images(store, manifest)  # whose worker was killed over it
                attempts[manifest.part] = manifest.attempt
            sweep_attempts(store, plan.name, attempts)
            changes, caption = self._plans(store).changes(plan), self._config.output.caption
            amending = Amending(store, plan, changes, caption, self._remove if self._prunes(plan) else None)
            merged = write_rows(
                store, ledger.manifests(), amending, self._layout.metadata_path, self._layout.failures_path
            )
            if self._config.output.layout != "files":
                shards = [shard for manifest in ledger.manifests() for shard in manifest.shards]
                output, entries = self._config.output, [to_builtins(shard) for shard in shards]
                content = manifest_text(output.layout, output.shard_items, entries)
                store.replace(MANIFEST, content)
                write_atomically(self._layout.shard_manifest_path, [content])
                if not _has_work(plan, ledger):
                    _sweep_shards(store, {shard.name for shard in shards})
            told = write_beside(self._layout, self._config.output, Columns.parse(plan.columns), merged.contents())
        if told:
            self._display.note(told)
        return merged

    def _prunes(self, plan: ClusterPlan) -> bool:
        """Whether images of items that left the list go. A list that is empty by accident must not cost them all."""
        return self._config.job.prune and self._config.output.layout == "files" and plan.items > 0

    def _remove(self, name: str) -> None:
        (self._layout.output / name).unlink(missing_ok=True)

    def _record(
        self,
        plan: ClusterPlan,
        ledger: PartLedger,
        merged: Merged,
        error: BatchprocError | None,
        line_seconds: float,
    ) -> RunRecord:
        measured = self._measured
        counts = merged.all_counts(plan)
        stopped_by = "signal" if self._signals else "duration" if self._is_over else None
        signalled = ENDING[self._signals[0]] if self._signals else None
        ending = judge(
            self._config.job, counts, self._observer,
            error=error, signalled=signalled, stopped_by=stopped_by, given_up=ledger.quarantined(),
        )  # fmt: skip
        done = measured.counts["done"]
        record = RunRecord(
            version=VERSION,
            job=self._config.job.name,
            run_id=self._started.strftime("%Y%m%dT%H%M%SZ"),
            started=iso_time(self._started),
            ended=iso_time(datetime.now(UTC)),
            wall_seconds=time.perf_counter() - self._clock_started,
            line_seconds=line_seconds,
            exit_code=int(ending.exit_code),
            reason=ending.reason,
            stopped_by=stopped_by,
            counts=RunCounts(
                **to_builtins(counts), processed=measured.counts["processed"], retried=measured.counts["retried"],
                already_done=counts.done - done, unchanged=measured.counts["unchanged"],
            ),
            failures=dict(merged.failures),
            deferrals=dict(merged.deferrals),
            failures_this_run=dict(measured.failures),
            images_per_second=done / line_seconds if line_seconds else 0.0,
            recipe=measured.recipe or recipe_of(make_transform(self._config, self._job.steps)),
            resampler_problem=measured.resampler_problem,
            original_bytes=measured.original_bytes,
            rendition_bytes=measured.output_bytes,
            host=MachineRecord(**describe_machine(with_libraries=True)),
            config=resolved(self._config),
            samples=Samples(unknown="each part was sampled by itself"),
        )
        if not measured.parts:
            return nothing_done(replace(record, cluster=self._cluster(plan, ledger, record)))
        return replace(measured.explained(record), cluster=self._cluster(plan, ledger, record))

    def _cluster(self, plan: ClusterPlan, ledger: PartLedger, record: RunRecord) -> ClusterRecord:
        """What there is to say of workers and parts; `record` has what is not of one worker."""
        measured = self._measured
        return ClusterRecord(
            scheduler=self._table.scheduler or f"{self._table.local} workers on this machine",
            plan=plan.name,
            parts_planned=len(plan.shards),
            parts_committed=sum(1 for row in ledger.rows() if row.state == COMMITTED and not row.place[1]),
            parts_this_run=len(measured.parts),
            skew=measured.skew,
            workers=measured.workers(record),
            parts=measured.slowest_parts(),
            quarantined=ledger.quarantined(),
        )

    def _write(self, folder: Path, record: RunRecord) -> None:
        with file_errors(folder, ""):
            lines = [json.dumps(to_builtins(part)).encode() + b"\n" for part in self._measured.parts]
            write_atomically(folder / PARTS_JSONL, lines)
            write_atomically(folder / "spans.jsonl", [])
            write_atomically(folder / FILE_NAME, [write_text(record)])
            self._layout.point_latest(folder)
            self._layout.prune_runs(self._config.job.keep_runs)


def _has_work(plan: ClusterPlan, ledger: PartLedger) -> bool:
    last = ledger.last_committed()
    return len(last) < len(plan.shards) or any(row.due for row in last.values())


def _sweep_shards(store: Store, kept: Collection[str]) -> None:
    """Removes shards of attempts that came second. When every part is committed: before, one may just get its manifest.

    Of a bucket nothing is listed, so they stay there.
    """
    if isinstance(store, FolderStore):
        for path in (store.folder / SHARDS).glob("*"):
            name = f"{SHARDS}/{path.name}"
            if SHARD_NAME.fullmatch(name) and name not in kept:
                path.unlink(missing_ok=True)
