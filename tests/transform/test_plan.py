"""Which plans are the same: by what the user asked for, whichever version of the program wrote it down."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.transform.plan import (
    BUILT_IN,
    Transform,
    asked_steps,
    build_steps,
    built_in,
    describe_changes,
    fingerprint,
    is_same_plan,
    keeps_images,
    plan_settings,
    recipe_of,
)
from batchproc.transform.resampler import engine
from batchproc.transform.steps.checks import MinSize
from batchproc.transform.steps.custom import CustomStep
from tests.ledger.old_ledger import DUMPS

PLAN = r"INSERT INTO \"plan\" VALUES\(1,'\w+','(.*)'\);"
FIRST_VERSION: Mapping[str, Any] = json.loads(re.findall(PLAN, DUMPS[1])[0])
INVERT = CustomStep(path="old_steps:invert", source="aa")
STEPS = (*build_steps([{"op": "min_size", "width": 32, "height": 32}, {"op": "resize", "size": [48, 48]}]), INVERT)


def plan(*steps: Any, **settings: Any) -> Transform:
    return Transform(steps=steps or STEPS, temporary_folder="/tmp", **settings)


def changes(before: Transform | Mapping[str, Any], after: Transform) -> list[str]:
    settings = plan_settings(before) if isinstance(before, Transform) else before
    return list(describe_changes(settings, plan_settings(after)))


def own(**facts: str) -> Transform:
    return plan(replace(INVERT, **facts))


def test_the_settings_of_the_first_version_are_those_of_now() -> None:
    assert 1 == FIRST_VERSION["recipe"]
    assert is_same_plan(FIRST_VERSION, plan_settings(plan()))


def test_a_plan_of_all_steps_has_the_digits_that_ledgers_hold() -> None:
    tables = [{"op": op, **built_in(op).example} for op in BUILT_IN]

    assert "d77e20cf89b28b67a431f160291c4e84" == fingerprint(plan(*build_steps(tables)))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (plan(quality="fast"), ["quality: 'balanced' -> 'fast'"]),
        (
            plan(output_quality=1, background="#000000"),
            ["background: '#ffffff' -> '#000000'", "output_quality: 85 -> 1"],
        ),
        (plan(*STEPS[:1]), ["steps: min_size, resize, old_steps:invert -> min_size"]),
        (
            plan(STEPS[0], *build_steps([{"op": "resize", "size": [9, 9], "how": "fit"}]), INVERT),
            ["steps[1].how: 'contain' -> 'fit'", "steps[1].size: [48, 48] -> [9, 9]"],
        ),
        (plan(*STEPS[:2], replace(INVERT, version="1")), ["steps[2].version: '' -> '1'"]),
    ],
)
def test_what_changed_since_the_first_version_is_told_by_name(after: Transform, expected: list[str]) -> None:
    assert expected == changes(FIRST_VERSION, after)


def test_a_key_that_an_earlier_version_did_not_have_is_what_it_is_by_default() -> None:
    settings = plan_settings(plan())
    del settings["steps"][1]["keys"]["how"]

    assert [] == changes(settings, plan())
    fit = plan(STEPS[0], *build_steps([{"op": "resize", "size": [48, 48], "how": "fit"}]), INVERT)
    assert ["steps[1].how: 'contain' -> 'fit'"] == changes(settings, fit)


def test_a_key_that_is_gone_is_a_change() -> None:
    settings = plan_settings(plan())
    settings["steps"][1]["keys"]["sharpen"] = 2

    assert ["steps[1].sharpen: 2 -> not set"] == changes(settings, plan())


def test_the_source_of_an_own_step_decides_where_it_has_no_version() -> None:
    edited = own(source="bb")

    assert fingerprint(own()) != fingerprint(edited)
    assert [
        "steps[0] (old_steps:invert): its source is another one; a `version` of its own would decide in its place"
    ] == changes(own(), edited)


def test_the_version_of_an_own_step_decides_where_it_has_one() -> None:
    assert fingerprint(own(version="1")) == fingerprint(own(version="1", source="bb"))
    assert [] == changes(own(version="1"), own(version="1", source="bb"))
    assert ["steps[0].version: '1' -> '2'"] == changes(own(version="1"), own(version="2"))


@pytest.mark.parametrize(("before", "after"), [("", "1"), ("1", "")])
def test_declaring_a_version_changes_nothing_while_the_source_is_the_same(before: str, after: str) -> None:
    assert [] == changes(own(version=before), own(version=after))
    assert [f"steps[0].version: {before!r} -> {after!r}"] == changes(
        own(version=before), own(version=after, source="bb")
    )


def test_nothing_of_the_program_is_in_the_fingerprint() -> None:
    text = json.dumps(plan_settings(plan()))

    assert not [word for word in ("recipe", "batchproc", "pillow", str(Path.cwd())) if word in text.lower()]


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        ({"max_pixels": 100}, {"max_pixels": 200}, True),
        ({"max_pixels": 200}, {"max_pixels": 100}, False),
        ({"formats": ["jpeg"]}, {"formats": ["jpeg", "png"]}, True),
        ({"formats": ["jpeg", "png"]}, {"formats": ["jpeg"]}, False),
        ({"max_pixels": 100, "formats": ["jpeg"]}, {"max_pixels": 200, "formats": ["jpeg", "png"]}, True),
        ({"max_pixels": 100, "quality": "fast"}, {"max_pixels": 200, "quality": "exact"}, False),
        ({}, {}, True),
    ],
)
def test_a_loosened_limit_changes_no_image_that_is_there(
    before: dict[str, Any], after: dict[str, Any], keeps: bool
) -> None:
    settings = plan_settings(plan())

    assert keeps == keeps_images(settings | before, settings | after)


def test_steps_as_asked_for_hold_no_key_that_is_as_by_default() -> None:
    (step,) = build_steps([{"op": "resize", "size": [8, 8], "only_shrink": True}])

    assert [{"size": [8, 8], "only_shrink": True}] == [one["keys"] for one in asked_steps(plan(step))]


def test_the_recipe_names_the_resampler_where_there_is_something_to_resample() -> None:
    assert "3" == recipe_of(plan(STEPS[0]))
    assert f"3 {engine()}" == recipe_of(plan())


def test_the_recipe_tells_the_version_of_a_step_that_makes_other_pixels_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MinSize, "version", 2)

    assert f"3 min_size/2 {engine()}" == recipe_of(plan())
