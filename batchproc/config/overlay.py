"""Values that beat the config file: `--set KEY=VALUE` and `BATCHPROC_TABLE__KEY`, laid over its tables."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.errors import Problem

Loc = tuple[str | int, ...]  # of a value: its table, its key, and what is inside

ENVIRONMENT_PREFIX = "BATCHPROC_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value from outside the file. `label` is how the user wrote its name."""

    label: str
    loc: Loc
    value: object


def read_value(text: str) -> object:
    """The value as TOML reads it; text that is no TOML value stays text, so that quotes are not needed."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


def read_overrides(overrides: Sequence[str], problems: list[Problem]) -> Iterator[Setting]:
    """The settings of `KEY=VALUE` texts with dotted keys; those that cannot be read are added to `problems`."""
    for override in overrides:
        key, equals, text = override.partition("=")
        loc = _read_key(key)
        if not equals or len(loc) < 2:
            message = "must be KEY=VALUE as download.workers=16, the key with its dots."
            problems.append(Problem(where=f"--set {key.strip()}", message=message))
        else:
            yield Setting(label=f"--set {key.strip()}", loc=loc, value=read_value(text))


def read_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    """The settings of variables as `BATCHPROC_DOWNLOAD__WORKERS`; other names without `__` are none of ours."""
    for name, text in sorted(environ.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            loc = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            yield Setting(label=name, loc=loc, value=read_value(text))


def lay_over(tables: dict[str, Any], setting: Setting) -> Problem | None:
    """Writes the setting into `tables`, making tables on the way; says where a part of its key leads nowhere."""
    place: Any = tables
    *way, last = setting.loc
    for part in way:
        place = _child(place, str(part))
        if place is None:
            return Problem(where=setting.label, message=f'"{part}" is not a table.')
    if isinstance(place, list):
        if not (index := str(last)).isdecimal() or int(index) >= len(place):
            return Problem(where=setting.label, message=f'"{last}" is no position of this list, 0 is the first.')
        place[int(index)] = setting.value
    else:
        place[last] = setting.value
    return None


def _child(place: Any, part: str) -> Any:
    """The table or list under `part`, made when a table has nothing there; None when there is something else."""
    if isinstance(place, list):
        child = place[int(part)] if part.isdecimal() and int(part) < len(place) else None
    else:
        child = place.setdefault(part, {})
    return child if isinstance(child, dict | list) else None


def _read_key(key: str) -> Loc:
    """The parts of a dotted key, quoted parts included, as TOML reads them. Empty where it is none."""
    try:
        place: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(place, dict):
        part, place = next(iter(place.items()))
        parts.append(part)
    return tuple(parts)
