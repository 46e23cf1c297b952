"""From facts to the model's parameters: what was measured, assumed, or left out."""

import pytest

from batchproc.explain.run_model import measure, usable_cores, working_seconds
from batchproc.record.run_json import record_of
from tests.explain.runs import all_serial, cpu_bound, held, run, stage


@pytest.mark.parametrize("facts", [cpu_bound(), cpu_bound("thread"), all_serial(), held()], ids=list("abcd"))
def test_the_model_fits_the_run_it_was_made_from(facts: dict[str, object]) -> None:
    measured = measure(record_of(facts))

    assert measured is not None
    assert measured.fits
    assert abs(measured.miss) < 0.15


def test_what_a_run_cannot_measure_is_named() -> None:
    without, processes = measure(record_of(all_serial())), measure(record_of(cpu_bound()))

    assert without is not None
    assert processes is not None
    assert ("the cost of processes (their start, and the pipe)",) == without.assumed
    assert () == processes.assumed


def test_without_a_sampler_the_parents_own_cpu_is_assumed() -> None:
    measured = measure(record_of(cpu_bound() | {"samples": {"unknown": "no /proc"}}))

    assert measured is not None
    assert "the parent's own CPU per image" in measured.assumed
    assert 2.0 == measured.job.cores


def test_waiting_for_a_retry_alone_is_no_work() -> None:
    facts = cpu_bound()

    assert facts["line_seconds"] - 2.0 == working_seconds(record_of(facts | {"retry_wait_seconds": 2.0}))
    assert facts["line_seconds"] == working_seconds(record_of(facts | {"retry_wait_seconds": None}))


def test_neighbours_take_their_cores_only_from_a_run_that_wanted_them() -> None:
    facts = cpu_bound()
    machine = facts["samples"]["machine"]

    machine |= {"others_cpu_share": 0.7, "busy_share": 0.99}
    assert 0.6 == pytest.approx(usable_cores(record_of(facts)))
    machine |= {"busy_share": 0.8}
    assert 1.0 == pytest.approx(usable_cores(record_of(facts)))


def test_nothing_processed_gives_no_model() -> None:
    empty = stage("thread", 2, items=0, wall=1.0, cpu=0.0)

    assert measure(record_of(run(empty, empty))) is None
