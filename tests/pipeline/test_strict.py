"""`--strict`: the first failed item ends the run, which says which one and why."""

import itertools
import json
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.pipeline import RunOptions
from tests.jobs import MakeJob

from .test_modes import MODES, run

STRICT = RunOptions(strict=True)


@pytest.mark.parametrize("pair", list(itertools.product(MODES, MODES)), ids="-".join)
def test_strict_stops_at_the_first_failure_in_every_pair_of_modes(
    make_job: MakeJob, tmp_path: Path, pair: tuple[str, str]
) -> None:
    config = make_job(lines=[f"/no/such{number}.jpg" for number in range(100)])

    result = run(config, f"download.mode={pair[0]}", f"transform.mode={pair[1]}", options=STRICT)

    assert ExitCode.TOO_MANY_FAILED == result.exit_code
    assert (1, 99) == (result.facts["counts"]["failed"], result.facts["counts"]["pending"])
    (row,) = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert str(result.error).startswith(f"line {row['line']} of the list, {row['url']}: http.404: ")
    assert "--strict stops at the first failure" in str(result.error)


def test_what_was_done_before_a_strict_stop_is_kept_and_the_next_run_goes_on(make_job: MakeJob) -> None:
    config = make_job(images=6)
    path = config.parent / "list.txt"
    good = path.read_text().splitlines()
    path.write_text("\n".join([*good[:3], "/no/such.jpg?pin=1234", *good[3:]]))

    first = run(config, "download.mode=serial", "transform.mode=serial", options=STRICT)
    second = run(config)

    assert (3, 1, 3) == tuple(first.facts["counts"][state] for state in ("done", "failed", "pending"))
    assert (6, 1, 0) == tuple(second.facts["counts"][state] for state in ("done", "failed", "pending"))
    assert 3 == second.facts["counts"]["processed"]


def test_a_strict_run_goes_on_over_rejections_and_retries(make_job: MakeJob) -> None:
    config = make_job(images=4)

    result = run(config, "transform.steps=[{op='min_size', width=9999, height=9999}]", options=STRICT)

    assert ExitCode.DONE == result.exit_code
    assert 4 == result.facts["counts"]["rejected"]
