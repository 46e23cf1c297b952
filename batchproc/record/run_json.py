"""run.json: how a record is written and read. The names of its keys are those of the record's fields.

Writing needs the standard library alone, so that a run with nothing to do pays for no more. Reading checks every value
by its type; a key that is missing has its default, and one of unknown origin is passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchproc.errors import UsageError
from batchproc.record.run import SCHEMA, RunRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE_NAME = "run.json"


def to_json(record: RunRecord) -> dict[str, Any]:
    """The record as it comes back from JSON, in the order of the file."""
    return {one.name: _plain(getattr(record, one.name)) for one in fields(record)}


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def write_text(record: RunRecord) -> bytes:
    """The content of run.json."""
    return json.dumps(to_json(record), indent=2, ensure_ascii=False).encode() + b"\n"


def read_run(folder: Path) -> RunRecord:
    """The record of a run from its folder. Raises `UsageError` when there is none, or it is of another schema."""
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {type(error).__name__}") from error
    if not isinstance(content, dict) or not isinstance(content.get("counts"), dict) or "stages" not in content:
        raise UsageError(f"{path}: is not the run.json of a batchproc run")
    if content.get("schema", SCHEMA) != SCHEMA:
        raise UsageError(f"{path}: schema {content['schema']!r}: this batchproc reads {SCHEMA}; read it with its own")
    try:
        return record_of(content)
    except ValueError as error:
        raise UsageError(f"{path}: is not the run.json of a batchproc run: {error}") from error


def record_of(content: Mapping[str, Any]) -> RunRecord:
    """The record with this content. Raises ValueError, which names the first value that is of another type."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@cache
def _adapter() -> "TypeAdapter[RunRecord]":
    from pydantic import TypeAdapter

    # The names that stand in quotes in the record's types are looked up here.
    from batchproc.measure.checks import Check  # noqa: F401
    from batchproc.measure.samples import Samples  # noqa: F401
    from batchproc.record.explanation import AutoRecord, Ceiling, Choice, Hint  # noqa: F401
    from batchproc.record.hosts import ConcurrencyRecord, HostStarts, LocalTrouble, TroubledHost  # noqa: F401
    from batchproc.record.stage import LegRecord, StageLoad, StageRecord  # noqa: F401

    return TypeAdapter(RunRecord)
