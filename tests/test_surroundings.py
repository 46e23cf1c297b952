"""The program in the places it is started from: cron's bare environment, closed streams, any folder, any umask."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs import MakeJob

ROOT = Path(__file__).parents[1]
NIGHTLY = (ROOT / "docs/nightly.md").read_text(encoding="utf-8")
PROGRAM = [sys.executable, "-m", "batchproc"]
CRON = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def start(*arguments: str, shell: str = '"$@"', umask: int = -1) -> "subprocess.CompletedProcess[str]":
    """Runs the program as cron does: hardly an environment, no terminal, in /. `shell` may redirect its streams."""
    return subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *PROGRAM, *arguments],
        env=CRON, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, umask=umask,
    )  # fmt: skip


def with_page(config: Path) -> Path:
    """The same job, which also makes its HTML page."""
    config.write_text(config.read_text().replace("html = false", "html = true"))
    return config


def test_a_quiet_night_under_cron_says_nothing_at_all(make_job: MakeJob, tmp_path: Path) -> None:
    done = start("run", "--quiet", str(with_page(make_job(images=3))))

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert 3 == json.loads((tmp_path / "out/latest/run.json").read_text())["counts"]["done"]


def test_a_bad_night_under_cron_is_one_line(make_job: MakeJob) -> None:
    done = start("run", "--quiet", str(make_job(lines=["/no/such.jpg"])), "--set", "job.max_failed_ratio=0")

    assert (3, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())


def test_a_list_of_other_tongues_is_read_and_shown_in_the_c_locale(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(lines=["/größe/鳥.jpg", "http://bücher.example/☃"])
    config.write_text(config.read_text().replace('name = "small"', 'name = "größe"'), encoding="utf-8")
    config = config.rename(tmp_path / "größe.toml")

    done = start("run", str(config))
    state = start("status", str(config), "--json")

    assert 0 == done.returncode, done.stderr
    assert 0 == state.returncode, state.stderr
    assert "Traceback" not in done.stderr + state.stderr
    assert r"gr\xf6\xdfe: 2 items" in done.stdout
    assert "größe" == json.loads(state.stdout)["job"]
    assert "größe" == json.loads((tmp_path / "out/latest/run.json").read_text(encoding="utf-8"))["job"]


def test_a_narrow_umask_narrows_all_and_breaks_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)

    first = start("run", "--quiet", str(config), umask=0o077)
    second = start("run", "--quiet", str(config), umask=0o077)

    assert (0, 0) == (first.returncode, second.returncode), first.stderr + second.stderr
    others = [path for path in (tmp_path / "out").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert [] == others


def test_the_ledger_is_private_under_any_umask(make_job: MakeJob, tmp_path: Path) -> None:
    start("run", "--quiet", str(make_job(images=1)), umask=0)

    assert 0o600 == stat.S_IMODE((tmp_path / "out/batchproc.db").stat().st_mode)


@pytest.mark.parametrize(
    "redirection",
    ['"$@" >&-', '"$@" >&- 2>&-', '"$@" <&- >&- 2>&-', '"$@" >/dev/full', '"$@" >/dev/full 2>/dev/full',
     '"$@" | head -c 3 >/dev/null'],
)  # fmt: skip
def test_streams_that_are_closed_or_full_do_not_cost_the_job(
    make_job: MakeJob, tmp_path: Path, redirection: str
) -> None:
    done = start("run", str(make_job(images=2)), shell=redirection)

    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert 2 == json.loads((tmp_path / "out/latest/run.json").read_text())["counts"]["done"]


def test_a_result_that_cannot_be_printed_is_an_error_and_no_traceback() -> None:
    done = start("schema", shell='"$@" >/dev/full')

    assert (1, "error: stdout cannot be written: No space left on device\n") == (done.returncode, done.stderr)


def test_a_closed_descriptor_is_not_given_to_the_ledger(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)

    first = start("run", str(config), "-v", shell='"$@" <&- >&- 2>&-')
    second = start("status", str(config), "--json")

    assert (0, 0) == (first.returncode, second.returncode), second.stderr
    assert 4 == json.loads(second.stdout)["counts"]["done"]


def test_a_relative_config_is_found_from_where_one_stands_and_its_paths_from_where_it_lies(
    make_job: MakeJob, tmp_path: Path
) -> None:
    config = make_job(images=1)
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)

    done = start("run", "--quiet", f"../../{config.name}", shell=f'cd "{elsewhere}" && PYTHONPATH="{ROOT}" "$@"')

    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "out/metadata.jsonl").exists()
    assert [] == list(elsewhere.iterdir())


def test_nothing_is_imported_from_where_one_stands_or_the_config_lies(make_job: MakeJob, tmp_path: Path) -> None:
    """But for what Python itself imports to find the program that `-m` names."""
    config = make_job(images=2).rename(tmp_path / "elsewhere.toml")
    config.write_text(config.read_text().replace("[report]", "[origin]\nimages = 2\n[report]"))
    code = "import runpy, sys; print(*sys.modules)"
    before = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    for name in sys.stdlib_module_names - set(before.split()):
        (tmp_path / f"{name}.py").write_text("open('imported', 'a').write(__name__)\n")

    done = start(
        "run", config.name, "--download-mode", "process", shell=f'cd "{tmp_path}" && PYTHONPATH="{ROOT}" "$@"'
    )

    assert 0 == done.returncode, done.stderr
    assert not (tmp_path / "imported").exists()
    assert "started" in json.loads((tmp_path / "out/latest/run.json").read_text())["samples"]


def test_a_home_that_cannot_be_written_is_not_missed(make_job: MakeJob) -> None:
    done = start("run", "--quiet", str(with_page(make_job(images=1))), shell='HOME=/nonexistent "$@"')

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_the_nightly_config_is_valid_and_refuses_its_empty_list(tmp_path: Path) -> None:
    config = str(ROOT / "configs/nightly.toml")

    assert 0 == start("check", config).returncode
    done = start("run", "--quiet", config, "--output", str(tmp_path / "out"))

    assert 2 == done.returncode
    assert "the list is empty" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_accepts_the_units_of_the_docs(tmp_path: Path) -> None:
    units = re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", NIGHTLY, re.DOTALL)
    for name, text in units:
        (tmp_path / name).write_text(text.replace("/srv/batchproc/.venv/bin/batchproc", sys.executable))

    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name, _ in units)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip

    assert ["batchproc.service", "batchproc.timer"] == [name for name, _ in units]
    assert (0, "") == (done.returncode, done.stderr)


def test_the_flags_and_files_of_the_nightly_page_exist() -> None:
    flags = set(re.findall(r"--[a-z][a-z-]+", NIGHTLY))  # whether `run` has them is asked in tests/docs

    assert {"--quiet", "--wait", "--refresh", "--set"} <= flags
    assert (ROOT / "configs/nightly.toml").exists()


def test_a_working_directory_that_is_gone_is_only_missed_by_relative_paths(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    gone = tmp_path / "gone"
    inside = f'mkdir "{gone}" && cd "{gone}" && rmdir "{gone}" && PYTHONPATH="{ROOT}" "$@"'

    whole = start("run", "--quiet", str(config), shell=inside)
    relative = start("run", "job.toml", shell=inside)
    starter = start("init", "myjob", shell=inside)

    assert (0, "", "") == (whole.returncode, whole.stdout, whole.stderr)
    told = "the working directory is gone; give the whole path, or change to another folder.\n"
    assert (2, f"error: job.toml: {told}") == (relative.returncode, relative.stderr)
    assert (2, f"error: myjob: {told}") == (starter.returncode, starter.stderr)
