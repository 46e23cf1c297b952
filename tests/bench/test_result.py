"""Which figures of a run are kept, and to whom the origin's CPU is charged."""

import json

import pytest

from batchproc.bench.result import CaseResult, digest, with_origin
from batchproc.measure.samples import MachineUsage, ProcessUsage, Samples
from batchproc.record.run import NotSampled, RunRecord
from tests.bench.fakes import a_result


def record(others: float | None = 0.5) -> RunRecord:
    machine = MachineUsage(cores=2, others_cpu_share=others, steal_share=0.0, throttled_seconds=0.0)
    processes = (ProcessUsage(role="main", cpu_seconds=1.0),)
    return RunRecord(samples=Samples(started=10.0, ended=12.0, machine=machine, processes=processes))


def test_a_result_comes_back_from_json_as_it_was() -> None:
    result = a_result(2.0)

    assert result == CaseResult.from_json(json.loads(json.dumps(result.to_json())))


def test_the_rate_is_of_images_that_were_made() -> None:
    assert 45.0 == a_result(2.0, done=90, failed=10).rate_per_second


def test_the_origins_cpu_is_not_charged_to_others() -> None:
    found = with_origin(record(), 1.0).sampled

    assert pytest.approx(0.25) == found.machine.others_cpu_share  # 1 of 4 core-seconds
    assert ProcessUsage(role="origin", cpu_seconds=1.0) == found.process("origin")


def test_others_never_fall_below_nothing() -> None:
    assert 0.0 == with_origin(record(0.1), 3.0).sampled.machine.others_cpu_share


def test_what_is_unknown_stays_unknown() -> None:
    unsampled = RunRecord(samples=NotSampled(unknown="off"))

    assert with_origin(record(None), 1.0).sampled.machine.others_cpu_share is None
    assert unsampled == with_origin(unsampled, 1.0)
    assert record() == with_origin(record(), None)


def test_the_digest_follows_content_and_not_order() -> None:
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})
    assert digest({"a": "1"}) != digest({"a": "2"})
