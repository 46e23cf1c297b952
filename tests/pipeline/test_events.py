"""The log of a real run tells its story: start, list, failures, signals, end."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import DiskError
from batchproc.ledger import Ledger
from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob

from .test_modes import run


def log_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "latest/log.jsonl").read_text().splitlines()]


def events(output: Path) -> dict[str, dict[str, Any]]:
    """The last record of each event."""
    return {record["event"]: record for record in log_of(output)}


def test_a_run_tells_its_story(make_job: MakeJob, tmp_path: Path) -> None:
    result = run(make_job(images=40, faults=True))

    log = log_of(tmp_path / "out")
    assert ["run.started", "list.imported", "line.started"] == [record["event"] for record in log[:3]]
    assert 40 == log[1]["new"] == log[1]["work"]
    assert {"download": "thread 4", "transform": "process 2"} == {
        name: log[2][name] for name in ("download", "transform")
    }
    failed = [record for record in log if record["event"] == "item.failed"]
    assert result.facts["counts"]["failed"] == len(failed) > 0
    assert "run.ended" == log[-1]["event"]
    assert (0, result.facts["counts"]) == (log[-1]["exit_code"], log[-1]["counts"])


def test_a_run_with_nothing_to_do_says_so(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    run(config)
    run(config)

    found = events(tmp_path / "out")
    assert (True, 0) == (found["list.imported"]["skipped"], found["list.imported"]["work"])
    assert "line.started" not in found


def test_replaced_workers_are_told(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    step = '[[transform.steps]]\nop = "tests.pipeline.steps:die"\n\n[report]'
    config.write_text(config.read_text().replace("[report]", step))

    run(config)

    found = events(tmp_path / "out")
    assert found["workers.replaced"]["replaced"] > 0
    assert ("worker.crash", "quarantined") == (found["item.failed"]["code"], found["item.failed"]["outcome"])


def test_an_early_end_is_told(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=20), "download.mode=serial", "job.max_duration=0.001")

    assert any("max_duration" in record.get("text", "") for record in log_of(tmp_path / "out"))
    assert "duration" == events(tmp_path / "out")["run.ended"]["stopped_by"]


def test_a_run_that_breaks_leaves_its_last_words(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Ledger, **_: object) -> None:
        raise DiskError("batchproc.db: the disk is full")

    monkeypatch.setattr(Ledger, "end_run", refuse)

    with pytest.raises(DiskError):
        run(make_job(images=1), options=RunOptions())

    assert "batchproc.db: the disk is full" == events(tmp_path / "out")["run.broken"]["message"]


def test_urllib3_is_silent_for_its_messages_carry_urls(
    make_job: MakeJob, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        run(make_job(images=2))
        logging.getLogger("urllib3.connectionpool").warning("Failed to parse headers (url=%s)", "https://secret")

    assert [] == [record for record in caplog.records if record.name.startswith("urllib3")]
