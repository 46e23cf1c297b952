"""The page and the summary of a run that chose its modes: what was predicted, tried and taken."""

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from batchproc.explain.mode_wording import pairs_of_auto
from batchproc.explain.words import pair
from batchproc.record.explanation import AutoRecord, Candidate, ExecutionPlan, Tried
from batchproc.record.run_json import RunCounts, RunRecord
from batchproc.record.run_parts import PhaseRecord
from batchproc.report.html import make_report, phase_note
from batchproc.report.terminal import summarise
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run
from tests.report.folder import parse

AUTO = ("download.mode=auto", "transform.mode=auto")


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchproc.explain.auto.LEAST_ITEMS", 20)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.ENOUGH_HEARD", 20)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.HASTE_SECONDS", 0.0)
    monkeypatch.setattr("batchproc.pipeline.mode_selector.WARM_UP_SECONDS", 0.0)


@pytest.mark.usefixtures("_eager")
def test_the_page_shows_every_pair_that_was_weighed_and_the_one_that_was_taken(make_job: MakeJob) -> None:
    result = run(make_job(images=33), *AUTO)
    section = parse(make_report(result.folder).read_text()).by_id("auto").text

    auto = result.record.auto
    assert auto is not None
    assert 9 == len(auto.candidates)
    assert 1 == section.count(" chosen ")
    for each in (*auto.candidates, *auto.legs):
        assert pair(each) in section


def test_the_pairs_that_were_weighed_stand_among_the_first_charts() -> None:
    began = ExecutionPlan(download="thread", download_workers=32, transform="process", transform_workers=2)
    other = replace(began, transform="thread")
    auto = AutoRecord(
        stages=("transform",), verdict="kept", text="to the end", chosen=began, runner_up=other,
        candidates=tuple(
            Candidate(**to_builtins(one), predicted_rate_per_second=60.0, change_seconds=0.0, rest_seconds=1.0)
            for one in (other, began)
        ),
        legs=(Tried(**to_builtins(began), items=100, seconds=2.0, rate_per_second=50.0),),
    )  # fmt: skip

    told = pairs_of_auto(auto)

    assert ["32 threads + 2 processes (used)", "32 threads + 2 threads"] == [one.title for one in told.rates]
    assert ["50.0 measured", "60.0 predicted"] == [one.note for one in told.rates]


def test_the_summary_says_why_nothing_was_measured(make_job: MakeJob) -> None:
    result = run(make_job(images=4), *AUTO)

    text = summarise(result.record, result.folder)

    assert "  auto        4 items are too few to measure what would be better, so 4 threads + 2 processes" in text
    assert "How the modes were chosen" in make_report(result.folder).read_text()


def test_a_run_with_named_modes_has_no_such_section(make_job: MakeJob) -> None:
    result = run(make_job(images=4))

    assert result.record.auto is None
    assert "How the modes were chosen" not in make_report(result.folder).read_text()
    assert "  auto " not in summarise(result.record, result.folder)


def test_figures_of_the_last_leg_are_called_so() -> None:
    record = RunRecord(leg=PhaseRecord(number=3, items=900), counts=RunCounts(processed=1000))

    assert "last 900 of 1,000 items" in phase_note(record)
    assert "first 900 of 1,000 items" in phase_note(replace(record, leg=PhaseRecord(number=1, items=900)))
    assert "" == phase_note(replace(record, leg=PhaseRecord(number=1, items=1000)))
