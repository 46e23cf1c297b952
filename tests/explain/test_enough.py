"""Modes are judged from enough items on a quiet enough stretch; a run with nearly nothing to do says so."""

from typing import Any

import pytest

from batchproc.explain.findings import LEAST_ITEMS, doubt_about_modes, explain
from batchproc.record.explanation import Advice, Doubt, Judgement, Reason
from batchproc.record.run_json import Bottleneck, RunRecord, record_of

from .runs import cpu_bound, run, stage


def handful(items: int = 4, *, waited: float = 1.9, pause: bool = False) -> dict[str, Any]:
    """A few of 35 items due, one of them in back-off for most of a run of 2.9 s; items wait in the frontier too."""
    wall = 2.9
    facts = run(
        stage("thread", 32, items=items, wall=wall, cpu=0.001, blocked=0.05),
        stage("process", 2, items=items, wall=wall, cpu=0.02),
    )
    name = "pause" if pause else "retry"
    for one in facts["stages"].values():
        one["account"]["starved"] -= one["workers"] * waited
        one["account"][f"{name}_wait"] = one["workers"] * waited
    facts["counts"] = {"processed": items, "items": 35}
    facts["samples"]["gauge_means"] = {"waiting": 1.5}
    return facts | {f"{name}_wait_seconds": waited}


def explained(facts: dict[str, Any]) -> RunRecord:
    return explain(record_of(facts))


def bottleneck_of(facts: dict[str, Any]) -> Bottleneck:
    return explained(facts).bottleneck


def test_a_handful_of_items_has_no_verdict_on_modes() -> None:
    record = explained(handful())

    assert [Judgement.NO_VERDICT] * 2 == [choice.code for choice in record.choices]
    assert [Doubt.FEW_ITEMS] * 2 == [choice.values["doubt"] for choice in record.choices]
    assert [(), ()] == [choice.alternatives for choice in record.choices]
    assert record.crossover.phi is None
    assert record.break_even.items is None


def test_one_item_is_too_few() -> None:
    verdict = explained(handful(1)).verdict[1]

    assert "no verdict on modes: 1 item is too few to compare them (50 at least)" == verdict


def test_the_headline_of_a_handful_says_how_little_there_was_to_do_and_what_it_waited_for() -> None:
    assert (
        "nearly nothing to do: 4 of 35 items were due, and for 1.9 s of 2.9 s there was nothing to do but wait for a "
        "retry"
    ) == bottleneck_of(handful()).because
    assert "nearly nothing to do: 1 of 35 items was due" == bottleneck_of(handful(1, waited=0.0)).because
    assert bottleneck_of(handful(pause=True)).because.endswith("but wait for a paused or paced host")


def test_of_few_items_that_kept_their_workers_busy_the_stage_is_named_all_the_same() -> None:
    facts = run(
        stage("thread", 32, items=40, wall=40.0, cpu=0.001, blocked=0.05),
        stage("process", 2, items=40, wall=40.0, cpu=1.9),
    )

    assert "transform" == bottleneck_of(facts).stage
    assert Doubt.FEW_ITEMS == doubt_about_modes(record_of(facts))


@pytest.mark.parametrize("pause", [False, True], ids=["retry", "pause"])
def test_a_run_that_mostly_waited_has_no_verdict_on_modes(pause: bool) -> None:
    facts = handful(200, waited=1.5, pause=pause)
    record = explained(facts)

    assert [Doubt.MOSTLY_WAITED] * 2 == [choice.values["doubt"] for choice in record.choices]
    assert {Advice.RETRIES_WAITED} >= {hint.code for hint in record.hints}


def test_the_only_hint_of_a_handful_that_waited_for_retries_is_about_retries() -> None:
    assert [Advice.RETRIES_WAITED] == [hint.code for hint in explained(handful()).hints]
    assert () == explained(handful(pause=True)).hints


def test_enough_items_on_a_quiet_stretch_have_their_verdict() -> None:
    assert None is doubt_about_modes(record_of(handful(LEAST_ITEMS, waited=1.4)))
    assert None is doubt_about_modes(record_of(cpu_bound()))
    assert 4 == len(explained(cpu_bound()).choices[0].alternatives)


def test_the_headline_of_a_run_that_mostly_waited_says_for_what() -> None:
    found = bottleneck_of(handful(200, waited=1.5, pause=True))

    assert (None, Reason.MOSTLY_WAITED) == (found.stage, found.reason)
    assert "for 1.5 s of 2.9 s there was nothing to do but wait for a paused or paced host" == found.because


def test_a_whole_list_that_is_too_short_for_a_verdict_says_what_an_image_took() -> None:
    facts = handful(35, waited=0.0)
    for name, middle in (("download", 1.6), ("transform", 0.05)):
        facts["stages"][name]["service_seconds"] = {"p50": middle}

    assert (
        "too few items to name a stage: 35; an image took 1.6 s to download and 50.0 ms to transform"
        == bottleneck_of(facts).because
    )
