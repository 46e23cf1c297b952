"""Reads a config: flags beat environment, environment beats file, file beats default; reports every problem at once."""

import copy
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from batchproc.config.problems import (
    ENVIRONMENT_PREFIX,
    Loc,
    Origins,
    Setting,
    from_pydantic,
    known_keys,
    nearest_key,
    problem_at,
)
from batchproc.config.tables import Config
from batchproc.config.units import is_remote
from batchproc.errors import Problem, UsageError

CheckSteps = Callable[[Sequence[Mapping[str, object]]], Sequence[Problem]]

LARGEST_FILE_BYTES = 4_000_000
_TOML_PLACE = re.compile(r"^(.*) \(at (line \d+, column \d+|end of document)\)$", re.DOTALL)


def load(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str],
    check_steps: CheckSteps | None = None,
    cores: int | None = None,
) -> Config:
    """The config in the file at `path`, under the environment's and the command line's values.

    `overrides` are `KEY=VALUE` texts with dotted keys, the last one wins. `check_steps` returns what is
    wrong with the transform's steps. `cores` is only for messages. Raises `UsageError` with every problem at once.
    """
    tables = read_tables(path)
    problems: list[Problem] = []
    settings = [*read_environment(environ), *read_overrides(overrides, problems)]
    origins = Origins(file=os.fspath(path), tables=copy.deepcopy(tables), settings=settings)
    problems += [problem for setting in settings if (problem := lay_over(tables, setting))]
    found: dict[Loc, Problem] = {}
    config: Config | None = None
    try:
        config = Config.from_tables(tables, file=Path(path), cores=cores)
    except ValidationError as error:
        for loc, problem in from_pydantic(error.errors(include_url=False), origins):
            found.setdefault(loc, problem)
    for loc, problem in _further_problems(tables, origins):
        found.setdefault(loc, problem)
    problems += [*dict.fromkeys(found.values()), *_step_problems(tables, check_steps, origins)]
    if problems or config is None:
        raise UsageError(problems)
    return config


def read_tables(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The TOML file's tables. Raises `UsageError` when it cannot be read, naming line and column."""
    where = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        _refuse(where, _why_unreadable(error))
    if len(content) > LARGEST_FILE_BYTES:
        _refuse(where, "is larger than 4 MB, too large for a config; is it the list?")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(where, "is UTF-16; save it as UTF-8.")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(where, f"is not UTF-8 at line {line} (byte 0x{content[error.start]:02x}); save it as UTF-8.")
    except tomllib.TOMLDecodeError as error:
        match = _TOML_PLACE.match(str(error))
        what, place = (match[1], match[2]) if match else (str(error), "an unknown place")
        _refuse(where, f"is not valid TOML at {place}: {what[:1].lower()}{what[1:]}.")


def _refuse(where: str, message: str) -> NoReturn:
    raise UsageError([Problem(where=where, message=message)])


def _why_unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; `batchproc init` writes a starter config."
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the config file in it."
    return f"cannot be read: {error.strerror or type(error).__name__}."


def _further_problems(tables: Mapping[str, Any], origins: Origins) -> Iterator[tuple[Loc, Problem]]:
    """What no type says: keys that need others, or exclude them, and keys of `[bench] vary` that do not exist."""
    for loc, value, message in _misfits(tables):
        yield loc, problem_at(origins, loc, value, message)
    vary = _given(tables, "bench", "vary", {})
    for key in vary if isinstance(vary, Mapping) else ():
        if key not in known_keys():
            near = nearest_key(key)
            message = f"no such key{f'; did you mean {near}?' if near else ', as download.workers.'}"
            yield ("bench", "vary", key), Problem(where=origins.where(("bench", "vary", key)), message=message)


def _misfits(tables: Mapping[str, Any]) -> Iterator[tuple[Loc, object, str]]:
    """Keys whose values do not go with those of others: place, value, and what it must be."""
    name, layout = _given(tables, "job", "output", ""), _given(tables, "output", "layout", "files")
    if isinstance(name, str) and is_remote(name):
        if not (state := _given(tables, "job", "state", "")):
            message = "must name a folder here for ledger, rows and reports, as output is a bucket."
            yield ("job", "state"), state, message
        if layout == "files":
            yield ("output", "layout"), layout, 'must be "webdataset" or "parquet", as output is a bucket.'
    if _given(tables, "download", "keep_originals", False) is True and layout in ("webdataset", "parquet"):
        loc = ("download", "keep_originals")
        yield loc, True, f'must be false with layout = "{layout}": shards hold images alone.'
    if _given(tables, "job", "allow_local", False) is True and not _given(tables, "job", "local_root", ""):
        yield ("job", "local_root"), "", "must name the folder with the files, as allow_local is set."


def _given(tables: Mapping[str, Any], table: str, key: str, default: object) -> Any:
    """What a config says, of whatever type that is."""
    found = tables.get(table)
    return found.get(key, default) if isinstance(found, Mapping) else default


def _step_problems(tables: Mapping[str, Any], check: CheckSteps | None, origins: Origins) -> list[Problem]:
    steps = _given(tables, "transform", "steps", [])
    if check is None or not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        return []
    setting = origins.setting_of(("transform", "steps"))
    replaced = setting is not None and len(setting.loc) <= 2  # not one key of one step, but the steps as a whole
    source = setting.label if setting and replaced else origins.file
    return [Problem(where=f"{source} {problem.where}".rstrip(), message=problem.message) for problem in check(steps)]


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
