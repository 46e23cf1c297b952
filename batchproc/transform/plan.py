"""The plan of the transform stage, and its fingerprint: with the same digits the user asked for the same pixels.

Names of steps come from the built-in ones, from the entry point group `batchproc.steps`, or from the user's own
`package.module:name`; every problem of the tables is told at once.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from batchproc import defaults
from batchproc.errors import Problem, UsageError
from batchproc.record.run_parts import StepRecord
from batchproc.transform.steps.custom import CustomStep, CustomStepError, hash_source, load, prepared
from batchproc.transform.steps.step import BuiltIn, Key, OneOf, Step, Unlike, error_of, keys_of, quoted

if TYPE_CHECKING:
    from batchproc.transform.modes import Quality
    from batchproc.transform.stage import TransformWork

ENTRY_POINTS = "batchproc.steps"
_STEPS = "batchproc.transform.steps."

# Where each of the program's own steps stands, in the order of the docs. A module is imported when a plan uses it.
BUILT_IN = {
    "resize": "geometry:Resize",
    "crop": "geometry:Crop",
    "trim": "geometry:Trim",
    "rotate": "geometry:Rotate",
    "flip": "geometry:Flip",
    "sharpen": "filters:Sharpen",
    "unsharp": "filters:Unsharp",
    "blur": "filters:Blur",
    "box_blur": "filters:BoxBlur",
    "median": "filters:Median",
    "grayscale": "filters:Grayscale",
    "autocontrast": "filters:Autocontrast",
    "brightness": "filters:Brightness",
    "contrast": "filters:Contrast",
    "gamma": "filters:Gamma",
    "colour": "filters:ColourStep",
    "min_size": "checks:MinSize",
    "max_size": "checks:MaxSize",
    "max_aspect": "checks:MaxAspect",
    "format": "checks:Format",
    "not_blank": "checks:NotBlank",
    "sharpness": "checks:Sharpness",
    "unique": "checks:Unique",
}

_Table: TypeAlias = Mapping[str, object]


def built_in(op: str) -> type[BuiltIn]:
    """The class of one of the program's own steps."""
    module, _, name = BUILT_IN[op].partition(":")
    found: type[BuiltIn] = getattr(import_module(f"{_STEPS}{module}"), name)
    return found


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


def unique_bits(steps: Iterable[Step]) -> int | None:
    """Up to which difference images are alike, in the strictest of these steps; None where none of them asks."""
    return max((step.bits for step in steps if isinstance(step, Unlike)), default=None)


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
    return StepRecord(op=step.path, version=step.version, holds_gil=step.holds_gil)


def steps_json_schema() -> dict[str, Any]:
    """The JSON Schema of one table of `[[transform.steps]]`, for the config's schema."""
    own = {
        "type": "object",
        "description": "A step of your own, package.module:name, or one that an installed package registers.",
        "properties": {"op": {"type": "string", "not": {"enum": list(BUILT_IN)}}},
        "required": ["op"],
    }
    return {"anyOf": [*(built_in(op).json_schema() for op in BUILT_IN), own]}


def _build(table: _Table, where: str, search_path: str) -> Step | list[Problem]:
    op = table.get("op")
    if not isinstance(op, str):
        told = "op is missing" if op is None else f"{quoted(op)} is no name"
        return [Problem(where=f"{where}.op", message=f"{told}: must name a step, as in op = \"resize\"")]
    keys = {name: value for name, value in table.items() if name != "op"}
    if op in BUILT_IN:
        return _built_in(built_in(op), keys, where)
    if ":" in op:
        return _own(op, keys, f"{where} ({op})", search_path)
    registered = _registered()
    if op not in registered:
        known = _nearest(op, (*BUILT_IN, *registered))
        return [Problem(where=f"{where}.op", message=f"{quoted(op)} is no step{known}")]
    return _own(registered[op], keys, f"{where} ({op})", search_path)


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


def _registered() -> dict[str, str]:
    """The steps that installed packages register, with their import paths."""
    from importlib import metadata  # half as slow to import as Pillow

    points = tuple(metadata.entry_points(group=ENTRY_POINTS))
    return {point.name: point.value for point in reversed(points)}  # of one name the first counts


def _nearest(name: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown name: the nearest one, and all there are."""
    guess = _guess(name, known) or ";"
    return f"{guess} known: {', '.join(known)}" if known else f"{guess} it takes none"


def _guess(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def worker_modules(ops: Iterable[str]) -> tuple[str, ...]:
    """What a fork server imports once for all its workers, for a plan with steps of these names."""
    steps = dict.fromkeys(_STEPS + BUILT_IN[op].partition(":")[0] for op in ops if op in BUILT_IN)
    return ("batchproc.transform.stage", "PIL.PpmImagePlugin", *steps)  # the plugin: the last that `Image.save` imports


class Transform(Struct, frozen=True, kw_only=True):
    """The stage `transform`: takes `Item[SourceImage]`, gives `OutputImage`. All but the folders decides the pixels.

    A plain value, known without the decoders: each worker gets the same and opens it for itself.
    """

    steps: tuple[Step, ...] = ()
    quality: "Quality" = "balanced"
    formats: tuple[str, ...] = defaults.FORMATS
    max_pixels: int = defaults.MAX_PIXELS
    output_format: str = "jpeg"  # jpeg | png | webp | avif | keep
    output_quality: int = defaults.OUTPUT_QUALITY
    background: str = defaults.BACKGROUND
    temporary_folder: str  # absolute
    durability: str = "process"  # process | power
    originals_root: str = ""  # absolute; the folder under which `originals` are kept; empty = they are not
    gallery_folder: str = ""  # absolute; empty = no pictures for the report
    gallery_every: int = 0  # one item in so many is shown

    @property
    def name(self) -> str:
        """The stage's word in spans and failures."""
        return "transform"

    @property
    def preload(self) -> tuple[str, ...]:
        """What a fork server imports once for all its workers."""
        return worker_modules(step.op for step in self.steps if isinstance(step, BuiltIn))

    def open(self) -> "TransformWork":
        """Prepares one worker. Raises `CustomStepError` when a custom step cannot be imported in this process."""
        from batchproc.transform.stage import TransformWork

        return TransformWork(self)


# Raised when the program begins to make other pixels from the same plan.
RECIPE = 3

Settings = Mapping[str, Any]
# What decides whether a picture is taken, and not what is made of it: whether a value is within another one.
LIMITS: Mapping[str, Callable[[Any, Any], bool]] = {
    "max_pixels": lambda before, after: before is not None and before <= after,
    "formats": lambda before, after: before is not None and set(before) <= set(after),
}
OP_OF_CLASS = {path.partition(":")[2]: op for op, path in BUILT_IN.items()}  # as ledgers of earlier versions name them


def fingerprint(transform: Transform) -> str:
    """32 hexadecimal digits of BLAKE2b over what decides of `plan_settings`, as canonical JSON."""
    settings = plan_settings(transform)
    # Of a step its version decides, or its source where it has none.
    settings["steps"] = [{**step, "source": ""} if step["version"] else step for step in settings["steps"]]
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def recipe_of(transform: Transform) -> str:
    """How this version of the program, here, makes the pixels of a plan: `3`, or `3 trim/2 cykooz-resizer 4.0.1`.

    It stands beside the fingerprint, not in it: what it changes is told and made again on demand, never refused.
    """
    ours = [step for step in transform.steps if isinstance(step, BuiltIn)]
    changed = {f"{step.op}/{step.version}" for step in ours if step.version > 1}
    parts = [str(RECIPE), *sorted(changed)]
    if resizes(transform):
        from batchproc.transform.resampler import engine

        parts.append(engine())
    return " ".join(parts)


def resizes(transform: Transform) -> bool:
    """Whether a step of the plan needs the resampler."""
    return any(isinstance(step, BuiltIn) and step.op == "resize" for step in transform.steps)


def resampler_problem(transform: Transform) -> str:
    """Why Pillow resizes in the resampler's place; empty where it does not, or nothing is resized."""
    if not resizes(transform):
        return ""
    from batchproc.transform import resampler

    return resampler.problem()


def plan_settings(transform: Transform) -> dict[str, Any]:
    """What decides the pixels, as JSON-safe values, so that a change can be told by name.

    Steps with their name, keys, version and source; quality, formats, pixel limit, output format, quality, background.
    Folders, modes, workers and versions of the program are not in it; nor is the order of `formats`.
    """
    settings = {
        "steps": [_step_settings(step) for step in transform.steps],
        "quality": transform.quality,
        "formats": sorted(transform.formats),
        "max_pixels": transform.max_pixels,
        "output_format": transform.output_format,
        "output_quality": transform.output_quality,
        "background": transform.background.lower(),
    }
    normal: dict[str, Any] = json.loads(json.dumps(settings))  # as it comes back from the ledger: a tuple is a list
    return normal


def is_same_plan(before: Settings, after: Settings) -> bool:
    """Whether settings that a ledger holds, of this version of the program or an earlier one, ask for the same."""
    return next(describe_changes(before, after), None) is None


def keeps_images(before: Settings, after: Settings) -> bool:
    """Whether each image that `before` made is what `after` would make: a limit that was loosened changes none."""
    looser = {name: after[name] for name, is_within in LIMITS.items() if is_within(before.get(name), after[name])}
    return is_same_plan({**before, **looser}, after)


def asked_steps(transform: Transform) -> list[dict[str, Any]]:
    """The steps as they were asked for: a key that a later version adds with a default changes none of them."""
    return [{**step, "keys": _chosen(step["op"], step["keys"])} for step in plan_settings(transform)["steps"]]


def describe_changes(before: Settings, after: Settings) -> Iterator[str]:
    """What a changed plan changes: a line per setting, as `steps[0].size: [9, 9] -> [8, 8]`."""
    for name in sorted({*before, *after} - {"recipe", "steps"}):
        yield from _describe(name, before, after)
    old_steps, new_steps = list(map(_as_of_now, before.get("steps", []))), after["steps"]
    old_ops, new_ops = ([step["op"] for step in steps] for steps in (old_steps, new_steps))
    if old_ops != new_ops:
        yield f"steps: {', '.join(old_ops) or 'none'} -> {', '.join(new_ops) or 'none'}"
        return
    for number, (old, new) in enumerate(zip(old_steps, new_steps, strict=True)):
        yield from _describe_step(f"steps[{number}]", old, new)


def _describe(name: str, before: Settings, after: Settings, where: str = "") -> Iterator[str]:
    if before.get(name) != after.get(name):
        old, new = (repr(settings[name]) if name in settings else "not set" for settings in (before, after))
        yield f"{where}{name}: {old} -> {new}"


def _describe_step(where: str, old: Settings, new: Settings) -> Iterator[str]:
    older_keys = {**_defaults(new["op"]), **old["keys"]}
    for name in sorted({*older_keys, *new["keys"]}):
        yield from _describe(name, older_keys, new["keys"], f"{where}.")
    old_source, is_versioned = old.get("source", ""), old["version"] or new["version"]
    if is_versioned and ((old["version"] and new["version"]) or old_source != new["source"]):
        yield from _describe("version", old, new, f"{where}.")
    elif not is_versioned and old_source and old_source != new["source"]:  # early versions did not look at the source
        yield f"{where} ({new['op']}): its source is another one; a `version` of its own would decide in its place"


def _defaults(op: str) -> dict[str, Any]:
    """The keys of a built-in step that an earlier version may not have had, with what it did without them."""
    if op not in BUILT_IN:
        return {}
    defaults: dict[str, Any] = json.loads(
        json.dumps({one.name: one.default for one in keys_of(built_in(op)) if not one.required})
    )
    return defaults


def _chosen(op: str, keys: Settings) -> dict[str, Any]:
    """The keys of a step that are not as they are by default."""
    defaults = _defaults(op)
    return {name: value for name, value in keys.items() if name not in defaults or defaults[name] != value}


def _as_of_now(step: Settings) -> Settings:
    """A step as this version writes it: earlier ones wrote a `path` where `op` stands now."""
    if "op" in step:
        return step
    path = str(step["path"])
    name = path.rpartition(":")[2]
    return {**step, "op": OP_OF_CLASS.get(name, name) if path.startswith(_STEPS) else path}


def _step_settings(step: Step) -> dict[str, Any]:
    if isinstance(step, CustomStep):
        keys = {name: repr(value) for name, value in step.keys}
        return {"op": step.path, "keys": keys, "version": step.version, "source": step.source}
    keys = {one.name: getattr(step, one.name) for one in keys_of(type(step))}
    return {"op": step.op, "keys": keys, "version": "", "source": ""}
