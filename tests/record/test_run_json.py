"""run.json: read as it was written, whoever wrote it; what is damaged is refused in words."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import UsageError
from batchproc.measure.samples import Samples
from batchproc.record.run_json import RunRecord, read_run, record_of, to_json, write_text

GOLDEN = Path(__file__).parent / "golden.json"
CONTENT: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))


def folder_with(tmp_path: Path, content: object) -> Path:
    (tmp_path / "run.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Every object of the file, itself included, but for the values of a reason, whose names are open."""
    inside = value if isinstance(value, list) else []
    if isinstance(value, dict):
        inside = [part for key, part in value.items() if key != "values"]
    found = [value] if isinstance(value, dict) else []
    return found + [one for part in inside for one in objects_in(part)]


def test_the_golden_file_is_written_as_it_was_read() -> None:
    assert GOLDEN.read_bytes() == write_text(record_of(CONTENT))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = record_of(CONTENT)
    (tmp_path / "run.json").write_bytes(write_text(record))

    assert record == read_run(tmp_path)


def test_the_keys_of_a_record_are_those_of_the_golden_file() -> None:
    assert list(CONTENT) == list(to_json(RunRecord()))


@pytest.mark.parametrize("key", [key for key in CONTENT if key not in ("counts", "stages")])
def test_a_key_that_an_older_build_did_not_write_has_its_default(tmp_path: Path, key: str) -> None:
    record = read_run(folder_with(tmp_path, {name: value for name, value in CONTENT.items() if name != key}))

    assert getattr(RunRecord(), key) == getattr(record, key)


def test_keys_of_unknown_origin_are_passed_over(tmp_path: Path) -> None:
    content = json.loads(json.dumps(CONTENT))
    for one in objects_in([content[name] for name in ("counts", "leg", "memory", "choices", "due_again", "auto")]):
        one["of_tomorrow"] = {"deep": [1]}

    assert record_of(CONTENT).counts == read_run(folder_with(tmp_path, content | {"of_tomorrow": 1})).counts


def test_a_run_that_was_not_sampled_says_why() -> None:
    record = record_of({"samples": {"unknown": "no /proc"}})

    assert Samples(unknown="no /proc") == record.samples
    assert () == record.samples.processes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read: JSONDecodeError"),
        ("[" * 100_000, "cannot be read: RecursionError"),
        ("[]", "is not the run.json of a batchproc run"),
        ({"counts": {}}, "is not the run.json of a batchproc run"),
        ({"counts": [], "stages": {}}, "is not the run.json of a batchproc run"),
        (CONTENT | {"schema": 2}, "schema 2: this batchproc reads 1"),
        (CONTENT | {"exit_code": "fine"}, "run.json of a batchproc run: Expected `int`, got `str` - at `$.exit_code`"),
        (CONTENT | {"stages": {"download": {"workers": [3]}}}, "got `array` - at `$.stages[...].workers`"),
    ],
    ids=["empty", "deep", "list", "no stages", "counts", "schema", "type", "deep type"],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(UsageError, match=r"run\.json: ") as refused:
        read_run(folder_with(tmp_path, content))

    assert words in str(refused.value)
