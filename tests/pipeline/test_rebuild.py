"""`batchproc rebuild`: after a damage, and after a kill in its middle, the job goes on as if nothing had happened."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import DiskError, ExitCode, LockHeldError, UsageError
from batchproc.failpoints import VARIABLE
from batchproc.ledger import Ledger
from batchproc.lock import RunLock
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline.rebuild import Rebuilt, describe_rebuilt, rebuild_ledger, summarise_rebuilt
from batchproc.pipeline.types import RunOptions
from batchproc.report.status import read_status
from batchproc.sink import Layout
from tests.jobs import CONFIG, MakeJob
from tests.pipeline.test_hard_input import command, with_step
from tests.pipeline.test_modes import fingerprint, images, run
from tests.test_cli import call  # noqa: F401 - a fixture

IMAGES = 30


def damage(output: Path) -> None:
    """Everything but the first page is gone, as after a bad cable or a copy that broke off."""
    path = output / "batchproc.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * (path.stat().st_size - 4096))


def rebuild(config: Path, *overrides: str, same_plan: bool = False) -> Rebuilt:
    job, steps = load_job(config, overrides)
    return rebuild_ledger(job, steps, same_plan=same_plan)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, origin: EmbeddedOrigin) -> Path:
    """A job that ran twice to its end: images, rejections, failures of both kinds, a line that is no URL."""
    folder = tmp_path_factory.mktemp("finished")
    lines = [*[entry.path for entry in origin.listing()][:IMAGES], "/no/such.jpg", "http://"]
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    text = CONFIG.format(base_url=origin.base_url, transform='mode = "thread"')
    (folder / "job.toml").write_text(text.replace("width = 64\nheight = 64", "width = 900\nheight = 64"))
    for _ in range(2):
        run(folder / "job.toml")
    return folder


@pytest.fixture
def config(finished: Path, tmp_path: Path) -> Path:
    """The same job in a folder of its own, times of its files included."""
    shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "job.toml"


@pytest.fixture
def output(config: Path) -> Path:
    return config.parent / "out"


def test_a_damaged_ledger_is_told_with_its_remedy_by_all_who_read_it(
    config: Path, output: Path, call: Callable[..., tuple[int, str, str]]  # noqa: F811
) -> None:
    damage(output)

    for words in (["run", str(config)], ["status", str(config)], ["run", str(config), "--dry-run"]):
        code, _, err = call(*words)
        assert ExitCode.DISK == code, words
        assert "error: " + str(output / "batchproc.db") + ": the ledger is damaged. `batchproc rebuild" in err


def test_after_a_rebuild_nothing_that_was_restored_is_asked_for(config: Path, output: Path) -> None:
    before, counts = fingerprint(output), run(config).facts["counts"]
    damage(output)

    rebuilt = rebuild(config)
    result = run(config)

    assert before == fingerprint(output)
    assert sum(rebuilt.restored.undecided.values()) == result.facts["counts"]["processed"]
    assert counts["done"] == rebuilt.restored.done > 10
    assert counts["rejected"] > 0
    states = ("items", "done", "rejected", "failed", "quarantined", "pending", "duplicates", "bad_rows")
    assert {name: counts[name] for name in states} == {name: result.facts["counts"][name] for name in states}


def test_the_history_of_the_runs_is_restored_from_their_folders(config: Path, output: Path) -> None:
    with Ledger.open_view(output / "batchproc.db") as view:
        before = view.last_runs()
    assert 2 == len(before)
    damage(output)

    rebuild(config)

    with Ledger.open_view(output / "batchproc.db") as view:
        after = view.last_runs()
    assert [(one.name, one.exit_code, one.counters) for one in before] == [
        (one.name, one.exit_code, one.counters) for one in after
    ]


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("import:1", marks=pytest.mark.slow),
        pytest.param("import_end:1", marks=pytest.mark.slow),
        pytest.param("restore:1", marks=pytest.mark.slow),
        "restore:3",
        "rebuild_moving:1",
        "rebuild_moved:1",
    ],
)
def test_a_rebuild_that_was_killed_is_completed_by_the_same_command(config: Path, output: Path, point: str) -> None:
    before = fingerprint(output)
    damage(output)
    killed = command("rebuild", str(config), env={**os.environ, VARIABLE: f"ledger.{point}"})
    assert 128 + signal.SIGKILL == killed.returncode or -signal.SIGKILL == killed.returncode, killed.stderr
    with pytest.raises(DiskError, match="batchproc rebuild"):
        run(config)
    assert before == fingerprint(output)

    rebuild(config)

    assert "batchproc.db" in [path.name for path in output.glob("batchproc.db*")]
    assert 1 == len([path for path in output.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))])
    run(config)
    assert before == fingerprint(output)


def test_a_whole_ledger_is_left_alone(config: Path, output: Path) -> None:
    before = (output / "batchproc.db").read_bytes()

    with pytest.raises(UsageError, match="the ledger is whole"):
        rebuild(config)
    assert before == (output / "batchproc.db").read_bytes()


def test_a_ledger_that_was_taken_away_is_rebuilt_too(config: Path, output: Path) -> None:
    (output / "batchproc.db").unlink()

    assert rebuild(config).restored.done > 10


def test_images_of_the_plan_of_the_last_run_stay_of_that_plan(config: Path, output: Path) -> None:
    """The config has changed since: the rebuilt ledger says so as the old one would have."""
    damage(output)

    rebuilt = rebuild(config, "output.quality=40")

    assert rebuilt.is_other_plan
    assert "another plan" in "\n".join(describe_rebuilt(rebuilt))
    with pytest.raises(UsageError, match=r"output_quality: 85 -> 40"):
        run(config, "output.quality=40")
    run(config)  # and the plan that made them goes on


def test_a_plan_that_nothing_proves_is_never_guessed(config: Path, output: Path) -> None:
    damage(output)
    before = sorted(path.name for path in output.iterdir())
    shutil.rmtree(output / "runs")
    (output / "runs").mkdir()

    with pytest.raises(UsageError, match="--same-plan"):
        rebuild(config)
    assert before == sorted(path.name for path in output.iterdir())

    assert rebuild(config, same_plan=True).restored.done > 10


def newer_manifest(output: Path) -> None:
    later = (output / "latest/run.json").stat().st_mtime_ns + 1
    os.utime(output / "metadata.jsonl", ns=(later, later))


def change_facts(output: Path, **changes: object) -> None:
    path = output / "latest/run.json"
    status = path.stat()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("doubt", ["a newer manifest", "another version", "exit code 5", "no JSON", "no config"])
def test_evidence_that_does_not_hold_is_no_evidence(config: Path, output: Path, doubt: str) -> None:
    first, _ = Layout(output=output).run_folders()
    shutil.rmtree(first)
    match doubt:
        case "a newer manifest":  # written by a run that was killed before its run.json
            newer_manifest(output)
        case "another version":
            change_facts(output, version="0.0.0")
        case "exit code 5":  # may have ended before its manifests were written
            change_facts(output, exit_code=5)
        case "no JSON":
            (output / "latest/run.json").write_text("{")
        case _:
            change_facts(output, config=None)
    damage(output)

    with pytest.raises(UsageError, match="--same-plan"):
        rebuild(config)


def test_a_run_that_ended_on_a_full_disk_takes_no_proof_away_if_it_left_the_manifests(
    config: Path, output: Path
) -> None:
    change_facts(output, exit_code=5)
    damage(output)

    assert rebuild(config).restored.done > 10


def test_a_run_that_was_killed_after_the_last_manifests_takes_no_proof_away(config: Path, output: Path) -> None:
    (output / "runs/29990101T000000Z").mkdir()
    damage(output)

    assert rebuild(config).restored.done > 10


def test_own_steps_have_versions_that_no_run_json_tells(make_job: MakeJob, tmp_path: Path) -> None:
    config = with_step(make_job(images=2), "print_loudly")
    run(config)
    damage(tmp_path / "out")

    with pytest.raises(UsageError, match="--same-plan"):
        rebuild(config)
    assert 2 == rebuild(config, same_plan=True).restored.done
    assert 0 == run(config).facts["counts"]["processed"]


def test_lost_files_are_told_and_fetched_by_the_next_run(config: Path, output: Path) -> None:
    before = fingerprint(output)
    gone, changed, *_ = images(output)
    gone.unlink()
    changed.write_bytes(b"x")
    damage(output)

    rebuilt = rebuild(config)
    run(config)

    (line,) = [line for line in describe_rebuilt(rebuilt) if line.startswith("files")]
    assert "1 missing, 1 of another size or hash; those of the list are pending again" in line
    assert before == fingerprint(output)


def test_a_rebuild_while_a_run_holds_the_lock_is_turned_away(config: Path, output: Path) -> None:
    damage(output)

    with RunLock(output / "lock"), pytest.raises(LockHeldError):
        rebuild(config)


def test_a_list_on_stdin_is_refused_with_the_way_to_give_it(config: Path, output: Path) -> None:
    damage(output)
    before = sorted(path.name for path in output.iterdir())

    with pytest.raises(UsageError, match=r"put it into a file, and say --set job\.input=FILE"):
        rebuild(config, "job.input=-")
    assert before == sorted(path.name for path in output.iterdir())


def test_a_list_that_is_not_there_touches_nothing(config: Path, output: Path) -> None:
    damage(output)
    before = sorted(path.name for path in output.iterdir())
    (config.parent / "list.txt").unlink()

    with pytest.raises(UsageError, match=r"list\.txt"):
        rebuild(config)
    assert before == sorted(path.name for path in output.iterdir())


def test_nothing_to_rebuild_from_makes_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to rebuild from"):
        rebuild(make_job(images=1))
    assert not (tmp_path / "out").exists()


def test_the_command_takes_its_output_and_names_the_next_command(config: Path, output: Path, tmp_path: Path) -> None:
    moved = tmp_path / "else where"
    output.rename(moved)
    damage(moved)

    done = command("rebuild", str(config), "--output", str(moved))

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith(f"rebuilt {moved}/batchproc.db: ")
    assert done.stdout.endswith(f"next: batchproc run {config} --output '{moved}'\n")
    assert 1 == done.stdout.count("\n")


def test_the_summary_counts_everything_once(config: Path, output: Path) -> None:
    damage(output)

    rebuilt = rebuild(config)

    counts = rebuilt.counts
    states = (counts.done, counts.rejected, counts.failed, counts.quarantined, counts.deferred, counts.pending)
    assert counts.items == sum(states)
    assert "2 runs" in summarise_rebuilt(rebuilt, "next")


@pytest.mark.parametrize("loss", ["removed", "emptied", "without tables"])
def test_a_ledger_that_was_lost_is_not_taken_for_a_first_run(make_job: MakeJob, tmp_path: Path, loss: str) -> None:
    config = make_job(images=3)
    run(config)
    ledger, before = tmp_path / "out/batchproc.db", (tmp_path / "out/metadata.jsonl").read_bytes()
    ledger.unlink()
    if loss == "emptied":
        ledger.touch()
    elif loss == "without tables":
        with closing(sqlite3.connect(ledger)) as connection:
            connection.execute("VACUUM")

    with pytest.raises(DiskError, match=r"batchproc rebuild CONFIG.*--fresh"):
        run(config)
    assert before == (tmp_path / "out/metadata.jsonl").read_bytes()
    assert 3 == run(config, options=RunOptions(fresh=True)).facts["counts"]["processed"]


def test_a_ledger_without_one_of_its_parts_can_be_rebuilt(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    run(config)
    with closing(sqlite3.connect(tmp_path / "out/batchproc.db")) as connection:
        connection.execute("DROP INDEX item_due")

    with pytest.raises(DiskError, match="batchproc rebuild CONFIG"):
        run(config)
    rebuild(config)
    assert 0 == run(config).facts["counts"]["processed"]


def test_after_a_rebuild_no_start_counts_as_lost(make_job: MakeJob) -> None:
    config = make_job(images=3)
    run(config)
    job, _ = load_job(config, ())
    (job.paths.output / "batchproc.db").unlink()
    rebuild(config)

    assert read_status(job).lost_start is None
