"""`status` knows of a start that came to its end before it had a row in the ledger."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from batchproc.failpoints import VARIABLE
from tests.jobs import MakeJob

ROOT = Path(__file__).parents[2]


def call(*arguments: str, failpoint: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "batchproc", *arguments], cwd=ROOT, env={**os.environ, VARIABLE: failpoint},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def status(config: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(call("status", "--json", str(config)).stdout)
    return facts


def add_line(config: Path) -> None:
    with (config.parent / "list.txt").open("a") as file:
        file.write("/img/another.jpg\n")


def test_a_start_killed_while_it_read_the_list_is_told(make_job: MakeJob) -> None:
    config = make_job(images=2)
    assert 0 == call("run", "--quiet", str(config)).returncode
    before = status(config)
    add_line(config)
    assert -9 == call("run", "--quiet", str(config), failpoint="ledger.import:1").returncode

    after = status(config)

    assert before["lost_start"] is None
    assert before["runs"] == after["runs"]
    assert "ended before its run began" in after["next"]
    shown = call("status", str(config)).stdout
    assert f"last start: {after['lost_start']['started']}, ended before its run began" in shown


def test_the_next_run_makes_a_lost_start_history(make_job: MakeJob) -> None:
    config = make_job(images=2)
    assert -9 == call("run", "--quiet", str(config), failpoint="ledger.import:1").returncode
    assert status(config)["lost_start"] is not None
    assert 0 == call("run", "--quiet", str(config)).returncode

    assert status(config)["lost_start"] is None


def test_a_start_that_was_turned_away_by_the_lock_is_no_lost_start(make_job: MakeJob) -> None:
    from batchproc.lock import RunLock

    config = make_job(images=2)
    assert 0 == call("run", "--quiet", str(config)).returncode
    lock = config.parent / "out/lock"
    text = lock.read_bytes()
    with RunLock(lock):
        lock.write_bytes(text)  # as if that run still held it
        assert 75 == call("run", "--quiet", str(config)).returncode

    assert status(config)["lost_start"] is None
