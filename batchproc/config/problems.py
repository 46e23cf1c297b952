"""From pydantic's errors to sentences for the user: where it stands, the value, what is allowed, the nearest name."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from batchproc.config.tables import Config
from batchproc.config.units import OUR_ERROR
from batchproc.errors import Problem
from batchproc.redact import HIDDEN, is_secret_name, printable, redact_text

Loc = tuple[str | int, ...]  # of a value: its table, its key, and what is inside

ENVIRONMENT_PREFIX = "BATCHPROC_"


class Setting(Struct, frozen=True, kw_only=True):
    """One value from outside the file. `label` is how the user wrote its name."""

    label: str
    loc: Loc
    value: object


LONGEST_VALUE = 60

_SENTENCES = {
    "string_type": "must be a text in quotes.",
    "int_type": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "float_type": "must be a number.",
    "finite_number": "must be a finite number.",
    "bool_type": "must be true or false.",
    "tuple_type": "must be a list.",
    "list_type": "must be a list.",
    "dict_type": "must be a table.",
    "model_type": "must be a table.",
    "too_short": "must have at least one entry.",
    "string_too_short": "must not be empty.",
    "invalid-json-value": "must be a text, number, true, false, list or table; dates and times are not used here.",
}
_EXAMPLES = {"name": 'name = "nightly"', "input": 'input = "urls.txt"', "output": 'output = "outputs/nightly"'}


class Origins(Struct, frozen=True, kw_only=True):
    """Where each value came from: the file, or a setting that was laid over it."""

    file: str
    tables: Mapping[str, Any]  # as the file has them, before anything was laid over
    settings: Sequence[Setting]

    def setting_of(self, loc: Loc) -> Setting | None:
        """The setting that gave the value at `loc`, or that made the table there; None when the file did."""
        parts = tuple(map(str, loc))
        for setting in reversed(self.settings):
            if parts[: len(setting.loc)] == setting.loc:
                return setting
        made = (setting for setting in self.settings if setting.loc[: len(parts)] == parts)
        return None if len(parts) == 1 and parts[0] in self.tables else next(made, None)

    def where(self, loc: Loc) -> str:
        """The place of `loc` in the user's words, as `configs/demo.toml [transform] workers`."""
        setting = self.setting_of(loc)
        if setting is None:
            top_level = len(loc) == 1 and not isinstance(self.tables.get(str(loc[0]), {}), dict)
            return f"{self.file} {loc[0] if top_level else _place(loc)}"
        rest = ".".join(map(str, loc[len(setting.loc) :]))
        return f"{setting.label} {rest}".rstrip()

    def name_of(self, loc: Loc, like: Loc) -> str:
        """How the user would write `loc` at the place where `like` was written."""
        setting = self.setting_of(like)
        if setting is None:
            return str(loc[-1]) if loc[:-1] == like[:-1] else _place(loc)
        if setting.label.startswith(ENVIRONMENT_PREFIX):
            return ENVIRONMENT_PREFIX + "__".join(map(str, loc)).upper()
        return ".".join(map(str, loc))


def problem_at(origins: Origins, loc: Loc, value: object, message: str) -> Problem:
    """The problem of a value; tables are not quoted, secrets are hidden."""
    quoted = "" if isinstance(value, dict) else f" = {quote(loc, value)}"
    return Problem(where=f"{origins.where(loc)}{quoted}", message=message)


def from_pydantic(errors: Iterable[ErrorDetails], origins: Origins) -> list[tuple[Loc, Problem]]:
    """The problems of a validation, each with the place it is about.

    A list whose only entry is wrong is also "too short" for pydantic: what is wrong inside of a value is enough.
    """
    found = list(errors)
    inner = {error["loc"][:depth] for error in found for depth in range(1, len(error["loc"]))}
    return [(error["loc"], _translate(error, origins)) for error in found if error["loc"] not in inner]


def quote(loc: Loc, value: object) -> str:
    """The value as TOML writes it, on one line, cut, without its secrets."""
    if any(is_secret_name(str(part)) for part in loc) or "headers" in loc or loc[:2] == ("metrics", "ping_url"):
        return HIDDEN
    text = printable(redact_text(json.dumps(value, ensure_ascii=False, default=str)))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def known_keys() -> list[str]:
    """Every dotted key, as `download.workers`."""
    return [f"{table}.{name}" for table in Config.model_fields for name in _fields(table)]


def nearest_key(key: str) -> str:
    """The dotted key that is most like this one, or nothing."""
    return next(iter(difflib.get_close_matches(key, known_keys(), 1)), "")


def _translate(error: ErrorDetails, origins: Origins) -> Problem:
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind == "missing":
        return Problem(where=origins.where(loc), message=_missing(loc))
    if kind == "extra_forbidden":
        setting = origins.setting_of(loc)
        where = setting.label if setting else origins.where(loc)
        return Problem(where=where, message=_unknown(setting.loc if setting else loc, origins))
    if kind == OUR_ERROR:
        message = str(context["sentence"])
    elif kind == "literal_error":
        message = _choice(error["input"], str(context["expected"]))
    elif bounds := _bounds(loc):
        message = _SENTENCES.get(kind) or bounds
    else:
        message = _SENTENCES.get(kind, "has the wrong form.")
    return problem_at(origins, loc, error["input"], message)


def _missing(loc: Loc) -> str:
    if len(loc) == 1:
        model = _model(loc[0])
        required = [name for name, field in model.model_fields.items() if field.is_required()] if model else []
        return f"this table is required, with the keys {', '.join(required)}."
    example = _EXAMPLES.get(str(loc[-1]))
    return f"is required, as {example}." if example else "is required."


def _unknown(loc: Loc, origins: Origins) -> str:
    table, model = str(loc[0]), _model(loc[0])
    if model is None:
        tables = list(Config.model_fields)
        if owners := [owner for owner in tables if len(loc) == 1 and table in _fields(owner)]:
            return f"stands in no table; did you mean {_place((owners[0], table))}?"
        if near := difflib.get_close_matches(table, tables, 1):
            return f"no such table; did you mean {_alike(near[0], loc, origins)}?"
        return f"no such table; the tables are {', '.join(f'[{name}]' for name in tables)}."
    name, names = str(loc[1]) if len(loc) > 1 else "", list(model.model_fields)
    if elsewhere := [other for other in Config.model_fields if name in _fields(other)]:
        return f"no such key; did you mean {origins.name_of((elsewhere[0], name), loc)}?"
    if near := difflib.get_close_matches(name, names, 1):
        return f"no such key; did you mean {origins.name_of((table, near[0]), loc)}?"
    return f"no such key; the keys of [{table}] are {', '.join(names)}."


def _alike(table: str, loc: Loc, origins: Origins) -> str:
    """The nearest table as the user would write it: the whole name for a setting, the brackets for a file."""
    return origins.name_of((table, *loc[1:]), loc) if origins.setting_of(loc) else f"[{table}]"


def _choice(value: object, expected: str) -> str:
    allowed = re.findall("'([^']*)'", expected)
    quoted = [f'"{name}"' for name in allowed]
    listed = " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
    near = difflib.get_close_matches(str(value).lower(), allowed, 1)
    return f'must be {listed}; did you mean "{near[0]}"?' if near else f"must be {listed}."


def _bounds(loc: Loc) -> str:
    """What the range of a number is, or nothing for a key without one."""
    field = _fields(loc[0]).get(str(loc[1])) if len(loc) == 2 else None
    metadata = field.metadata if field else ()
    low = next((item.ge for item in metadata if hasattr(item, "ge")), None)
    high = next((item.le for item in metadata if hasattr(item, "le")), None)
    if low is None:
        return ""
    return f"must be {low} or more." if high is None else f"must be from {low} to {high}."


def _model(table: str | int) -> type[BaseModel] | None:
    field = Config.model_fields.get(str(table))
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _fields(table: str | int) -> dict[str, Any]:
    model = _model(table)
    return dict(model.model_fields) if model else {}


def _place(loc: Loc) -> str:
    """`loc` as one finds it in the file; steps are counted from 0, as `--set` does."""
    if loc[:2] == ("transform", "steps") and len(loc) > 2:
        return ".".join([f"[transform] steps[{loc[2]}]", *map(str, loc[3:])])
    return " ".join([f"[{loc[0]}]", *([".".join(map(str, loc[1:]))] if len(loc) > 1 else [])])
