"""Lists that break off, cannot be read twice or are not there; own steps that misbehave; items that come back."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.errors import DiskError, UsageError
from batchproc.ledger import LedgerView
from batchproc.pipeline import RunOptions
from batchproc.sink import Layout
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run

ROOT = Path(__file__).parents[2]


def command(*arguments: str, shell: str = '"$@"', **options: object) -> "subprocess.CompletedProcess[str]":
    """Runs the program through a shell, which may redirect its streams."""
    words = ["bash", "-c", shell, "sh", sys.executable, "-m", "batchproc", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def with_step(config: Path, name: str) -> Path:
    step = f'[[transform.steps]]\nop = "tests.pipeline.steps:{name}"\n\n[report]'
    config.write_text(config.read_text().replace("[report]", step))
    return config


def counts(folder: Path) -> dict[str, int]:
    with LedgerView.open_view(folder / "out/batchproc.db") as ledger:
        found = ledger.counts()
    return {"items": found.items, "done": found.done, "absent": found.absent, "failed": found.failed}


def test_a_list_that_breaks_off_leaves_the_ledger_as_it_was(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12)
    urls = (tmp_path / "list.txt").read_text().encode()
    comments = "".join(f"# {os.urandom(40).hex()}\n" for _ in range(5_000)).encode()  # the break is in their middle
    whole = gzip.compress(comments + urls)
    config.write_text(config.read_text().replace("list.txt", "list.txt.gz"))
    (tmp_path / "list.txt.gz").write_bytes(whole)
    run(config)
    before = counts(tmp_path)

    (tmp_path / "list.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"list\.txt\.gz: the compressed list breaks off"):
        run(config)

    assert before == counts(tmp_path)
    assert (0, 12) == (before["absent"], before["done"])


def test_a_closed_stdin_is_no_empty_list(make_job: MakeJob, tmp_path: Path) -> None:
    done = command("run", str(make_job()), "--set", "job.input=-", shell='"$@" <&-')

    assert (2, "error: [job] input: stdin is closed, and the list is to be read from it.\n") == (
        done.returncode, done.stderr
    )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_list_on_stdin_is_read(make_job: MakeJob, tmp_path: Path) -> None:
    done = command("run", str(make_job(images=2)), "--set", "job.input=-", shell=f'"$@" <{tmp_path / "list.txt"}')

    assert 0 == done.returncode, done.stderr
    assert 2 == counts(tmp_path)["done"]


def test_a_list_from_a_process_substitution_is_read_once_and_whole(make_job: MakeJob, tmp_path: Path) -> None:
    config = str(make_job(images=3))

    done = command("run", config, "--set", shell=f'"$@" job.input=<(cat {tmp_path / "list.txt"})')

    assert 0 == done.returncode, done.stderr
    assert 3 == counts(tmp_path)["done"]


def test_a_named_pipe_is_refused_before_anything_is_touched(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job()
    os.mkfifo(tmp_path / "pipe.txt")

    with pytest.raises(UsageError, match="no regular file"):
        run(config, f'job.input="{tmp_path / "pipe.txt"}"')
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["serial", "thread", "process"])
def test_a_step_that_raises_an_interrupt_fails_its_images_and_not_the_run(
    make_job: MakeJob, tmp_path: Path, mode: str
) -> None:
    config = with_step(make_job(images=2), "interrupt")

    facts = run(config, f"transform.mode={mode}").facts

    assert {"step.error": 2} == facts["failures"]


@pytest.mark.parametrize("mode", ["serial", "thread", "process"])
def test_what_a_step_prints_does_not_mix_with_the_results(make_job: MakeJob, tmp_path: Path, mode: str) -> None:
    config = with_step(make_job(images=2), "print_loudly")

    done = command("run", str(config), "--json", "--transform-mode", mode)

    assert 0 == done.returncode, done.stderr
    assert 2 == json.loads(done.stdout)["counts"]["done"]
    assert "LOUD" in done.stderr + "".join(path.read_text() for path in (tmp_path / "out/latest").glob("*.log"))


def test_what_the_module_of_a_step_prints_does_not_mix_with_the_results(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job()
    (tmp_path / "loud_steps.py").write_text('print("LOUD")\n\ndef same(image):\n    return image\n')
    step = '[[transform.steps]]\nop = "loud_steps:same"\n\n[report]'
    config.write_text(config.read_text().replace("[report]", step))

    done = command("check", str(config), "--json")

    assert "loud_steps:same" in json.dumps(json.loads(done.stdout))
    assert "LOUD\n" == done.stderr


def test_a_quarantined_image_comes_back_by_retry_failed(make_job: MakeJob, tmp_path: Path) -> None:
    config = with_step(make_job(images=1), "die")
    first = run(config).facts["counts"]
    (row,) = map(json.loads, (tmp_path / "out/failures.jsonl").read_text().splitlines())

    idle = run(config).facts["counts"]
    again = run(config, options=RunOptions(retry_failed=True)).facts["counts"]

    assert [(1, 1), (0, 1), (1, 1)] == [(one["processed"], one["quarantined"]) for one in (first, idle, again)]
    assert "quarantined" == row["outcome"]
    assert "--retry-failed" in row["hint"]


@pytest.mark.parametrize("name", ["latest", "report.html"])
def test_a_folder_in_the_place_of_a_link_is_told_before_the_run(make_job: MakeJob, tmp_path: Path, name: str) -> None:
    config = make_job(images=1)
    (tmp_path / "out" / name).mkdir(parents=True)

    with pytest.raises(UsageError, match=f"{tmp_path / 'out' / name} is a folder of its own"):
        run(config)


def test_a_link_that_cannot_be_made_at_the_end_is_named(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Layout.prepare

    def prepare_and_plant(layout: Layout) -> None:
        prepare(layout)
        layout.latest_path.mkdir()

    monkeypatch.setattr(Layout, "prepare", prepare_and_plant)
    with pytest.raises(DiskError, match=f"^{tmp_path / 'out/latest'}: cannot be written: Is a directory"):
        run(make_job(images=1))
    assert [] == list((tmp_path / "out").glob(".*.tmp"))
