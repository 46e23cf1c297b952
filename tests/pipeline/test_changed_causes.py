"""A failure whose cause was in the config is tried again when that has changed, and the user is told what to change."""

import json
from pathlib import Path

import pytest

from batchproc.cli import load_job
from batchproc.errors import ExitCode, UsageError
from batchproc.report.status import read_status
from batchproc.report.terminal import summarise
from tests.jobs import MakeJob

from .test_modes import run

REFUSED = "download.allow_addresses=[]"


def counts(result: object) -> tuple[int, int, int]:
    numbers = result.facts["counts"]  # type: ignore[attr-defined]
    return numbers["done"], numbers["failed"], numbers["processed"]


def test_refused_addresses_are_tried_again_once_they_are_allowed(make_job: MakeJob) -> None:
    config = make_job(images=3)

    refused = run(config, REFUSED)
    again = run(config, REFUSED)
    allowed = run(config)
    at_rest = run(config)

    assert [(0, 3, 3), (0, 3, 0), (3, 0, 3), (3, 0, 0)] == [*map(counts, (refused, again, allowed, at_rest))]
    assert {"items": 3, "because": ["download.allow_addresses"]} == allowed.facts["due_again"]
    assert "  due again   3 items: [download] allow_addresses changed" in summarise(allowed.record, allowed.folder)
    assert "due again" not in summarise(at_rest.record, at_rest.folder)
    assert ExitCode.DONE is allowed.exit_code


def test_the_summary_and_status_name_the_key_before_and_the_run_after_the_change(make_job: MakeJob) -> None:
    config = make_job(images=3)
    result = run(config, REFUSED)

    refused, _ = load_job(config, [REFUSED])
    allowed, _ = load_job(config, [])

    text = summarise(result.record, result.folder)
    assert "3 policy.address: name it in allow_addresses if it is yours" in text
    assert "--retry-failed" not in text
    assert "name it in allow_addresses if it is yours" in read_status(refused).next
    assert read_status(allowed).next.startswith("3 items due again, since [download] allow_addresses changed: ")


def test_images_over_a_limit_are_tried_again_once_it_is_raised(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)

    small = run(config, "download.max_bytes=1KB")
    large = run(config)

    assert [(0, 3, 3), (3, 0, 3)] == [*map(counts, (small, large))]
    log = [json.loads(line) for line in (tmp_path / "out/latest/log.jsonl").read_text().splitlines()]
    assert [["download.max_bytes"]] == [line["because"] for line in log if line["event"] == "items.due_again"]


def test_what_the_config_did_not_decide_is_left_alone(make_job: MakeJob) -> None:
    config = make_job(lines=["/no/such.jpg"])
    run(config)

    assert (0, 1, 0) == counts(run(config, "download.max_bytes=1MB", "download.allow_addresses=['127.0.0.1/32']"))


def test_keys_that_decide_no_failure_make_nothing_due(make_job: MakeJob) -> None:
    config = make_job(images=1)
    run(config, REFUSED)

    others = ("download.workers=2", "job.max_failed_ratio=0.5", "transform.mode=thread", "output.durability=power")
    assert (0, 1, 0) == counts(run(config, REFUSED, *others))


def test_large_pictures_are_tried_again_once_they_are_allowed_and_no_image_is_made_again(
    make_job: MakeJob, tmp_path: Path
) -> None:
    config = make_job(images=6)
    run(config, f"job.output={tmp_path / 'measured'}")
    rows = [json.loads(line) for line in (tmp_path / "measured/metadata.jsonl").read_text().splitlines()]
    sizes = sorted(row["original_width"] * row["original_height"] for row in rows)
    small = sum(size <= sizes[2] for size in sizes)

    limited = run(config, f"transform.max_pixels={sizes[2]}")
    loosened = run(config, f"transform.max_pixels={sizes[-1]}")

    assert [(small, 6 - small, 6), (6, 0, 6 - small)] == [*map(counts, (limited, loosened))]
    assert {"items": 6 - small, "because": ["transform.max_pixels"]} == loosened.facts["due_again"]


def test_a_limit_that_is_tightened_is_another_plan(make_job: MakeJob) -> None:
    config = make_job(images=1)
    run(config)

    with pytest.raises(UsageError, match="max_pixels: 50000000 -> 1000"):
        run(config, "transform.max_pixels=1000")


def test_what_a_check_rejected_is_tried_again_once_the_check_is_another_one(make_job: MakeJob) -> None:
    config = make_job(images=2)
    text = config.read_text()
    config.write_text(text.replace("width = 64", "width = 5000"))
    rejected = run(config)
    config.write_text(text)
    loosened = run(config)

    assert (2, 0) == (rejected.facts["counts"]["rejected"], rejected.facts["counts"]["done"])
    assert (0, 2) == (loosened.facts["counts"]["rejected"], loosened.facts["counts"]["done"])
    assert ["transform.steps"] == loosened.facts["due_again"]["because"]
