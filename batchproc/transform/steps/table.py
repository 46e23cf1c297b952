"""The table of steps: reads `[[transform.steps]]`, reports every problem at once, and describes what there is.

Parent only. Names come from the built-in steps, from the entry point group `batchproc.steps`, or from the user's own
`package.module:name`.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from batchproc.errors import Problem, UsageError
from batchproc.record.run_parts import Cost, StepRecord
from batchproc.transform.steps import checks, filters, geometry
from batchproc.transform.steps.custom import CustomStep, CustomStepError, hash_source, load, prepared
from batchproc.transform.steps.step import BuiltIn, Key, OneOf, Step, error_of, keys_of, quoted

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINTS = "batchproc.steps"

_CLASSES: tuple[type[BuiltIn], ...] = (
    geometry.Resize,
    geometry.Crop,
    geometry.Trim,
    geometry.Rotate,
    geometry.Flip,
    filters.Sharpen,
    filters.Unsharp,
    filters.Blur,
    filters.BoxBlur,
    filters.Median,
    filters.Grayscale,
    filters.Autocontrast,
    filters.Brightness,
    filters.Contrast,
    filters.Gamma,
    filters.ColourStep,
    checks.MinSize,
    checks.MaxSize,
    checks.MaxAspect,
    checks.Format,
    checks.NotBlank,
    checks.Sharpness,
    checks.Unique,
)
BUILT_IN: dict[str, type[BuiltIn]] = {one.op: one for one in _CLASSES}

_Table: TypeAlias = Mapping[str, object]


class KeyDescription(Struct, frozen=True, kw_only=True):
    """One key of a step, in words."""

    name: str
    allowed: str
    default: str  # as TOML; empty when there is none
    required: bool
    help: str


class StepDescription(Struct, frozen=True, kw_only=True):
    """One step, in words: what `batchproc steps` prints."""

    name: str
    summary: str
    details: str
    keys: tuple[KeyDescription, ...]
    example: str  # TOML
    holds_gil: bool
    cost: str  # per pixel, in words


COSTS = {
    Cost.NONE: "nothing: it looks at no pixel",
    Cost.LOW: "less than 3 ns",
    Cost.MEDIUM: "3 to 12 ns",
    Cost.HIGH: "more than 12 ns",
}


def build_steps(tables: Sequence[_Table], search_path: Path | None = None) -> tuple[Step, ...]:
    """The steps of `[[transform.steps]]`, in order; `search_path` is where own steps may lie besides `sys.path`.

    Raises `UsageError` with every problem of every table.
    """
    steps: list[Step] = []
    problems: list[Problem] = []
    for number, table in enumerate(tables):
        made = _build(table, f"[transform] steps[{number}]", str(search_path.resolve()) if search_path else "")
        if isinstance(made, list):
            problems.extend(made)
        else:
            steps.append(made)
    if problems:
        raise UsageError(problems)
    return tuple(steps)


def describe_steps() -> tuple[StepDescription, ...]:
    """Every built-in step, in the order of the documentation."""
    return tuple(_described(one) for one in _CLASSES)


def record_steps(steps: Iterable[Step]) -> tuple[StepRecord, ...]:
    """What a run's record says of its steps, under the names that their shares of the time have; each kind once."""
    return tuple({record.op: record for record in map(_recorded, steps)}.values())


def _recorded(step: Step) -> StepRecord:
    if isinstance(step, BuiltIn):
        return StepRecord(
            op=step.op,
            version=str(step.version),
            holds_gil=step.work.holds_gil,
            cost=step.work.cost,
            overhead_seconds=step.work.overhead_us / 1e6,
        )
    if isinstance(step, CustomStep):
        return StepRecord(op=step.path, version=step.version, holds_gil=step.holds_gil)
    return StepRecord(op=type(step).__name__)


def steps_json_schema() -> dict[str, Any]:
    """The JSON Schema of one table of `[[transform.steps]]`, for the config's schema."""
    own = {
        "type": "object",
        "description": "A step of your own, package.module:name, or one that an installed package registers.",
        "properties": {"op": {"type": "string", "not": {"enum": list(BUILT_IN)}}},
        "required": ["op"],
    }
    return {"anyOf": [*(_schema(one) for one in _CLASSES), own]}


def _build(table: _Table, where: str, search_path: str) -> Step | list[Problem]:
    op = table.get("op")
    if not isinstance(op, str):
        told = "op is missing" if op is None else f"{quoted(op)} is no name"
        return [Problem(where=f"{where}.op", message=f"{told}: must name a step, as in op = \"resize\"")]
    keys = {name: value for name, value in table.items() if name != "op"}
    if op in BUILT_IN:
        return _built_in(BUILT_IN[op], keys, where)
    path = op if ":" in op else _registered(op)
    if path is None:
        return [Problem(where=f"{where}.op", message=f"{quoted(op)} is no step{_nearest(op, _names())}")]
    return _own(path, keys, f"{where} ({op})", search_path)


def _built_in(kind: type[BuiltIn], keys: _Table, where: str) -> Step | list[Problem]:
    known = {one.name: one for one in keys_of(kind)}
    problems = [
        Problem(where=f"{where}.{name} ({kind.op})", message=f"unknown key{_nearest(name, tuple(known))}")
        for name in keys
        if name not in known
    ]
    for one in known.values():
        wrong = _wrong(one, keys)
        if wrong:
            problems.append(Problem(where=f"{where}.{one.name} ({kind.op})", message=wrong))
    if problems:
        return problems
    try:
        step: Step = kind(**keys)
    except ValueError as error:
        return [Problem(where=f"{where} ({kind.op})", message=str(error))]
    return step


def _wrong(one: Key, keys: _Table) -> str | None:
    if one.name not in keys:
        return f"missing: must be {one.kind.allowed}" if one.required else None
    value = keys[one.name]
    wrong = error_of(one.kind, value)
    if wrong and isinstance(one.kind, OneOf) and isinstance(value, str):
        wrong += _guess(value, one.kind.choices)
    return wrong


def _own(path: str, keys: _Table, where: str, search_path: str) -> Step | list[Problem]:
    try:
        found = load(path, search_path)
        prepared(found, dict(keys), path)
    except CustomStepError as error:
        return [Problem(where=where, message=str(error))]
    version, holds_gil = getattr(found, "version", ""), getattr(found, "holds_gil", None)
    return CustomStep(
        path=path,
        keys=tuple(sorted(keys.items())),
        search_path=search_path,
        version=str(version) if isinstance(version, str | int | float) else "",
        source=hash_source(found),
        holds_gil=holds_gil if isinstance(holds_gil, bool) else None,
    )


def _registered(name: str) -> str | None:
    """The import path under which an installed package registers this step."""
    return next((point.value for point in _entry_points(name=name)), None)


def _names() -> tuple[str, ...]:
    return (*BUILT_IN, *(point.name for point in _entry_points()))


def _entry_points(name: str | None = None) -> "EntryPoints":
    from importlib import metadata  # half as slow to import as Pillow

    group = metadata.entry_points(group=ENTRY_POINTS)
    return group if name is None else group.select(name=name)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown name: the nearest one, and all there are."""
    guess = _guess(name, known) or ";"
    return f"{guess} known: {', '.join(known)}" if known else f"{guess} it takes none"


def _guess(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def _described(kind: type[BuiltIn]) -> StepDescription:
    summary, _, details = (kind.__doc__ or "").partition("\n")
    keys = tuple(
        KeyDescription(
            name=one.name,
            allowed=one.kind.allowed,
            default="" if one.required or one.default is None else json.dumps(one.default),
            required=one.required,
            help=one.help,
        )
        for one in keys_of(kind)
    )
    example = "\n".join(["[[transform.steps]]", f'op = "{kind.op}"', *_toml(kind.example)])
    return StepDescription(
        name=kind.op,
        summary=summary.strip(),
        details=" ".join(details.split()),
        keys=keys,
        example=example,
        holds_gil=kind.work.holds_gil,
        cost=COSTS[kind.work.cost],
    )


def _toml(keys: _Table) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in keys.items()]


def _schema(kind: type[BuiltIn]) -> dict[str, Any]:
    keys = keys_of(kind)
    properties = {one.name: {**one.kind.schema(), "description": one.help} for one in keys}
    return {
        "type": "object",
        "description": _described(kind).summary,
        "properties": {"op": {"const": kind.op}, **properties},
        "required": ["op", *(one.name for one in keys if one.required)],
        "additionalProperties": False,
    }
