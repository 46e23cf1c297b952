"""The same job in every pair of modes: the same outcomes, byte for byte."""

import hashlib
import itertools
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import ExitCode
from batchproc.pipeline import RunOptions, RunResult, run_job
from batchproc.progress import Quiet
from tests.jobs import MakeJob

MODES = ("serial", "thread", "process")


def run(config: Path, *overrides: str, options: RunOptions | None = None) -> RunResult:
    job, steps = load_job(config, overrides)
    return run_job(job, steps, options or RunOptions(), Quiet())


def fingerprint(output: Path) -> dict[str, str]:
    """What a run left for its user: every image, and the manifests."""
    files = [*images(output), output / "metadata.jsonl", output / "failures.jsonl"]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(output: Path) -> list[Path]:
    return sorted(path for path in (output / "images").rglob("*") if path.is_file())


def test_all_nine_pairs_give_the_same_files(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=40, faults=True)
    seen: dict[str, dict[str, str]] = {}

    for download, transform in itertools.product(MODES, MODES):
        output = tmp_path / f"{download}-{transform}"
        result = run(
            config, f"download.mode={download}", f"transform.mode={transform}", f"job.output={output}",
            "download.retries=1",  # each waits up to a second, in nine runs
        )  # fmt: skip
        assert ExitCode.DONE == result.exit_code
        assert [] == [path for path in (output / ".tmp").iterdir() if path.name != "ballast"]
        seen[f"{download}-{transform}"] = fingerprint(output)

    reference = seen["serial-serial"]
    assert len(reference) > 15
    assert dict.fromkeys(seen, reference) == seen


@pytest.mark.parametrize("mode", MODES)
def test_the_facts_name_mode_and_workers(make_job: MakeJob, mode: str) -> None:
    facts = run(make_job(images=4), f"download.mode={mode}", f"transform.mode={mode}").facts

    assert {"download": mode, "transform": mode} == {name: stage["mode"] for name, stage in facts["stages"].items()}
    expected = (1, 1) if mode == "serial" else (4, 2)
    assert expected == tuple(stage["workers"] for stage in facts["stages"].values())
