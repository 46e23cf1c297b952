"""`batchproc bench` for real: tiny ones, with real runs and one origin."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchproc.bench import command
from batchproc.bench.bench_json import parse_bench, to_json
from batchproc.bench.command import BenchResult, finish_bench, run_bench
from batchproc.bench.runner import BenchError, BenchStopped
from batchproc.bench.spec import BenchOptions, make_cases
from batchproc.cli import load_job
from batchproc.errors import ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock
from batchproc.measure.processes import usable_cores
from batchproc.origin import demo_paths
from batchproc.report.bench_terminal import summarise_bench
from tests.bench.fakes import a_bench_of
from tests.jobs import CONFIG

IMAGES = 6
ORIGIN = f'\n[origin]\nimages = {IMAGES}\nlatency = "1ms"\n'
RANDOM_STEP = """
import os
from PIL import Image

def noise(image: Image.Image) -> Image.Image:
    return Image.frombytes("L", (8, 8), os.urandom(64)).resize((80, 80))
"""


def write_job(folder: Path) -> Path:
    """A job on an embedded origin of six images."""
    (folder / "list.txt").write_text("\n".join(demo_paths(IMAGES)))
    path = folder / "job.toml"
    path.write_text(CONFIG.format(base_url="", transform="") + ORIGIN)
    return path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return write_job(tmp_path)


@pytest.fixture(autouse=True)
def one_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run beside each other: no run of theirs is undisturbed, so trying again is of no use."""
    monkeypatch.setattr(command, "CALIBRATION_TRIES", 1)


def bench(job: Path, *settings: str, notes: list[str] | None = None, **options: Any) -> BenchResult:
    def load(more: Any) -> Any:
        return load_job(job, [*settings, *more])

    wanted = {"rounds": 1, "quick": True, "modes": ("thread+thread",), **options}
    return run_bench(load, BenchOptions(**wanted), (notes if notes is not None else []).append)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Of the tests that run beside each other one at a time comes in here."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class StopAtWarmUp(list[str]):
    """Notes that send the signal of Ctrl-C when the warm-up is done."""

    def append(self, text: str) -> None:
        super().append(text)
        if text.startswith("warm-up"):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def continued(tmp_path_factory: pytest.TempPathFactory, one_calibration: None) -> dict[str, Any]:
    """One bench that was stopped after its warm-up and continued: made once, by whoever comes first, for many tests.

    With each stage alone, adapting download workers, and its files kept.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    kept = shared / "continued.json"
    with held(shared / "continued.lock"):
        if not kept.exists():
            folder = shared / "continued"
            folder.mkdir()
            kept.write_text(json.dumps(stop_and_continue(write_job(folder))))
        return dict(json.loads(kept.read_text()))


def stop_and_continue(job: Path) -> dict[str, Any]:
    wanted = {"alone": True, "keep": True}
    with pytest.raises(BenchStopped) as stopped:
        bench(job, "download.workers=auto", notes=StopAtWarmUp(), **wanted)
    (path,) = (job.parent / "out/bench").glob("*/bench.json")
    before, notes = json.loads(path.read_text()), list[str]()
    result = bench(job, "download.workers=auto", notes=notes, **wanted)
    return {
        "exit_code": int(stopped.value.exit_code),
        "message": str(stopped.value),
        "stopped": str(path.parent),
        "before": before,
        "notes": notes,
        "folder": str(result.folder),
        "bench": to_json(result.bench),
    }


def test_a_tiny_bench_has_its_rounds_conclusions_and_predictions(continued: dict[str, Any]) -> None:
    facts, folder = continued["bench"], Path(continued["folder"])

    assert facts == json.loads((folder.parent / "latest/bench.json").read_text())
    assert facts["complete"]
    assert [0, 1] == [one["number"] for one in facts["rounds"] if one["complete"]]
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


def test_every_mode_gets_as_many_download_workers_where_the_config_lets_them_adapt(continued: dict[str, Any]) -> None:
    facts = continued["bench"]

    assert any("in every mode here" in text for text in continued["notes"])
    threads = next(case for case in facts["cases"] if case["name"] == "thread+thread")
    assert 4 * usable_cores() == threads["stages"]["download"]["workers"]
    assert 4 * usable_cores() == facts["config"]["download"]["workers"]


def test_the_same_command_continues_a_bench_that_was_stopped(continued: dict[str, Any]) -> None:
    before, after = continued["before"], continued["bench"]

    assert ExitCode.INTERRUPTED == continued["exit_code"]
    assert "the same command continues" in continued["message"]
    assert continued["stopped"] == continued["folder"]
    assert any(text.startswith("continuing") for text in continued["notes"])
    assert not before["complete"]
    predicted = ("case", "rate_per_second", "seconds", "ratio", "low", "high", "because")
    rows = [[[row[name] for name in predicted] for row in facts["predictions"]] for facts in (before, after)]
    assert rows[0] == rows[1]
    assert before["rounds"][0] == after["rounds"][0]


def test_what_runs_made_is_kept_on_request(continued: dict[str, Any]) -> None:
    cases = sorted((Path(continued["folder"]) / "work/cases").iterdir())

    assert 1 + 2 * 7 == len(cases)  # the calibration and both rounds
    assert 1 + 2 * 3 == sum((case / "metadata.jsonl").exists() for case in cases)  # a stage alone makes none


def test_a_complete_bench_is_the_latest_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "20261122T081530Z"
    (folder / "work/cases").mkdir(parents=True)

    result = finish_bench(a_bench_of(()), folder)

    assert ["bench.json"] == [path.name for path in folder.iterdir()]
    assert result.bench == parse_bench(json.loads((tmp_path / "latest/bench.json").read_text()))
    assert result.bench.complete


def test_outputs_that_differ_end_the_bench_with_1(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random_step.py").write_text(RANDOM_STEP)
    setting = 'transform.steps=[{op = "random_step:noise"}]'

    with pytest.raises(BenchError, match=r"made other outputs .* of 6 of 6 items") as error:
        bench(job, setting)

    assert ExitCode.INTERNAL == error.value.exit_code


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
