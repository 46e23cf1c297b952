"""Experiments are bounded, and what goes wrong in one is told and leaves the others alone."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from batchproc.bench.runner import Interrupt, launch
from batchproc.cli import load_job
from batchproc.lab import run
from batchproc.lab.catalogue import EXPERIMENTS
from batchproc.lab.run import judge_claims, run_experiment

BENCH = Path(__file__).parents[2] / "configs/bench.toml"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids of the experiments, each of which leads a process group."""
    started: list[int] = []

    def start(command: Sequence[str]) -> "subprocess.Popen[str]":
        child = launch(command)
        started.append(child.pid)
        return child

    monkeypatch.setattr(run, "launch", start)
    return started


def test_an_experiment_that_takes_too_long_is_ended_with_all_its_processes(started: list[int]) -> None:
    found = run_experiment(replace(EXPERIMENTS["latency"], limit_seconds=0.1), "claims", Interrupt())

    assert None is found.table
    assert "it was ended after 0.1 s" == found.failure
    assert [] == left_of(started[0])


def test_nothing_of_an_experiment_with_a_hang_outlives_it(started: list[int]) -> None:
    found = run_experiment(EXPERIMENTS["hang"], "tiny", Interrupt())

    assert None is found.failure
    assert [] == left_of(started[0])


def test_an_experiment_that_breaks_says_how() -> None:
    found = run_experiment(EXPERIMENTS["steps"], "no such size", Interrupt())

    assert None is found.table
    assert "it ended with status 1: KeyError: 'no such size'" == found.failure


def test_claims_without_experiments_are_not_measured() -> None:
    config, _ = load_job(BENCH, ())

    claims = judge_claims([], config)

    assert [("not_measured", "it was not made")] * 13 == [
        (claim.verdict, claim.meaning.rpartition(": ")[2]) for claim in claims
    ]


def test_claims_are_judged_by_what_bench_json_holds() -> None:
    config, _ = load_job(BENCH, ())
    experiments = [run_experiment(EXPERIMENTS[name], "tiny", Interrupt()) for name in ("lost_updates", "through_queue")]

    verdicts = {claim.id: claim.verdict for claim in judge_claims(experiments, config)}

    assert "holds" == verdicts[13]
    assert {"not_measured"} == {verdict for number, verdict in verdicts.items() if number != 13}


def left_of(group: int) -> list[psutil.Process]:
    """Who of a process group is still there after a bounded wait."""
    members = [process for process in psutil.process_iter() if _group(process) == group]
    return list(psutil.wait_procs(members, timeout=10)[1])


def _group(process: psutil.Process) -> int:
    try:
        return -1 if process.status() == psutil.STATUS_ZOMBIE else os.getpgid(process.pid)
    except (psutil.Error, ProcessLookupError):
        return -1
