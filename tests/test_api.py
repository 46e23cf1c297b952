"""batchproc as a library: jobs run, stream and are checked from a program of one's own."""

import asyncio
import doctest
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import batchproc
from batchproc.api import _Streamed
from batchproc.pipeline import job
from tests.jobs import MakeJob

PAGE = Path(__file__).parents[1] / "docs/python-api.md"
THREADS = ["transform.mode=thread", "download.mode=thread"]


def test_a_run_gives_a_typed_result(make_job: MakeJob, tmp_path: Path) -> None:
    result = batchproc.run(make_job(images=3), transform_mode="thread", limit=2)

    assert (0, 2, 1, "thread") == (
        result.exit_code, result.counts.done, result.counts.pending, result.stages["transform"].mode
    )  # fmt: skip
    assert result.record == batchproc.read_run(result.folder)
    assert result.report is None
    assert result.folder.is_relative_to(tmp_path / "out/runs")


def test_a_second_run_in_the_same_process_goes_on(make_job: MakeJob) -> None:
    job = batchproc.load(make_job(images=3), settings=THREADS)

    first, second = batchproc.run(job, limit=1), batchproc.run(job)

    assert [(1, 1), (3, 2)] == [(one.counts.done, one.counts.processed) for one in (first, second)]


def test_what_is_streamed_is_on_disk(make_job: MakeJob, tmp_path: Path) -> None:
    outcomes = list(batchproc.stream(make_job(images=8), settings=THREADS))

    assert {"done"} == {one.state for one in outcomes}
    assert sorted(tmp_path.glob("out/images/*/*.jpg")) == sorted(one.path for one in outcomes if one.path)
    assert 8 == len(outcomes)


def test_a_failed_item_is_streamed_with_its_code(make_job: MakeJob) -> None:
    (outcome,) = batchproc.stream(make_job(lines=["/no/such.jpg"]), settings=THREADS)

    assert ("failed", "http.404", None) == (outcome.state, outcome.code, outcome.path)


def test_who_stops_iterating_ends_the_run(make_job: MakeJob) -> None:
    config = make_job(images=30)
    outcomes = batchproc.stream(config, settings=[*THREADS, "download.workers=1"])

    assert "done" == next(outcomes).state
    outcomes.close()

    assert 30 == batchproc.run(config, settings=THREADS).counts.done


def test_a_slow_caller_keeps_the_run_waiting(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchproc.api.HELD_OUTCOMES", 1)
    monkeypatch.setattr("batchproc.ledger.writer.BATCH", 1)
    monkeypatch.setattr("batchproc.pipeline.loop.AUDIENCE_SECONDS", 0.01)
    kept_waiting = threading.Event()
    keeps_up = _Streamed.keeps_up

    def watched(self: _Streamed, seconds: float) -> bool:
        ready = keeps_up(self, seconds)
        if not ready:
            kept_waiting.set()
        return ready

    monkeypatch.setattr(_Streamed, "keeps_up", watched)
    outcomes = batchproc.stream(make_job(images=20), settings=THREADS)
    next(outcomes)

    assert kept_waiting.wait(30)
    assert 19 == len(list(outcomes))


def test_a_stream_that_is_left_before_its_first_outcome_ends_its_run(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    take_in = job.take_in

    def slow(*arguments: Any) -> Any:
        reached.set()
        assert go_on.wait(30)
        return take_in(*arguments)

    monkeypatch.setattr(job, "take_in", slow)
    streamed = _Streamed(batchproc.load(make_job(images=30), settings=THREADS), limit=0)
    run = threading.Thread(target=streamed._run)
    run.start()
    assert reached.wait(30)

    streamed._leave()
    go_on.set()
    run.join(30)

    assert streamed._result is not None
    assert (130, 0) == (streamed._result.exit_code, streamed._result.counts.processed)


def test_a_run_leaves_the_trace_that_its_config_wants(make_job: MakeJob) -> None:
    result = batchproc.run(make_job(images=1), settings=[*THREADS, "report.trace=true"])

    assert (result.folder / "trace.json").is_file()


def test_a_flag_of_a_wrong_value_is_refused_and_not_passed_over(make_job: MakeJob) -> None:
    with pytest.raises(batchproc.BatchprocError, match="workers"):
        batchproc.load(make_job(images=1), download_workers=0)


def test_two_runs_at_once_are_refused(make_job: MakeJob) -> None:
    config = make_job(images=8)
    outcomes = batchproc.stream(config, settings=THREADS)
    next(outcomes)

    with pytest.raises(batchproc.BatchprocError, match="one at a time"):
        batchproc.run(config)
    outcomes.close()


def test_every_problem_of_a_config_is_raised_at_once(tmp_path: Path) -> None:
    config = tmp_path / "job.toml"
    config.write_text('[job]\ninptu = "list.txt"\n[transform]\nquality = "best"\n')

    with pytest.raises(batchproc.BatchprocError, match=r"(?s)inptu.*quality|quality.*inptu"):
        batchproc.load(config)


def test_a_check_touches_nothing_and_raises_what_a_run_would(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)

    assert tmp_path / "out" == batchproc.check(config).output
    assert not (tmp_path / "out").exists()
    (tmp_path / "list.txt").unlink()
    with pytest.raises(batchproc.BatchprocError, match=r"list\.txt"):
        batchproc.check(config)


def test_a_setting_that_does_not_exist_is_named(make_job: MakeJob) -> None:
    with pytest.raises(TypeError, match="transform_modes: no such setting; known: "):
        batchproc.load(make_job(images=1), transform_modes="thread")


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.mark.usefixtures("handlers")
def test_a_run_leaves_the_signals_as_they_were(make_job: MakeJob) -> None:
    batchproc.run(make_job(images=1), settings=THREADS)


def test_a_run_works_from_a_thread_and_under_an_event_loop(make_job: MakeJob) -> None:
    config, found = make_job(images=2), []

    async def under_a_loop() -> None:
        found.append(batchproc.run(config, settings=THREADS, limit=1).counts.done)

    asyncio.run(under_a_loop())
    thread = threading.Thread(target=lambda: found.append(batchproc.run(config, settings=THREADS).counts.done))
    thread.start()
    thread.join()

    assert [1, 2] == found


def test_a_script_runs_a_job_in_processes_without_a_guard(make_job: MakeJob, tmp_path: Path) -> None:
    make_job(images=2)
    (tmp_path / "script.py").write_text("import batchproc\nprint(batchproc.run('job.toml').counts.done)\n")

    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert ("2\n", "") == (done.stdout, done.stderr)


def test_an_interrupt_is_raised_when_the_run_has_ended(make_job: MakeJob, tmp_path: Path) -> None:
    make_job(images=20)
    (tmp_path / "script.py").write_text(
        "import os, signal, batchproc\n"
        "from batchproc.pipeline import loop\n"
        "handle = loop.Loop._handle\n"
        "def interrupted(self, *rest):\n    os.kill(os.getpid(), signal.SIGINT)\n    loop.Loop._handle = handle\n"
        "    handle(self, *rest)\n"
        "loop.Loop._handle = interrupted\n"
        "try:\n    batchproc.run('job.toml', transform_mode='thread', download_workers=1)\n"
        "except KeyboardInterrupt:\n    print('raised')\n"
    )

    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert "raised\n" == done.stdout
    assert batchproc.run(tmp_path / "job.toml", transform_mode="thread").counts.already_done < 20


@pytest.fixture
def documented_job(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory has the job.toml of the documentation, and the modules that stand in it."""
    make_job(images=3)
    with (tmp_path / "list.txt").open("a") as file:
        file.write("/no/such.jpg\n")
    for code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / code[0]).write_text(code[1])
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("documented_job")
def test_the_examples_of_the_page_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)

    assert 0 == failed
    assert 8 < tried


@pytest.mark.usefixtures("documented_job")
@pytest.mark.parametrize("name", ["run", "stream", "load", "check", "read_run", "map", "step"])
def test_the_example_of_a_function_runs(name: str) -> None:
    function = getattr(batchproc, name)
    names = dict(vars(sys.modules[function.__module__]))
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)

    assert (0, True) == (doctest.DocTestRunner().run(example).failed, bool(example.examples))


def test_the_page_names_what_is_public() -> None:
    assert [] == [name for name in batchproc.__all__ if name not in PAGE.read_text()]


def test_an_image_that_moves_into_a_shard_has_no_path(make_job: MakeJob) -> None:
    outcomes = [*batchproc.stream(make_job(images=2), settings=['output.layout="webdataset"'])]

    assert [("done", None)] * 2 == [(outcome.state, outcome.path) for outcome in outcomes]


def test_a_bucket_without_its_extra_is_told_at_once(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchproc.pipeline.opening.find_spec", lambda name: None)
    job = batchproc.load(make_job(), settings=['job.output="s3://b/x"', 'job.state="s"', 'output.layout="webdataset"'])

    with pytest.raises(batchproc.UsageError, match=r"s3://b/x: is reached by obstore, .*batchproc\[cloud\]"):
        batchproc.check(job)
