"""Which stage held the run back."""

from typing import Any

import pytest

from batchproc.explain.findings import find_bottleneck
from batchproc.record.explanation import Reason
from batchproc.record.run_json import Bottleneck, record_of
from tests.explain.runs import all_serial, cpu_bound, run, stage


def bottleneck_of(facts: dict[str, Any]) -> Bottleneck:
    return find_bottleneck(record_of(facts))


def test_busy_transform_workers_hold_the_run_back() -> None:
    found = bottleneck_of(cpu_bound("thread", run_queue=2.0))

    assert ("transform", Reason.BUSY) == (found.stage, found.reason)
    assert found.loads["transform"].busy > 0.95


def test_busy_download_workers_hold_the_run_back() -> None:
    found = bottleneck_of(
        run(
            stage("serial", 1, items=100, wall=7.2, cpu=0.001, blocked=0.07),
            stage("process", 2, items=100, wall=7.2, cpu=0.02),
        )
    )

    assert ("download", Reason.BUSY) == (found.stage, found.reason)
    assert 0.86 == pytest.approx(found.loads["transform"].starved, abs=0.005)


def test_one_thread_for_everything_blames_the_longer_stage() -> None:
    found = bottleneck_of(all_serial())

    assert ("download", Reason.ONE_THREAD) == (found.stage, found.reason)


def test_nothing_processed_holds_nothing_back() -> None:
    empty = stage("thread", 2, items=0, wall=1.0, cpu=0.0)

    assert Bottleneck(reason=Reason.NOTHING_DONE) == bottleneck_of(run(empty, empty))


def test_two_half_idle_stages_are_told_as_unknown() -> None:
    found = bottleneck_of(
        run(
            stage("thread", 4, items=100, wall=10.0, cpu=0.001, blocked=0.2),
            stage("process", 2, items=100, wall=10.0, cpu=0.14, output_blocked=5.0),
        )
    )

    assert (None, Reason.UNDECIDED) == (found.stage, found.reason)


def test_starved_transform_and_idle_downloads_point_at_what_may_start() -> None:
    found = bottleneck_of(
        run(
            stage("thread", 32, items=100, wall=10.0, cpu=0.001, blocked=0.2),
            stage("process", 2, items=100, wall=10.0, cpu=0.02),
        )
    )

    assert ("download", Reason.STARTS_LIMITED, None) == (found.stage, found.reason, found.downloads_allowed)


def test_a_run_in_which_no_download_brought_an_image_blames_no_limit() -> None:
    found = bottleneck_of(
        run(
            stage("thread", 32, items=120, wall=10.0, cpu=0.001),
            stage("process", 2, items=0, wall=10.0, cpu=0.0),
        )
    )

    assert (None, Reason.NO_IMAGE_CAME) == (found.stage, found.reason)


@pytest.mark.parametrize("bucket", ["retry_wait", "pause_wait"])
def test_waits_for_retries_and_paused_hosts_do_not_count_as_idle_workers(bucket: str) -> None:
    facts = cpu_bound("thread")
    longer = facts["line_seconds"] * 3
    for one in facts["stages"].values():
        one["account"][bucket] = one["workers"] * (longer - one["wall_seconds"])
        one["wall_seconds"] = longer

    assert "transform" == bottleneck_of(facts).stage
