"""A figure has one definition, one name and one value, wherever it is told."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchproc.bench.bench_json import parse_bench
from batchproc.explain.findings import explain
from batchproc.explain.words import seconds, share, significant, size
from batchproc.record.run_json import MemoryRecord, RunRecord, read_run, record_of, write_text
from batchproc.record.run_parts import StageRecord
from batchproc.report.bench_terminal import summarise_bench
from batchproc.report.html import make_report
from batchproc.report.terminal import summarise
from tests.explain.runs import cpu_bound
from tests.report.bench_folder import a_bench, page_of
from tests.report.folder import Job, Parsed, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One run as run.json, the summary and the page tell it; runs of white space are one space."""

    record: RunRecord
    summary: str
    page: Parsed

    def of_stage(self, name: str) -> str:
        """What the page tells of one stage."""
        text = " ".join(self.page.by_id("account").text.split())
        return text.partition(f" {name} · ")[2]


def stage_as_measured(stage: StageRecord) -> StageRecord:
    return replace(stage, utilisation=stage.load.busy, cpu_per_item_seconds=stage.cpu_seconds / stage.tasks,
                   startup_per_worker_seconds=0.0309)  # fmt: skip


@pytest.fixture
def told(job: Job) -> Told:
    counts = {"items": 1000, "done": 1000, "processed": 1000}
    known = record_of(cpu_bound() | {"images_per_second": 79.3, "counts": counts})
    stages = {name: stage_as_measured(stage) for name, stage in known.stages.items()}
    memory = MemoryRecord(peak_pss_bytes=161_000_000, per_worker_pss_bytes=30_204_928)
    (job.run / "run.json").write_bytes(write_text(explain(replace(known, stages=stages, memory=memory))))
    record = read_run(job.run)
    page = parse(make_report(job.run).read_text(encoding="utf-8"))
    return Told(record=record, summary=" ".join(summarise(record, job.run, verbose=True).split()), page=page)


def test_busy_is_one_value_everywhere(told: Told) -> None:
    for name, stage in told.record.stages.items():
        busy = share(stage.utilisation)

        assert stage.utilisation == told.record.bottleneck.loads[name].busy
        assert f"{name} {stage.mode}, " in told.summary
        assert f"busy {busy}; per image" in told.summary
        assert f"busy {busy} per image, median" in told.of_stage(name)
    assert f"were busy {share(told.record.stages['transform'].utilisation)} of the time" in told.record.verdict[0]


def test_cpu_per_image_is_one_value_everywhere(told: Told) -> None:
    for name, stage in told.record.stages.items():
        cpu = seconds(stage.cpu_per_item_seconds)
        choice = next(one for one in told.record.choices if one.stage == name)

        assert stage.cpu_per_item_seconds == next(one.value for one in choice.evidence if one.code == "cpu")
        assert f"CPU {cpu}" in told.summary
        assert told.of_stage(name).count(f"CPU per image {cpu}") == 2
        assert choice.values.get("cpu_seconds") == stage.cpu_per_item_seconds


def test_images_per_second_are_those_of_the_run_and_other_rates_are_of_items(told: Told) -> None:
    rate = significant(told.record.images_per_second)
    text = " ".join(told.page.text.split())

    assert f"; {rate} images/s in " in told.summary
    assert 2 == told.summary.count(f" {rate} used")
    assert f"images per second {rate}" in text
    assert 4 == told.page.by_id("rates").text.count(f"{rate} measured")  # as text, and for who cannot see it
    assert "images/s" not in text
    assert "items/s" in text


def test_the_cost_of_a_process_is_one_value_everywhere(told: Told) -> None:
    stage, memory = told.record.stages["transform"], told.record.memory
    cost = f"process cost {seconds(stage.startup_per_worker_seconds)} to start, {size(memory.per_worker_pss_bytes)}"

    assert 1 == told.summary.count(cost)
    assert told.of_stage("transform").count(cost) == 1 == " ".join(told.page.text.split()).count("process cost")


def test_the_noise_floor_is_one_value_everywhere(tmp_path: Path) -> None:
    facts = a_bench()
    bench = parse_bench(facts)
    assert bench.noise_floor is not None
    margin = share(math.expm1(bench.noise_floor.margin))

    page = " ".join(page_of(facts, tmp_path).text.split())

    assert f"within {margin} is a tie" in " ".join(summarise_bench(bench, tmp_path).split())
    assert f"a tie lies within ± {margin} the noise floor" in page
    assert f"margin of a tie {margin}: the noise floor" in page
