"""`status` tells the truth about a job after whatever happened to it, and what to do next."""

import json
import os
import select
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.cli import load_job
from batchproc.explain.findings import explain
from batchproc.ledger import LedgerRun, LedgerView
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline import RunOptions
from batchproc.record.run_json import Counts, DueAgain, record_of
from batchproc.report.status import JobStatus, TrendFigure, _verdict, advise, describe_status, find_trend, read_status
from tests.explain.runs import cpu_bound
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run
from tests.pipeline.test_signals import start, with_slow_step


def status(config: Path) -> JobStatus:
    found = read_status(load_job(config, ())[0])
    assert json.loads(json.dumps(found.to_json()))["next"] == found.next
    return found


def ended(exit_code: int = 0, **counters: object) -> LedgerRun:
    moment = "2026-11-22T08:15:30Z"
    return LedgerRun(
        number=1, name="a", started=moment, ended=moment, host="h", pid=1, boot_id="", exit_code=exit_code,
        counters=counters,
    )  # fmt: skip


def test_a_good_job_has_nothing_due(make_job: MakeJob) -> None:
    config = make_job(images=3)
    result = run(config)

    facts = status(config)

    assert (3, 0) == (facts.counts.done, facts.due)
    assert facts.running is None
    assert "nothing is due" in facts.next
    (last,) = facts.runs
    assert (0, 3, 0) == (last.exit_code, last.counters["processed"], last.counters["failed_this_run"])
    assert result.facts["images_per_second"] == last.counters["images_per_second"]
    assert result.facts["run_id"] in describe_status(facts)


def test_a_limited_run_is_continued(make_job: MakeJob) -> None:
    config = make_job(images=5)
    run(config, options=RunOptions(limit=2))

    assert status(config).next == f"3 items due: batchproc run {config}"


def test_failures_are_named_with_the_way_to_try_again(make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg", "/nor/this.jpg"])
    run(config)

    text = describe_status(status(config))

    assert "failed by code: http.404 2" in text
    assert "--retry-failed" in text


def test_a_run_under_way_and_then_killed_is_told_apart(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=4)
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    with_slow_step(config, marker)

    with start(config, "--set", "transform.workers=1") as process:
        reached = os.open(marker, os.O_RDWR)
        try:
            assert select.select([reached], [], [], 60)[0], "the run never came to its step"
            assert b"x" == os.read(reached, 1)
            during = status(config)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(30)
            os.close(reached)
            process.stdout.close()
            process.stderr.close()
    after = status(config)

    assert during.running is not None
    assert process.pid == during.running.pid
    assert f"kill -USR1 {process.pid}" in during.next
    assert "under way" in describe_status(during)
    assert after.running is None
    assert "it was killed" in describe_status(after)
    assert "the last run was killed" in after.next


def test_the_trend_is_the_last_run_against_the_median_of_those_before() -> None:
    rates = [44.0, 50.0, 70.0, 55.0]
    runs = [ended(images_per_second=rate, failed_this_run=2, wall_seconds=4.0) for rate in rates]

    trend = find_trend(runs)

    assert trend is not None
    assert TrendFigure(last=44.0, median_before=55.0) == trend["rate"]
    assert TrendFigure(last=2, median_before=2) == trend["failures"]


def test_runs_without_work_or_without_an_end_are_no_trend() -> None:
    worked = ended(images_per_second=10.0, failed_this_run=0, wall_seconds=1.0)
    idle = ended(images_per_second=0.0, failed_this_run=0, wall_seconds=0.1)
    killed = replace(ended(), ended="", exit_code=None)

    assert find_trend([worked, idle, killed, worked]) is None


def test_a_trend_over_three_runs_is_shown(make_job: MakeJob) -> None:
    config = make_job(images=2)
    for _ in range(3):
        run(config, options=RunOptions(fresh=True))

    assert "images/s, before" in describe_status(status(config))


def test_status_changes_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    run(config)

    def everything() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    before = everything()
    with LedgerView.open_view(tmp_path / "out/batchproc.db") as ledger:
        ledger.counts()
        during = everything()
    status(config)

    assert before == during == everything()


def test_the_rows_of_older_versions_are_shown_as_well(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    run(config)
    with sqlite3.connect(tmp_path / "out/batchproc.db") as ledger:
        ledger.execute("""UPDATE run SET counters_json = '{"processed": 7}'""")
    ledger.close()

    assert " 7 " in describe_status(status(config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": [ended(exit_code=5)], "due": 3}, "make room"),
        ({"counts": Counts(failed=3, bad_rows=1)}, "--retry-failed tries 2 items again"),
        ({"counts": Counts(quarantined=1)}, "--retry-failed tries 1 item again, the quarantined too"),
        ({"counts": Counts(failed=2, bad_rows=2)}, "mend 2 lines of the list"),
        ({"due": 1}, "1 item due"),
        ({"counts": Counts(failed=3), "failures": {"policy.address": 3}}, "name it in allow_addresses"),
        ({"due_again": DueAgain(items=3, because=("download.allow_addresses",))},
         "3 items due again, since [download] allow_addresses changed: batchproc run job.toml"),
        ({}, "--refresh"),
    ],
    ids=["disk", "failed", "quarantined", "bad lines", "due", "config", "changed", "nothing"],
)
def test_the_advice_fits(changes: dict[str, Any], words: str) -> None:
    nothing = JobStatus(job="a", config="job.toml", output="out", counts=Counts(), runs=[ended()])

    assert words in advise(replace(nothing, **changes))


def test_failing_hosts_disk_use_and_what_held_the_last_run_back_are_told(
    make_job: MakeJob, tmp_path: Path, origin: EmbeddedOrigin
) -> None:
    good = next(entry.path for entry in origin.listing() if entry.fault is None)
    config = make_job(lines=["/no/such.jpg", "/nor/this.jpg", good, "ftp://elsewhere/x.jpg"])
    run(config, "report.html=false")
    made = sum(path.stat().st_size for path in (tmp_path / "out/images").rglob("*.*"))

    facts = status(config)

    assert [("127.0.0.1", 2, "http.404")] == [
        (host.host.partition(":")[0], host.items, *host.codes) for host in facts.failing_hosts
    ]
    assert facts.disk is not None
    assert (made, True) == (facts.disk.images_bytes, min(facts.disk.ledger_bytes, facts.disk.free_bytes) > 0)
    text = describe_status(facts)
    assert "2 (http.404)" in text
    assert "disk: images " in text
    assert f"last bottleneck: {facts.bottleneck}" in text


def test_the_page_of_the_last_run_is_named_where_it_is(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    run(config)
    without = status(config)
    (tmp_path / "out/report.html").touch()

    assert "last report" not in describe_status(without)
    assert f"last report: {tmp_path / 'out/report.html'}" in describe_status(status(config))


def test_the_last_verdict_has_its_reasons() -> None:
    record = explain(record_of(cpu_bound() | {"images_per_second": 79.3}))

    assert "; ".join(choice.brief for choice in record.choices) == _verdict(record)


def test_a_run_of_another_version_has_no_verdict(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    (tmp_path / "out/runs" / run(config).folder.name / "run.json").write_text("{}")

    assert ("", "") == (status(config).verdict, status(config).bottleneck)
