"""The plan's fingerprint: the same digits mean the same pixels from the same bytes."""

import hashlib
import json
from typing import Any

from batchproc.transform.stage import Transform
from batchproc.transform.steps.keys import keys_of
from batchproc.transform.steps.own import OwnStep
from batchproc.transform.steps.step import Step

RECIPE = 1  # raised when the program itself begins to make other pixels from the same plan


def fingerprint(transform: Transform) -> str:
    """32 hexadecimal digits of BLAKE2b over `plan_settings`, as canonical JSON."""
    text = json.dumps(plan_settings(transform), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def plan_settings(transform: Transform) -> dict[str, Any]:
    """What decides the pixels, as JSON-safe values, so that a change can be told by name.

    Steps with their import path, keys and version; quality, formats, pixel limit, output format, quality, background.
    Folders, modes and workers are not in it; nor is the order of `formats`, which decides nothing.
    """
    return {
        "recipe": RECIPE,
        "steps": [_step_facts(step) for step in transform.steps],
        "quality": transform.quality,
        "formats": sorted(transform.formats),
        "max_pixels": transform.max_pixels,
        "output_format": transform.output_format,
        "output_quality": transform.output_quality,
        "background": transform.background.lower(),
    }


def _step_facts(step: Step) -> dict[str, Any]:
    if isinstance(step, OwnStep):
        keys = {name: repr(value) for name, value in step.keys}
        return {"path": step.path, "keys": keys, "version": step.version}
    kind = type(step)
    keys = {one.name: getattr(step, one.name) for one in keys_of(kind)}
    return {"path": f"{kind.__module__}:{kind.__qualname__}", "keys": keys, "version": ""}
