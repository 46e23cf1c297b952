"""`batchproc bench` for real: a tiny one, with real runs and one origin."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchproc.bench.bench_json import parse_bench, to_json
from batchproc.bench.cases import make_cases
from batchproc.bench.command import run_bench
from batchproc.bench.runner import BenchError
from batchproc.bench.spec import BenchOptions
from batchproc.cli import load_job
from batchproc.errors import ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock
from batchproc.measure.hardware import usable_cores
from batchproc.origin import demo_paths
from batchproc.report.bench_terminal import summarise_bench
from tests.jobs import MakeJob

IMAGES = 6
ORIGIN = f'\n[origin]\nimages = {IMAGES}\nlatency = "1ms"\n'
RANDOM_STEP = """
import os
from PIL import Image

def noise(image: Image.Image) -> Image.Image:
    return Image.frombytes("L", (8, 8), os.urandom(64)).resize((80, 80))
"""


@pytest.fixture
def job(make_job: MakeJob) -> Path:
    """A job on an embedded origin of six pictures."""
    path = make_job(lines=demo_paths(IMAGES))
    path.write_text(path.read_text().replace("base_url", "# base_url") + ORIGIN)
    return path


def bench(job: Path, *settings: str, said: list[str] | None = None, **options: Any) -> tuple[dict[str, Any], Path]:
    def load(more: Any) -> Any:
        return load_job(job, [*settings, *more])

    wanted = {"rounds": 1, "quick": True, "modes": ("thread+thread",), **options}
    result = run_bench(load, BenchOptions(**wanted), (said if said is not None else []).append)
    return to_json(result.bench), result.folder


def test_a_tiny_bench_leaves_its_facts_and_nothing_else(job: Path, tmp_path: Path) -> None:
    facts, folder = bench(job, alone=True)

    assert facts == json.loads((tmp_path / "out/bench/latest/bench.json").read_text())
    assert ["bench.json"] == [path.name for path in folder.iterdir()]
    assert facts["complete"]
    assert [0, 1] == [one["number"] for one in facts["rounds"]]
    assert ["serial+serial", "thread+thread"] == [case["name"] for case in facts["cases"] if not case["alone"]]
    assert 4 == sum(bool(case["alone"]) for case in facts["cases"])
    assert [[IMAGES] * 7] * 2 == [[run["done"] for run in one["runs"].values()] for one in facts["rounds"]]
    assert 2 == len({run["outputs_sha256"] for one in facts["rounds"] for run in one["runs"].values()})
    assert 2 == len(facts["outputs"]["items_by_plan"])  # the originals, and the images of all others
    assert [
        ("thread+thread", "serial+serial"),
        ("download alone: thread", "download alone: serial"),
        ("transform alone: thread", "transform alone: serial"),
    ] == [(one["pair"], one["against"]) for one in facts["comparisons"]]
    assert {"undecided"} == {one["verdict"] for one in facts["comparisons"]}
    assert all(row["ratio"] and row["measured_ratio"] for row in facts["predictions"])
    assert IMAGES == facts["material"]["items"]
    assert facts["cold_start"]["outside_line_seconds"] > 0
    assert [] == facts["claims"]
    text = summarise_bench(parse_bench(facts), folder)
    assert "indicative only" in text
    assert all(case["name"] in text for case in facts["cases"])


def test_every_mode_gets_as_many_download_workers_where_the_config_lets_them_adapt(job: Path) -> None:
    said: list[str] = []
    facts, _ = bench(job, "download.workers=auto", said=said)

    assert any("in every mode here" in text for text in said)
    threads = next(case for case in facts["cases"] if case["name"] == "thread+thread")
    assert 4 * usable_cores() == threads["stages"]["download"]["workers"]
    assert 4 * usable_cores() == facts["config"]["download"]["workers"]


def test_outputs_that_differ_end_the_bench_with_1(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random_step.py").write_text(RANDOM_STEP)
    setting = 'transform.steps=[{op = "random_step:noise"}]'

    with pytest.raises(BenchError, match=r"made other outputs .* of 6 of 6 items") as error:
        bench(job, setting)

    assert ExitCode.INTERNAL == error.value.exit_code


def test_the_same_command_continues_a_bench_that_was_stopped(job: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchproc", "bench", str(job), "--quick", "--rounds=1", "--modes=thread+thread"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("warm-up"):
                os.kill(process.pid, signal.SIGINT)
                break
        rest = process.stderr.read()
    (stopped,) = (tmp_path / "out/bench").glob("*/bench.json")
    before = json.loads(stopped.read_text())
    said: list[str] = []

    after, folder = bench(job, keep=True, said=said)

    assert ExitCode.INTERRUPTED == process.returncode
    assert "the same command continues" in rest
    assert stopped.parent == folder
    assert said[0].startswith("continuing")
    assert not before["complete"]
    predicted = ("case", "rate_per_second", "seconds", "ratio", "low", "high", "because")
    rows = [[[row[name] for name in predicted] for row in facts["predictions"]] for facts in (before, after)]
    assert rows[0] == rows[1]
    assert before["rounds"][0] == after["rounds"][0]
    assert [0, 1] == [one["number"] for one in after["rounds"] if one["complete"]]
    cases = sorted((folder / "work/cases").iterdir())
    assert 3 == len(cases)  # kept, those of the round that was missing
    assert all((case / "metadata.jsonl").exists() for case in cases)


def test_the_shipped_bench_has_nine_pairs_and_ten_rounds() -> None:
    config, _ = load_job(Path(__file__).parents[2] / "configs/bench.toml", ())

    assert config.bench is not None
    assert (10, 9) == (config.bench.rounds, len(make_cases(config.bench.modes, config.bench.vary)))


def test_another_bench_of_the_job_is_refused_meanwhile(job: Path, tmp_path: Path) -> None:
    (tmp_path / "out/bench").mkdir(parents=True)

    with RunLock(tmp_path / "out/bench/lock"), pytest.raises(LockHeldError):
        bench(job)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ((), {"modes": ("fork",)}),
        ((), {"until_decided": True}),
        (('bench.vary={"transform.workers" = [-1]}',), {}),
        (('bench.vary={"job.output" = ["x"]}',), {}),
    ],
    ids=["no such mode", "looks and rounds at once", "a value out of range", "a key of the bench's own"],
)
def test_wrong_wishes_are_usage_errors_and_touch_nothing(
    job: Path, tmp_path: Path, settings: tuple[str, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        bench(job, *settings, **options)

    assert not (tmp_path / "out").exists()
