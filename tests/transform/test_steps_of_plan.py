"""The table of steps: every problem at once, the nearest name, descriptions that are true."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import UsageError
from batchproc.record.run_parts import Cost
from batchproc.transform.plan import BUILT_IN, build_steps, built_in, record_steps, steps_json_schema, worker_modules
from batchproc.transform.steps.custom import CustomStep
from batchproc.transform.steps.geometry import Resize
from batchproc.transform.steps.step import keys_of

STEP_MODULES = ("checks", "filters", "geometry")


def problems(*tables: dict[str, Any]) -> list[str]:
    with pytest.raises(UsageError) as caught:
        build_steps(tables)
    return [str(problem) for problem in caught.value.problems]


def test_steps_are_built_in_order() -> None:
    steps = build_steps([{"op": "resize", "size": [9, 9]}, {"op": "blur"}])

    assert Resize(size=(9, 9)) == steps[0]
    assert ["Resize", "Blur"] == [type(step).__name__ for step in steps]


@pytest.mark.parametrize(
    ("ops", "imported"),
    [
        ([], []),
        (["min_size", "format"], ["checks"]),
        (["resize", "blur"], ["filters", "geometry"]),
    ],
    ids=["none", "checks", "two kinds"],
)
def test_a_plan_imports_the_modules_of_its_own_steps_alone(ops: list[str], imported: list[str]) -> None:
    code = (
        "import sys\nfrom batchproc.transform.plan import Transform, build_steps, built_in, fingerprint\n"
        f"steps = build_steps([{{'op': op, **built_in(op).example}} for op in {ops}])\n"
        "fingerprint(Transform(steps=steps, temporary_folder='/tmp'))\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    modules = [f"batchproc.transform.steps.{name}" for name in imported]
    assert modules == sorted(set(loaded) & {f"batchproc.transform.steps.{name}" for name in STEP_MODULES})
    assert set(modules) == set(worker_modules(ops)) - set(worker_modules([]))
    assert bool(imported) == ("PIL" in loaded)


def test_every_problem_of_every_table_is_told_at_once() -> None:
    found = problems(
        {"op": "resise"},
        {"op": "resize", "size": [0, 10], "how": "contian", "sizes": 3},
        {"size": [9, 9]},
        {"op": 7},
        {"op": "max_aspect"},
        {"op": "grayscale", "amount": 1},
    )

    assert [
        '[transform] steps[0].op: "resise" is no step; did you mean "resize"?',
        '[transform] steps[1].sizes (resize): unknown key; did you mean "size"?',
        "[transform] steps[1].size (resize): [0, 10]: must be two whole numbers of 1 px or more, up to 65500",
        '[transform] steps[1].how (resize): "contian": must be one of contain, cover, fit, pad, exact, scale; '
        'did you mean "contain"?',
        '[transform] steps[2].op: op is missing: must name a step, as in op = "resize"',
        '[transform] steps[3].op: 7 is no name: must name a step, as in op = "resize"',
        "[transform] steps[4].ratio (max_aspect): missing: must be a number from 1 to 100000",
        "[transform] steps[5].amount (grayscale): unknown key; it takes none",
    ] == [text.split(" known:")[0] for text in found]


def test_every_example_is_toml_that_builds_its_step() -> None:
    for step in map(built_in, BUILT_IN):
        built = build_steps(tomllib.loads(step.example_toml())["transform"]["steps"])

        assert step.op == type(built[0]).op  # type: ignore[attr-defined]


def test_every_step_and_key_has_its_line_of_help() -> None:
    for step in map(built_in, BUILT_IN):
        assert step.summary().endswith((".", ":")), step.op
        assert all(key.help and key.kind.allowed for key in keys_of(step))


def test_the_steps_that_hold_the_gil_are_the_median_and_checks_that_look_at_no_pixel() -> None:
    holding = {op: built_in(op).work.cost for op in BUILT_IN if built_in(op).work.holds_gil}

    assert {"median": Cost.HIGH} == {op: cost for op, cost in holding.items() if cost != Cost.NONE}


def test_the_record_says_of_each_step_what_its_class_says() -> None:
    blur = {"op": "blur"}
    recorded = record_steps(build_steps([{"op": "median"}, blur, blur, {"op": "PIL.ImageOps:mirror"}]))

    assert [("median", True, Cost.HIGH), ("blur", False, Cost.HIGH), ("PIL.ImageOps:mirror", None, Cost.UNKNOWN)] == [
        (step.op, step.holds_gil, step.cost) for step in recorded
    ]
    assert [50e-6, 45e-6, None] == [step.overhead_seconds for step in recorded]


def test_a_custom_step_may_declare_what_it_does_with_the_gil(tmp_path: Path) -> None:
    (tmp_path / "declared_steps.py").write_text(
        "import batchproc\n\n"
        "@batchproc.step(holds_gil=False)\ndef quiet(image):\n    return image\n\n"
        "@batchproc.step\ndef silent(image):\n    return image\n"
    )
    steps = build_steps([{"op": "declared_steps:quiet"}, {"op": "declared_steps:silent"}], search_path=tmp_path)

    assert [False, None] == [step.holds_gil for step in record_steps(steps)]


def test_the_schema_names_every_step_with_its_required_keys() -> None:
    schema = steps_json_schema()["anyOf"]

    by_name = {one["properties"]["op"].get("const"): one for one in schema}
    assert set(BUILT_IN) | {None} == set(by_name)
    assert ["op", "ratio"] == by_name["max_aspect"]["required"]
    side = {"type": "integer", "minimum": 1, "maximum": 65500}
    size = by_name["resize"]["properties"]["size"]
    assert {"type": "array", "items": side, "minItems": 2, "maxItems": 2} == {
        name: value for name, value in size.items() if name != "description"
    }


def test_a_registered_step_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registered_step.py").write_text("def invert(image):\n    return image\n")
    point = metadata.EntryPoint(name="invert", value="registered_step:invert", group="batchproc.steps")
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([point]))
    monkeypatch.syspath_prepend(str(tmp_path))

    (step,) = build_steps([{"op": "invert"}])

    assert isinstance(step, CustomStep)
    assert "registered_step:invert" == step.path
    assert 'did you mean "invert"?' in problems({"op": "inverd"})[0]
