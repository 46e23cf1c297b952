"""Runs one case: a real run of the job in a process of its own, into a fresh folder that is removed afterwards.

All modes have to make the same files, byte for byte: a comparison of times means nothing where they do not.

A stage by itself runs in such a process too: the same stage, executor and sampler as in a run, on items that are all in
memory before the clock starts, and nothing is done with what comes out: no ledger, no final names.
"""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import psutil
from msgspec import Struct
from msgspec.structs import replace

from batchproc.bench.bench_json import CaseRun
from batchproc.bench.dataset import child_environment, fetch, sources, toml_value
from batchproc.bench.spec import Case
from batchproc.config import Config, load
from batchproc.download.fetch import Download
from batchproc.errors import BatchprocError, ExitCode
from batchproc.executors import Executor, ThreadExecutor
from batchproc.frontier import Waits
from batchproc.measure.breakdown import break_down
from batchproc.measure.sampler import Gauges, Sampler
from batchproc.measure.samples import ProcessUsage, Samples
from batchproc.model import Item, Outcome, SourceImage
from batchproc.pipeline import stages
from batchproc.pipeline.observer import StageSums
from batchproc.pipeline.opening import make_transform
from batchproc.pipeline.phase_record import describe_stage, stage_totals
from batchproc.record.run_json import MemoryRecord, RunCounts, RunRecord, record_of, to_json
from batchproc.record.run_parts import STAGES, StageRecord
from batchproc.shortage import raise_file_limit
from batchproc.signals import withheld_from_children
from batchproc.sink import Layout, write_atomically
from batchproc.transform.plan import build_steps

LOADING_WORKERS = 8
GAUGE = "out_total"
TAIL_CHARACTERS = 2000
SIGNALS = (signal.SIGINT, signal.SIGTERM)
KEPT = "the bench was stopped; what it measured is kept, and the same command continues"
OUTPUTS_NAME = "outputs.json"
NAMED = 5
# -P: a file named like a standard module in the user's working directory must not be imported.
PYTHON = (sys.executable, "-P")


class BenchError(BatchprocError):
    """The bench cannot go on: a run broke, or its outputs differ."""


class BenchStopped(BatchprocError):
    """A signal ended the bench; what was measured is kept unless `text` says otherwise."""

    def __init__(self, number: int, text: str = KEPT) -> None:
        self.number = number
        self.exit_code = ExitCode.TERMINATED if number == signal.SIGTERM else ExitCode.INTERRUPTED
        super().__init__(text)


class Interrupt:
    """Raises `BenchStopped` in the main thread on the first signal, for the length of a `with` block; ignores the rest.

    Used by the main thread alone, in which Python runs its signal handlers.
    """

    def __init__(self) -> None:
        self._held = False
        self._number: int | None = None

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._handle) for number in SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes inside the block is raised at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._number is not None:
            raise BenchStopped(self._number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            return
        self._number = number
        if not self._held:
            raise BenchStopped(number)


class Ran(Struct, frozen=True, kw_only=True):
    """A run's record, with the origin's row in it, what bench.json keeps of it, and the folder of its files.

    `outputs` maps each item's key to the hash of its image, or to its failure's code.
    """

    record: RunRecord
    run: CaseRun
    outputs: Mapping[str, str]
    output: Path


class Runner:
    """Runs cases of one job file against one origin. For one thread; a run takes the whole machine."""

    def __init__(
        self, job_file: Path, folder: Path, interrupt: Interrupt, *, origin_pid: int, keep: bool = False
    ) -> None:
        self._job_file = job_file
        self._interrupt = interrupt
        self._folder = folder
        self._origin = psutil.Process(origin_pid)
        self._keep = keep
        kept = [int(path.name.partition("-")[0]) for path in folder.iterdir()] if folder.is_dir() else []
        self._number = max(kept, default=0)

    def run(self, case: Case, *settings: str) -> Ran:
        """Runs a case once, under further `--set` values. Raises `BenchError` when the run breaks."""
        self._number += 1
        what = f"{case.alone}-{case.download}" if case.alone else f"{case.download}-{case.transform}"
        output = self._folder / f"{self._number:04d}-{what}"
        before, started = self._origin_cpu_seconds(), time.perf_counter()
        text = self._execute(self._command(case, output, [*case.overrides, *settings]), output)
        command_seconds = time.perf_counter() - started
        origin_cpu_seconds = self._origin_cpu_seconds() - before
        content = json.loads(text)
        record = with_origin(record_of(content), origin_cpu_seconds)
        outputs = content["outputs"] if case.alone else read_outputs(output)
        run = replace(
            case_run_of(record),
            command_seconds=command_seconds,
            origin_cpu_seconds=origin_cpu_seconds,
            outputs_sha256=digest(outputs),
        )
        if not run.done:
            raise BenchError(f"{case.name}: not one image was made; see {output / 'failures.jsonl'}")
        return Ran(record=record, run=run, outputs=outputs, output=output)

    def clear(self, ran: Ran) -> None:
        """Removes what a run made, unless it is to be kept."""
        if not self._keep:
            shutil.rmtree(ran.output)

    def _command(self, case: Case, output: Path, settings: Sequence[str]) -> list[str]:
        if case.alone:
            return alone_command(case.alone, self._job_file, output, settings)
        command = [*PYTHON, "-m", "batchproc", "run", str(self._job_file), "--output", str(output)]
        return [*command, "--json", "--quiet", *(word for setting in settings for word in ("--set", setting))]

    def _execute(self, command: list[str], output: Path) -> str:
        """The child's stdout. It is killed when the bench is stopped meanwhile; its workers end with it."""
        child: subprocess.Popen[str] | None = None
        try:
            with self._interrupt.held():
                child = launch(command)
            text, errors = child.communicate()
        except BaseException:
            if child is not None:
                child.kill()
                child.communicate()
            shutil.rmtree(output, ignore_errors=True)
            raise
        if child.returncode:
            tail = errors[-TAIL_CHARACTERS:].strip()
            raise BenchError(f"a run ended with exit code {child.returncode}, in {output}:\n{tail}")
        return text

    def _origin_cpu_seconds(self) -> float:
        times = self._origin.cpu_times()
        return float(times.user + times.system)


def read_outputs(output: Path) -> dict[str, str]:
    """What became of each item, by key: the hash of its image, or the code of its failure."""
    layout = Layout(output=output)
    return _by_key(layout.metadata_path, "sha256") | _by_key(layout.failures_path, "code")


def case_run_of(record: RunRecord) -> CaseRun:
    """What is kept of a record whose samples know the origin (see `with_origin`)."""
    return CaseRun(
        seconds=record.line_seconds,
        startup_seconds=record.startup_seconds,
        done=record.counts.done,
        failed=record.counts.processed - record.counts.done,
        conditions=record.samples.machine,
        peak_pss_bytes=record.memory.peak_pss_bytes,
        per_worker_pss_bytes=record.memory.per_worker_pss_bytes,
        stages={
            name: replace(stage, parts={}, parts_cpu={}, connections=None, per_worker=())
            for name, stage in record.stages.items()
        },
    )


def with_origin(record: RunRecord, origin_cpu_seconds: float | None) -> RunRecord:
    """The record with the bench's origin in its own row: the run did not know it and counted it among the others."""
    samples = record.samples
    if samples.unknown is not None or origin_cpu_seconds is None:
        return record
    machine, others = samples.machine, samples.machine.others_cpu_share
    if others is not None:
        whole = machine.cores * samples.wall_seconds
        machine = replace(machine, others_cpu_share=max(0.0, others - origin_cpu_seconds / whole))
    usage = ProcessUsage(role="origin", cpu_seconds=origin_cpu_seconds)
    return replace(record, samples=replace(samples, processes=(*samples.processes, usage), machine=machine))


def digest(outputs: Mapping[str, str]) -> str:
    """One hash of all that a run made."""
    text = "".join(f"{key} {value}\n" for key, value in sorted(outputs.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _by_key(path: Path, column: str) -> dict[str, str]:
    with path.open(encoding="utf-8") as file:
        return {row["key"]: row[column] for row in map(json.loads, file)}


def launch(command: Sequence[str]) -> "subprocess.Popen[str]":
    """Starts a command in a session of its own, without input, its output piped. The caller ends and reaps it."""
    with withheld_from_children():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C is for the bench
        )


class OutputCheck:
    """Remembers what the first run of each settings hash made, also across an interruption. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / OUTPUTS_NAME
        self._first: dict[str, dict[str, str]] = json.loads(self._path.read_bytes()) if self._path.exists() else {}

    def compare(self, plan: str, outputs: Mapping[str, str], case: str) -> None:
        """Takes what a run made under a settings hash. Raises `BenchError` when an earlier one made others."""
        first = self._first.get(plan)
        if first is None:
            self._first[plan] = dict(outputs)
            write_atomically(self._path, [json.dumps(self._first).encode()])
        elif first != outputs:
            raise BenchError(_describe(first, outputs, case))

    @property
    def compared(self) -> dict[str, int]:
        """Images and failures compared, by settings hash."""
        return {plan: len(outputs) for plan, outputs in self._first.items()}


def _describe(first: Mapping[str, str], now: Mapping[str, str], case: str) -> str:
    keys = sorted(key for key in {*first, *now} if first.get(key) != now.get(key))
    lines = [f"  {key}: first {first.get(key, 'nothing')}, now {now.get(key, 'nothing')}" for key in keys[:NAMED]]
    more = f"\n  and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return (
        f"{case} made other outputs than the first run did, of {len(keys)} of {len({*first, *now})} items "
        "(SHA-256 of the image, or the failure's code):\n" + "\n".join(lines) + more + "\n"
        "Is a step of yours random, or does it share state? The run's folder was kept; no time was compared."
    )


def alone_command(stage: str, job_file: Path, output: Path, settings: Sequence[str]) -> list[str]:
    """The command line of the process that runs one stage by itself, into a fresh folder."""
    code = "from batchproc.bench.runner import print_alone; print_alone()"
    return [*PYTHON, "-c", code, stage, str(job_file), str(output), *settings]


def print_alone() -> None:
    """Runs what the command line names: stage, job file, fresh folder, `--set` values; prints record and outputs."""
    stage, job_file, output, *settings = sys.argv[1:]
    raise_file_limit()
    config = load(job_file, overrides=[*settings, f"job.output={toml_value(output)}"], environ={})
    alone = run_alone(config, stage)
    sys.stdout.write(json.dumps({**to_json(alone.record), "outputs": alone.outputs}))


class AloneRun(Struct, frozen=True, kw_only=True):
    """What was measured, and what was made: by the item's key the hash of the original or image, or a code."""

    record: RunRecord
    outputs: Mapping[str, str]


def run_alone(config: Config, stage: str) -> AloneRun:
    """Runs one stage on all items of the job. Raises `UsageError` and what executors raise."""
    layout = Layout(output=config.paths.output)
    layout.prepare()
    log_folder = layout.output / "runs"
    steps = build_steps(config.transform.steps, search_path=config.paths.root)
    download, transform = stages.make_download(config), make_transform(config, steps)
    plan = stages.make_plan(config)
    executors = stages.make_executors(config, plan, log_folder)
    executor = executors[STAGES.index(stage)]
    if stage == "download":
        frontier = stages.make_frontier(config, sources(config))
        return _timed(stage, executor, lambda: fetch(executor, stages.for_plan(download, plan), frontier))
    originals = _originals(config, download)
    return _timed(stage, executor, lambda: executor.run(transform, originals))


def _timed(stage: str, executor: Executor, run: Callable[[], Iterator[Outcome]]) -> AloneRun:
    """Opens the executor, runs it to its end, closes it; `run` returns its outcomes."""
    outcomes: list[tuple[Outcome, float]] = []
    started = time.perf_counter()
    with Gauges((GAUGE,)) as gauges, executor, Sampler(gauges) as sampler:
        for outcome in run():
            gauges.add(GAUGE)
            outcomes.append((outcome, time.perf_counter()))
    line_seconds = time.perf_counter() - started
    samples = sampler.result()
    done = [outcome for outcome, _ in outcomes if isinstance(outcome, Item)]
    record = RunRecord(
        line_seconds=line_seconds,
        wall_seconds=line_seconds,
        startup_seconds=min((one.spans[-1].started for one in done), default=started) - started,
        counts=RunCounts(done=len(done), processed=len(outcomes)),
        memory=MemoryRecord(peak_pss_bytes=samples.peak_pss_bytes if samples else None),
        samples=samples or Samples(unknown=sampler.failure),
        stages={stage: _stage_record(stage, executor, outcomes, samples)},
    )
    return AloneRun(record=record, outputs={one.source.key_hex: _output(one) for one, _ in outcomes})


def _stage_record(
    stage: str, executor: Executor, outcomes: Sequence[tuple[Outcome, float]], samples: Samples | None
) -> StageRecord:
    sums = StageSums()
    for outcome, left in outcomes:
        sums.add(outcome.spans[-1], left)
    totals = stage_totals(executor, sums, stage, samples, Waits())
    return describe_stage(executor, sums, totals, break_down(totals))


def _originals(config: Config, download: Download) -> list[Item[SourceImage]]:
    with ThreadExecutor(workers=LOADING_WORKERS) as executor:
        fetched = list(fetch(executor, download, stages.make_frontier(config, sources(config))))
    return [replace(one, spans=()) for one in fetched if isinstance(one, Item)]


def _output(outcome: Outcome) -> str:
    """What is to be the same in every mode: the hash of the original or of the image, or the failure's code."""
    if not isinstance(outcome, Item):
        return str(getattr(outcome, "code", "unchanged"))
    value = outcome.value
    return hashlib.sha256(value.content).hexdigest() if isinstance(value, SourceImage) else str(value.sha256)
