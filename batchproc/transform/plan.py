"""The plan of the transform stage, and its fingerprint: with the same digits the user asked for the same pixels."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from batchproc import defaults
from batchproc.transform.display import Quality
from batchproc.transform.resampler import engine
from batchproc.transform.steps.custom import CustomStep
from batchproc.transform.steps.geometry import Resize
from batchproc.transform.steps.step import BuiltIn, Step, keys_of
from batchproc.transform.steps.table import BUILT_IN

if TYPE_CHECKING:
    from batchproc.transform.stage import TransformWork

# What a fork server imports once for all its workers.
MODULES = (
    "batchproc.transform.stage",
    "PIL.PpmImagePlugin",  # the last of those that the first Image.save imports
    "PIL.ImageFilter",
    "batchproc.transform.steps.checks",
    "batchproc.transform.steps.geometry",
    "batchproc.transform.steps.filters",
)


class Transform(Struct, frozen=True, kw_only=True):
    """The stage `transform`: takes `Item[SourceImage]`, gives `OutputImage`. All but the folders decides the pixels.

    A plain value, known without the decoders: each worker gets the same and opens it for itself.
    """

    steps: tuple[Step, ...] = ()
    quality: Quality = "balanced"
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
        return MODULES

    def open(self) -> "TransformWork":
        """Prepares one worker. Raises `CustomStepError` when a custom step cannot be imported in this process."""
        from batchproc.transform.stage import TransformWork

        return TransformWork(self)


# Raised when the program begins to make other pixels from the same plan.
RECIPE = 3

Settings = Mapping[str, Any]
# Settings that ledgers of earlier versions do not have, with the value that those versions acted by.
ADDED: Settings = {}
# What decides whether a picture is taken, and not what is made of it: whether a value is within another one.
LIMITS: Mapping[str, Callable[[Any, Any], bool]] = {
    "max_pixels": lambda before, after: before is not None and before <= after,
    "formats": lambda before, after: before is not None and set(before) <= set(after),
}
OF_PROGRAM = "batchproc.transform.steps."  # ledgers of earlier versions name our own steps by the path of their class
OP_OF_CLASS = {kind.__qualname__: op for op, kind in BUILT_IN.items()}


def fingerprint(transform: Transform) -> str:
    """32 hexadecimal digits of BLAKE2b over what decides of `plan_settings`, as canonical JSON."""
    settings = plan_settings(transform)
    settings["steps"] = [_deciding(step) for step in settings["steps"]]
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def recipe_of(transform: Transform) -> str:
    """How this version of the program, here, makes the pixels of a plan: `3`, or `3 trim/2 cykooz-resizer 4.0.1`.

    It stands beside the fingerprint, not in it: what it changes is told and made again on demand, never refused.
    """
    ours = [step for step in transform.steps if isinstance(step, BuiltIn)]
    changed = {f"{step.op}/{step.version}" for step in ours if step.version > 1}
    return " ".join([str(RECIPE), *sorted(changed), *([engine()] if resizes(transform) else [])])


def resizes(transform: Transform) -> bool:
    """Whether a step of the plan needs the resampler."""
    return any(isinstance(step, Resize) for step in transform.steps)


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
    older = {**ADDED, **before}
    for name in sorted({*older, *after} - {"recipe", "steps"}):
        yield from _describe(name, older, after)
    old_steps, new_steps = list(map(_as_of_now, older.get("steps", []))), after["steps"]
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
        json.dumps({one.name: one.default for one in keys_of(BUILT_IN[op]) if not one.required})
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
    return {**step, "op": OP_OF_CLASS.get(name, name) if path.startswith(OF_PROGRAM) else path}


def _deciding(step: Settings) -> Settings:
    """What of a step is in the fingerprint: its version, or its source where it has none."""
    return {**step, "source": ""} if step["version"] else step


def _step_settings(step: Step) -> dict[str, Any]:
    if isinstance(step, CustomStep):
        keys = {name: repr(value) for name, value in step.keys}
        return {"op": step.path, "keys": keys, "version": step.version, "source": step.source}
    kind: Any = type(step)
    keys = {one.name: getattr(step, one.name) for one in keys_of(kind)}
    return {"op": kind.op, "keys": keys, "version": "", "source": ""}
