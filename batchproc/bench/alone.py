"""One stage by itself, in a process of its own: what a mode does to it with the other stage left out of it.

All items are in memory before the clock starts, and nothing is done with what comes out: no ledger, no final names. It
is the same stage, executor and sampler as in a run. Started by `command`, not by `-m`: the workers would import a main
module of ours again, and all that it imports.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from batchproc.bench.dataset import toml_value
from batchproc.config import Config, load
from batchproc.download.stage import Download
from batchproc.executors import Executor, ThreadExecutor
from batchproc.frontier import Frontier, Waits
from batchproc.measure.breakdown import break_down
from batchproc.measure.sampler import Gauges, Sampler
from batchproc.measure.samples import Samples
from batchproc.model import Item, Outcome, Source, SourceImage
from batchproc.pipeline import stages
from batchproc.pipeline.import_list import JobList
from batchproc.pipeline.observer import StageSums
from batchproc.pipeline.opening import make_transform
from batchproc.pipeline.phase_record import describe_stage, stage_totals
from batchproc.record.run_json import MemoryRecord, RunCounts, RunRecord, to_json
from batchproc.record.run_parts import STAGES, StageRecord
from batchproc.shortage import raise_file_limit
from batchproc.sink import Layout
from batchproc.transform.plan import build_steps

LOADING_WORKERS = 8
GAUGE = "out_total"


class AloneSpec(Struct, frozen=True, kw_only=True):
    """Which stage, of which job file under which `--set` values, and a fresh folder for its files."""

    stage: str
    job_file: str
    output: str
    settings: tuple[str, ...]

    def command(self) -> list[str]:
        """The command line of the process that does it; it prints a record as run.json has it, with the outputs."""
        code = "from batchproc.bench.alone import main; main()"
        return [sys.executable, "-P", "-c", code, json.dumps(to_builtins(self))]


def main() -> None:
    """Does what the command line says and prints the record."""
    spec = AloneSpec(**json.loads(sys.argv[1]))
    raise_file_limit()
    config = load(spec.job_file, overrides=[*spec.settings, f"job.output={toml_value(spec.output)}"], environ={})
    alone = run_alone(config, spec.stage)
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
    crew = stages.make_plan(config)
    executors = stages.make_executors(config, crew, log_folder)
    executor = executors[STAGES.index(stage)]
    if stage == "download":
        frontier = _frontier(config)
        return _timed(stage, executor, lambda: _fetch(executor, stages.for_plan(download, crew), frontier))
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
        stages={stage: _describe(stage, executor, outcomes, samples)},
    )
    return AloneRun(record=record, outputs={one.source.key_hex: _output(one) for one, _ in outcomes})


def _describe(
    stage: str, executor: Executor, outcomes: Sequence[tuple[Outcome, float]], samples: Samples | None
) -> StageRecord:
    sums = StageSums()
    for outcome, left in outcomes:
        sums.add(outcome.spans[-1], left)
    totals = stage_totals(executor, sums, stage, samples, Waits())
    return describe_stage(executor, sums, totals, break_down(totals))


def _originals(config: Config, download: Download) -> list[Item[SourceImage]]:
    with ThreadExecutor(workers=LOADING_WORKERS) as executor:
        fetched = list(_fetch(executor, download, _frontier(config)))
    return [replace(one, spans=()) for one in fetched if isinstance(one, Item)]


def _frontier(config: Config) -> Frontier:
    listed = JobList.of(config, config.job.base_url).items()
    sources = [
        Source(index=index, line=item.line, url=item.url, key=item.key) for index, item in enumerate(listed)
    ]
    return stages.make_frontier(config, iter(sources))


def _fetch(executor: Executor, download: Download, frontier: Frontier) -> Iterator[Outcome]:
    for outcome in executor.run(download, frontier):
        passed = frontier.downloaded(outcome)
        final = frontier.on_outcome(passed) if passed is not None else None
        if final is not None:
            yield final


def _output(outcome: Outcome) -> str:
    """What is to be the same in every mode: the hash of the original or of the image, or the failure's code."""
    if not isinstance(outcome, Item):
        return str(getattr(outcome, "code", "unchanged"))
    value = outcome.value
    return hashlib.sha256(value.content).hexdigest() if isinstance(value, SourceImage) else str(value.sha256)
