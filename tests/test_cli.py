"""The command line as a user meets it: words, exit codes, streams."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from batchproc.__main__ import run as start
from batchproc.cli import main
from batchproc.lock import RunLock
from batchproc.pipeline.observer import Observer
from batchproc.progress import Quiet
from batchproc.version import VERSION
from tests.jobs import MakeJob

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["batchproc", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def test_run_prints_its_summary_on_stdout_and_nothing_else_there(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, err = call("run", str(make_job(images=3)))

    assert 0 == code
    assert out.startswith("small: 3 items: 3 done")
    assert "bottleneck" in out
    assert str(tmp_path / "out") in out
    assert "img/s" not in out + err  # no bar without a terminal


def test_json_is_the_run_json(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, _ = call("run", str(make_job(images=2)), "--json")

    assert 0 == code
    assert json.loads(out) == json.loads((tmp_path / "out/latest/run.json").read_text())


def test_quiet_says_nothing_when_all_is_well(call, make_job: MakeJob) -> None:
    assert (0, "", "") == call("run", str(make_job(images=2)), "--quiet")


def test_quiet_says_one_line_when_something_is_wrong(call, make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg"])

    code, out, err = call("run", str(config), "--quiet", "--set", "job.max_failed_ratio=0")

    folder = (config.parent / "out/latest").resolve()
    assert (3, "") == (code, out)
    assert in_one_line(err, "error: small: 1 of 1 item failed, over max_failed_ratio = 0: 1 http.404; exit 3, ", folder)


def in_one_line(err: str, beginning: str, folder: Path | None = None) -> bool:
    """Whether a quiet run said one short line, with the folder's end in it."""
    assert err.startswith(beginning)
    assert 1 == err.count("\n")
    assert len(err) <= 200 + len("\n")
    return folder is None or err.rstrip().endswith("/".join(folder.parts[-2:]))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("job.nmae=x", "job.nmae"),
        ("job.input=/no/such.txt", "/no/such.txt"),
        ("job.fail_on_empty=true", "the list is empty"),
    ],
)
def test_a_quiet_run_that_cannot_begin_says_why_in_one_line(call, make_job: MakeJob, setting: str, reason: str) -> None:
    config = make_job(lines=[])

    code, out, err = call("run", str(config), "--quiet", "--set", setting)

    assert (2, "") == (code, out)
    assert reason in err
    assert in_one_line(err, "error: ")
    assert err.endswith("; exit 2\n")


def test_a_quiet_run_that_meets_another_says_so_in_one_line(call, make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out").mkdir()

    with RunLock(tmp_path / "out/lock"):
        code, _, err = call("run", str(config), "--quiet")

    assert 75 == code
    assert in_one_line(err, "error: small: ")
    assert err.endswith("; exit 75\n")


def test_a_quiet_run_that_a_limit_stopped_says_which_in_one_line(call, make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)

    code, _, err = call("run", str(config), "--quiet", "--limit", "1", "--set", "job.exit_on_limit=true")

    assert 4 == code
    beginning = "error: small: stopped by --limit, 2 items left; exit 4, "
    assert in_one_line(err, beginning, (tmp_path / "out/latest").resolve())


def test_a_quiet_run_whose_ledger_is_damaged_says_so_in_one_line(call, make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/batchproc.db").write_bytes(b"no database " * 1000)

    code, out, err = call("run", str(config), "--quiet")

    assert (5, "") == (code, out)
    assert "the ledger is damaged" in err
    assert in_one_line(err, "error: small: ")
    assert err.endswith("; exit 5\n")


def test_a_quiet_run_that_is_interrupted_says_so_in_one_line(
    call, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()

    def interrupt(display: Quiet, observer: Observer) -> None:
        if observer.processed == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert heard.wait(30)

    monkeypatch.setattr(Quiet, "advance", interrupt)
    monkeypatch.setattr(Quiet, "note", lambda display, text: heard.set() if text.startswith("SIGINT") else None)
    modes = ("--download-mode", "serial", "--transform-mode", "serial")
    code, out, err = call("run", str(make_job(images=40)), "--quiet", *modes)

    assert (130, "") == (code, out)
    assert re.match(r"error: small: interrupted, \d+ items left; exit 130, ", err)
    assert in_one_line(err, "error: ", (tmp_path / "out/latest").resolve())


def test_ctrl_c_while_the_command_line_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(name: str) -> object:
        raise KeyboardInterrupt

    importing = ModuleType("batchproc.cli")
    importing.__getattr__ = interrupt  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "batchproc.cli", importing)

    monkeypatch.setattr("batchproc.lifecycle.prepare_exit", lambda: None)  # for programs that end with it
    monkeypatch.setattr("batchproc.signals.listen", lambda: None)

    assert 130 == start()


def test_a_fault_of_the_program_itself_is_told_without_secrets_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise TypeError("no way to http://user:PASSWORD@host/?0f3a\x1b[31m")

    monkeypatch.setattr("batchproc.cli.main", fail)
    monkeypatch.setattr("batchproc.lifecycle.prepare_streams", lambda: None)
    monkeypatch.setattr("batchproc.lifecycle.prepare_exit", lambda: None)
    monkeypatch.setattr("batchproc.signals.listen", lambda: None)

    assert 1 == start()
    *before, fault, last = capfd.readouterr().err.splitlines()
    assert before[0].startswith("Traceback")
    assert r"TypeError: no way to http://***@host/?***" == fault
    assert "error: this is a fault of batchproc itself; what is done is kept; exit 1" == last


def test_quiet_says_one_line_when_the_server_was_away(call, make_job: MakeJob, short_pauses: None) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        config = make_job(lines=[f"{away}/{number}.jpg" for number in range(100)])
        code, out, err = call("run", str(config), "--quiet", "--set", "download.retries=0")

    assert (3, "") == (code, out)
    why = r"\d+ of 100 items deferred, over max_deferred_ratio = 0.5: 100 connect"
    assert re.match(f"error: small: {why}; exit 3, ", err)
    assert in_one_line(err, "error: ", (config.parent / "out/latest").resolve())


def test_quiet_says_one_line_of_many_left_for_the_next_run_though_no_limit_is_crossed(
    call, make_job: MakeJob, tmp_path: Path, short_pauses: None
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        config = make_job(images=20)
        path = config.parent / "list.txt"
        path.write_text(path.read_text() + "\n".join(f"{away}/{number}.jpg" for number in range(100)))
        flags = ("--set", "download.retries=0", "--set", "job.max_deferred_ratio=1")
        code, out, err = call("run", str(config), "--quiet", *flags)

    assert (0, "") == (code, out)
    assert re.match(r"warning: small: \d+ of 120 items deferred: 100 connect; exit 0, ", err)
    assert in_one_line(err, "warning: ", (tmp_path / "out/latest").resolve())


def test_quiet_says_where_to_look_when_everything_failed_for_good(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, err = call("run", str(make_job(lines=["/no/such.jpg"])), "--quiet")

    assert (0, "") == (code, out)
    beginning = "warning: small: none of 1 item came through: 1 http.404; exit 0, "
    assert in_one_line(err, beginning, (tmp_path / "out/latest").resolve())


def test_quiet_says_nothing_of_the_few_that_always_fail(call, make_job: MakeJob) -> None:
    config = make_job(images=20)
    path = config.parent / "list.txt"
    path.write_text(path.read_text() + "http://127.0.0.1:9/never.jpg\n")

    assert (0, "", "") == call("run", str(config), "--quiet")
    assert (0, "", "") == call("run", str(config), "--quiet")


def test_quiet_says_nothing_when_one_item_of_two_was_done(call, make_job: MakeJob) -> None:
    config = make_job(images=1)
    path = config.parent / "list.txt"
    path.write_text(path.read_text() + "\n/no/such.jpg\n")

    assert (0, "", "") == call("run", str(config), "--quiet")


def test_flags_set_their_config_keys(call, make_job: MakeJob) -> None:
    modes = ("--download-mode=process", "--transform-mode=thread")
    workers = ("--download-workers=3", "--transform-workers=1")

    code, out, _ = call("run", str(make_job(images=1)), *modes, *workers, "--max-duration=9m", "--json")

    config = json.loads(out)["config"]
    assert 0 == code
    assert ("process", 3) == (config["download"]["mode"], config["download"]["workers"])
    assert ("thread", 1) == (config["transform"]["mode"], config["transform"]["workers"])
    assert 540.0 == config["job"]["max_duration"]


def test_every_problem_of_a_config_is_told_at_once(call, make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job()
    text = config.read_text().replace('how = "contain"', 'how = "squeeze"').replace("workers = 4", "worker = 4")
    config.write_text(text)

    code, out, err = call("run", str(config))

    assert (2, "") == (code, out)
    assert "[download] worker" in err
    assert "workers" in err
    assert "squeeze" in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert not (tmp_path / "out").exists()


def test_a_missing_config_is_a_usage_error(call, tmp_path: Path) -> None:
    code, _, err = call("run", str(tmp_path / "nothing.toml"))

    assert 2 == code
    assert "no such file" in err
    assert "Traceback" not in err


def test_check_shows_how_the_list_is_read(call, make_job: MakeJob) -> None:
    code, out, _ = call("check", str(make_job()), "--set", "job.delimiter=;", "--set", "job.quoting=none")

    assert 2 == code  # a text list has no cells: a run refuses it
    assert 'list        cells cut at ";", quoting none, items known by their URL, duplicates first' in out


def test_check_shows_the_plan_and_touches_nothing(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, _ = call("check", str(make_job()), "--set", "download.workers=64")

    assert 0 == code
    assert "resize" in out
    assert not (tmp_path / "out").exists()


def test_dry_run_counts_and_touches_nothing(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, out, _ = call("run", str(make_job(lines=["/a.jpg", "/b.jpg", "/a.jpg"])), "--dry-run")

    assert 0 == code
    assert "2 items in 3 lines, 1 duplicates" in out
    assert not (tmp_path / "out").exists()


def test_status_tells_of_a_job_whose_steps_cannot_be_imported(call, make_job: MakeJob) -> None:
    config = str(make_job(images=1))
    call("run", "--quiet", config)

    code, out, _ = call("status", config, "--set", 'transform.steps=[{op="no.module:step"}]')

    assert 0 == code
    assert "  done                 1\n" in out


def test_status_tells_what_the_ledger_holds(call, make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg"])
    call("run", str(config))

    code, out, _ = call("status", str(config))
    _, as_json, _ = call("status", str(config), "--json")

    assert 0 == code
    assert "http.404 1" in out
    assert "--retry-failed" in out
    assert 1 == json.loads(as_json)["counts"]["failed"]


def test_only_failures_of_a_code_are_tried_again(call, make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg", "file:///x"])
    call("run", str(config), "-q")

    code, _, err = call("run", str(config), "--retry-failed=http.404,http.410")
    _, out, _ = call("run", str(config), "--retry-failed", "--json")

    assert 0 == code
    assert "1 item that failed so: tried again" in err
    assert 1 == json.loads(out)["counts"]["processed"]


def test_a_code_that_is_none_is_refused_with_the_nearest(call, make_job: MakeJob) -> None:
    code, _, err = call("run", str(make_job()), "--retry-failed=timeout.conect")

    assert 2 == code
    assert '--retry-failed=timeout.conect: is no failure code; did you mean "timeout.connect"?' in err


def test_status_of_a_job_that_never_ran_is_a_usage_error(call, make_job: MakeJob) -> None:
    code, _, err = call("status", str(make_job()))

    assert 2 == code
    assert err.startswith("error: ")


def test_the_schema_is_a_json_schema_with_the_steps(call) -> None:
    code, out, _ = call("schema")

    assert 0 == code
    schema = json.loads(out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "only_shrink" in out


def test_steps_lists_every_step_with_an_example(call) -> None:
    code, out, _ = call("steps")

    assert 0 == code
    for name in ("resize", "crop", "median", "unsharp", "min_size", "max_aspect"):
        assert f'op = "{name}"' in out


def test_init_writes_a_job_that_checks_and_never_overwrites(call, tmp_path: Path) -> None:
    assert 0 == call("init", str(tmp_path / "job"))[0]
    assert 0 == call("check", str(tmp_path / "job/job.toml"))[0]

    code, _, err = call("init", str(tmp_path / "job"))

    assert 2 == code
    assert "never overwrites" in err


def test_the_job_is_the_same_from_any_working_directory(
    call, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_job(images=2)
    monkeypatch.chdir("/")

    assert 0 == call("run", str(config))[0]
    assert (tmp_path / "out/metadata.jsonl").exists()


def test_output_on_the_command_line_is_relative_to_the_working_directory(
    call, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_job(images=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert 0 == call("run", str(config), "--output", "here")[0]
    assert (tmp_path / "elsewhere/here/metadata.jsonl").exists()


@pytest.mark.parametrize("wish", [["--modes", "fork"], ["--until-decided", "--quick"]], ids=" ".join)
def test_bench_refuses_what_it_cannot_do_before_it_does_anything(
    call, make_job: MakeJob, tmp_path: Path, wish: list[str]
) -> None:
    code, out, err = call("bench", str(make_job()), *wish)

    assert (2, "") == (code, out)
    assert err.startswith("error: --")
    assert not (tmp_path / "out").exists()


def test_the_version(call) -> None:
    assert (0, f"{VERSION}\n", "") == call("--version")


def test_a_closed_stdout_is_no_crash() -> None:
    command = f"{sys.executable} -m batchproc schema | head -c 10"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert "" == done.stderr


def test_origin_serves_until_it_is_ended() -> None:
    command = [sys.executable, "-m", "batchproc", "origin", "--images", "3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=60)

    assert "serving 3 pictures" in first, err
    assert (0, "") == (process.returncode, err)


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--latency", "1y", "--latency 1y: must be a duration"),
        ("--latency", "61", "must be from 0 to 60"),
        ("--bandwidth", "fast", "--bandwidth fast: must be a size"),
        ("--bandwidth", "0.5", "--bandwidth 0.5: must be a size"),
    ],
)
def test_origin_refuses_what_it_cannot_read(call, flag: str, value: str, says: str) -> None:
    code, out, err = call("origin", flag, value)

    assert (2, "") == (code, out)
    assert says in err


def test_an_empty_output_folder_is_refused(call, make_job: MakeJob, tmp_path: Path) -> None:
    code, _, err = call("run", str(make_job()), "--output", "")

    assert (2, 'error: --output: must name a folder; "." is the working directory.\n') == (code, err)


def test_a_wait_may_be_a_number_of_seconds(call, make_job: MakeJob) -> None:
    assert 0 == call("run", str(make_job(images=1)), "--wait", "1.5")[0]
    assert 2 == call("run", str(make_job(images=1)), "--wait", "a while")[0]


@pytest.mark.parametrize(
    ("redirection", "says"),
    [("| head -c 0", ""), ("| head -n 1", ""), (">/dev/full", "warning: stdout cannot be written: No space left")],
)
def test_a_run_ends_with_its_own_code_whoever_reads_it(make_job: MakeJob, redirection: str, says: str) -> None:
    config = make_job(lines=["/no/such.jpg"])
    command = f"{sys.executable} -m batchproc run {config} -v --set job.max_failed_ratio=0 {redirection}"
    script = f"{command} > /dev/null; exit ${{PIPESTATUS[0]}}" if redirection.startswith("|") else command
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert 3 == done.returncode, done.stderr
    assert says in done.stderr
    assert bool(says) == bool(done.stderr)


def test_a_command_whose_reader_leaves_ends_well(call, make_job: MakeJob) -> None:
    config = make_job(images=1)
    call("run", "--quiet", str(config))

    for words in (f"status {config}", "steps", "schema", f"check {config}", "--help"):
        script = f"{sys.executable} -m batchproc {words} | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (0, "") == (done.returncode, done.stderr), words


def test_a_report_that_cannot_be_linked_is_no_traceback(call, make_job: MakeJob, tmp_path: Path) -> None:
    call("run", str(make_job(images=1)))
    (tmp_path / "out/report.html").mkdir()

    code, _, err = call("report", str(tmp_path / "out"))

    assert 5 == code
    assert str(tmp_path / "out/report.html") in err


def test_the_readme_holds_the_two_commands_as_ci_runs_them() -> None:
    commands = [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/batchproc run configs/demo.toml",
        ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ]
    script = (ROOT / ".ci/run").read_text().splitlines()

    for command in commands:
        assert command in script
        assert f"    {command}" in README.splitlines()


def test_the_readme_names_every_command(call) -> None:
    _, out, _ = call("--help")
    commands = re.findall(r"^  ([a-z]+)  ", out, re.MULTILINE)

    assert len(commands) >= 7
    assert [] == [command for command in commands if f"batchproc {command}" not in README]


def test_every_command_shows_an_example_in_its_help(call) -> None:
    for command in ("run", "bench", "report", "check", "status", "schema", "init", "origin", "steps"):
        code, out, _ = call(command, "--help")
        assert 0 == code
        assert "Example: batchproc" in out, command
