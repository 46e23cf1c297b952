"""A stage by itself does the same work as in a run, and says where its time went."""

import json
import subprocess
from pathlib import Path

import pytest

from batchproc.bench.runner import AloneRun, alone_command, case_run_of, read_outputs, run_alone
from batchproc.cli import load_job
from batchproc.pipeline import RunOptions, run_job
from batchproc.progress import Quiet
from tests.jobs import MakeJob

MODES = ("serial", "thread", "process")


def alone(job: Path, stage: str, mode: str) -> AloneRun:
    config, _ = load_job(job, [f"{stage}.mode={mode}", f"job.output={job.parent / mode}"])
    return run_alone(config, stage)


def test_in_every_mode_it_makes_the_files_of_a_whole_run(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(images=6)
    config, steps = load_job(job, ())
    run_job(config, steps, RunOptions(), Quiet())
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]

    images = [alone(job, "transform", mode).outputs for mode in MODES]
    originals = [alone(job, "download", mode).outputs for mode in MODES]

    assert [read_outputs(tmp_path / "out")] * 3 == images
    assert [{row["key"]: row["source_sha256"] for row in rows}] * 3 == originals


@pytest.mark.parametrize(("stage", "workers"), [("download", 4), ("transform", 2)])
def test_its_record_is_that_of_a_run(make_job: MakeJob, stage: str, workers: int) -> None:
    record = alone(make_job(images=6), stage, "process").record

    found = record.stages[stage]
    assert ("process", workers, workers) == (found.mode, found.workers, found.worker_starts)
    assert sum(found.account.values()) > 0
    run = case_run_of(record)
    assert (6, 0) == (run.done, run.failed)
    assert (found.account, ()) == (run.stages[stage].account, run.stages[stage].per_worker)


def test_the_command_prints_the_record_and_the_outputs(make_job: MakeJob, tmp_path: Path) -> None:
    job_file = make_job(images=2, lines=["/img/0000.webp", "/no/such.jpg"])
    command = alone_command("download", job_file, tmp_path / "alone", ['download.mode="thread"'])

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    found = json.loads(done.stdout)
    assert (1, 2) == (found["counts"]["done"], found["counts"]["processed"])
    assert "http.404" in found["outputs"].values()
    assert 64 in map(len, found["outputs"].values())  # the original's SHA-256
