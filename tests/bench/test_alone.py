"""A stage by itself does the same work as in a run, and says where its time went."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from batchproc.bench.alone import Wish, run_alone
from batchproc.bench.result import STAGE_FIGURES, result_of
from batchproc.bench.runner import read_outputs
from batchproc.cli import load_job
from batchproc.pipeline import RunOptions, run_job
from batchproc.progress import Quiet
from batchproc.record.run_json import record_of
from tests.jobs import MakeJob

MODES = ("serial", "thread", "process")


def alone(job: Path, stage: str, mode: str) -> dict[str, Any]:
    config, _ = load_job(job, [f"{stage}.mode={mode}", f"job.output={job.parent / mode}"])
    return run_alone(config, stage)


def test_in_every_mode_it_makes_the_files_of_a_whole_run(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(images=6)
    config, steps = load_job(job, ())
    run_job(config, steps, RunOptions(), Quiet())
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]

    renditions = [alone(job, "transform", mode)["outputs"] for mode in MODES]
    originals = [alone(job, "download", mode)["outputs"] for mode in MODES]

    assert [read_outputs(tmp_path / "out")] * 3 == renditions
    assert [{row["key"]: row["source_sha256"] for row in rows}] * 3 == originals


@pytest.mark.parametrize(("stage", "workers"), [("download", 4), ("transform", 2)])
def test_its_facts_are_those_of_a_run(make_job: MakeJob, stage: str, workers: int) -> None:
    facts = alone(make_job(images=6), stage, "process")

    told = facts["stages"][stage]
    assert set(STAGE_FIGURES) <= set(told)
    assert ("process", workers, workers) == (told["mode"], told["workers"], told["worker_starts"])
    assert sum(told["account"].values()) > 0
    result = result_of(record_of(facts), facts["outputs"], command_seconds=1.0, origin_cpu_seconds=None)
    assert (6, 0) == (result.done, result.failed)


def test_the_command_prints_the_facts(make_job: MakeJob, tmp_path: Path) -> None:
    wish = Wish(
        stage="download",
        job_file=str(make_job(images=2, lines=["/img/0000.webp", "/no/such.jpg"])),
        output=str(tmp_path / "alone"),
        settings=('download.mode="thread"',),
    )

    done = subprocess.run(wish.command(), capture_output=True, text=True, check=True, timeout=60)

    facts = json.loads(done.stdout)
    assert (1, 2) == (facts["counts"]["done"], facts["counts"]["processed"])
    assert "http.404" in facts["outputs"].values()
    assert 64 in map(len, facts["outputs"].values())  # the original's SHA-256
