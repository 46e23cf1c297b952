"""`bench --claims`, alone or after rounds: experiments are bounded, and what goes wrong in one concerns no other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from batchproc.bench.bench_json import parse_bench, to_json
from batchproc.bench.runner import Interrupt, launch
from batchproc.bench.spec import BenchOptions
from batchproc.cli import load_job
from batchproc.errors import ExitCode, LockHeldError
from batchproc.lab import laboratory
from batchproc.lab.experiments import EXPERIMENTS
from batchproc.lab.laboratory import judge_claims, run_experiment, run_with_lab
from batchproc.lab.results import Result
from batchproc.lock import RunLock
from batchproc.origin import demo_paths
from batchproc.report.bench_terminal import summarise_bench
from tests.jobs import MakeJob

BENCH = Path(__file__).parents[2] / "configs/bench.toml"


@pytest.fixture
def job(make_job: MakeJob) -> Path:
    path = make_job(lines=demo_paths(2))
    path.write_text(path.read_text().replace("base_url", "# base_url") + '\n[origin]\nimages = 2\nlatency = "1ms"\n')
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Makes one small experiment in place of all; tells whether everything was asked for."""
    asked: list[bool] = []

    def run_experiments(interrupt: Any, notify: Any, *, everything: bool) -> list[Result]:
        asked.append(everything)
        return [run_experiment(EXPERIMENTS["own_memory"], "tiny", interrupt)]

    monkeypatch.setattr(laboratory, "run_experiments", run_experiments)
    return asked


def bench(job: Path, *, everything: bool = False, **options: Any) -> tuple[dict[str, Any], Path]:
    wanted = BenchOptions(**options)
    result = run_with_lab(lambda more: load_job(job, more), wanted, lambda text: None, everything=everything)
    return to_json(result.bench), result.folder


@pytest.mark.parametrize("everything", [False, True], ids=["claims", "experiments"])
def test_alone_there_are_no_rounds(job: Path, tmp_path: Path, asked: list[bool], everything: bool) -> None:
    facts, folder = bench(job, everything=everything)

    assert [everything] == asked
    written = json.loads((tmp_path / "out/bench/latest/bench.json").read_text())
    assert json.loads(json.dumps(facts)) == written
    assert written["complete"]
    assert ([], [], []) == (written["rounds"], written["cases"], written["comparisons"])
    assert ["own_memory"] == [one["name"] for one in written["experiments"]]
    assert "holds" == written["claims"][5]["verdict"]
    assert "cores" in written["host"]
    text = summarise_bench(parse_bench(facts), folder)
    assert "1 controlled experiment, no rounds" in text
    assert "   6  holds " in text
    assert "1 holds, 12 not measured" in text
    assert str(folder / "bench.json") in text


@pytest.mark.slow
def test_with_rounds_the_claims_come_after_them(job: Path, asked: list[bool]) -> None:
    facts, folder = bench(job, quick=True, rounds=1, modes=("thread+thread",))

    assert [False] == asked
    assert [0, 1] == [one["number"] for one in facts["rounds"]]
    assert 13 == len(facts["claims"])
    text = summarise_bench(parse_bench(facts), folder)
    assert "thread+thread" in text
    assert "1 holds, 12 not measured" in text


def test_another_bench_of_the_job_is_refused_meanwhile(job: Path, tmp_path: Path, asked: list[bool]) -> None:
    (tmp_path / "out/bench").mkdir(parents=True)

    with RunLock(tmp_path / "out/bench/lock"), pytest.raises(LockHeldError):
        bench(job)

    assert [] == asked


def test_a_signal_ends_the_experiments_and_says_that_nothing_is_kept(job: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "batchproc", "bench", str(job), "--claims"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("experiment 1 of 12")
        os.kill(process.pid, signal.SIGINT)
        rest = process.stderr.read()

    assert ExitCode.INTERRUPTED == process.returncode
    assert "the same command makes them again" in rest
    assert [] == list((tmp_path / "out/bench").glob("*/bench.json"))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids of the experiments, each of which leads a process group."""
    started: list[int] = []

    def start(command: Sequence[str]) -> "subprocess.Popen[str]":
        child = launch(command)
        started.append(child.pid)
        return child

    monkeypatch.setattr(laboratory, "launch", start)
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
