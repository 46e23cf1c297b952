"""Run by the Python of the loaders' own environment: `reading.py FOLDER place|builder`; loads one output folder.

`FOLDER/expected.json` says what has to come out; a line of JSON per loader is printed, with what did not. Nothing of
batchproc is imported here.
"""

import json
import math
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
SHOWN = 3
CLOSE = 8  # levels that a JPEG may be off


def same(expected: Any, got: Any) -> bool:
    """Whether two loaded values are one: missing is missing, and a number is a number, however it is held."""
    if hasattr(got, "tolist"):
        got = got.tolist()
    if expected is None:
        return got is None or (isinstance(got, float) and math.isnan(got))
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(same(expected.get(key), got.get(key)) for key in {*expected, *got})
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(same, expected, got))
    return (type(expected) is type(got) and expected == got) or (
        isinstance(expected, int | float) and not isinstance(expected, bool) and not isinstance(got, bool | str)
        and got == expected
    )  # fmt: skip


def differences(expected: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the rows have otherwise than the list."""
    if len(rows) != len(expected["pictures"]):
        return [f"{len(rows)} rows, expected {len(expected['pictures'])}"]
    return [
        f"row {number}, {name!r}: {rows[number].get(name, 'no such column')!r}, expected {value!r}"
        for name, values in expected["columns"].items()
        for number, value in enumerate(values)
        if name not in rows[number] or not same(value, rows[number][name])
    ]


def picture_differences(expected: Mapping[str, Any], dataset: Any) -> list[str]:
    """Which pictures of a loaded data set are not those of their rows; of many rows the first and the last are seen."""
    wrong = []
    count = len(expected["pictures"])
    for number in sorted({*range(min(count, 50)), *range(max(0, count - 50), count)}):
        row, colour = dataset[number], expected["colours"][expected["pictures"][number]]
        pixel = row["image"].convert("RGB").getpixel((2, 2)) if hasattr(row.get("image"), "convert") else None
        if pixel is None or any(abs(one - other) > CLOSE for one, other in zip(pixel, colour, strict=True)):
            wrong.append(f"row {number}, picture: {pixel}, expected {colour}")
    return wrong


def read_datasets(folder: Path, expected: Mapping[str, Any], *arguments: str, **options: Any) -> list[str]:
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        dataset = datasets.load_dataset(*arguments, cache_dir=cache, **options)["train"]
        rows = dataset.remove_columns("image").to_list() if "image" in dataset.features else dataset.to_list()
        return differences(expected, rows) + picture_differences(expected, dataset)


def read_pyarrow(folder: Path, expected: Mapping[str, Any]) -> list[str]:
    import pyarrow.json

    return differences(expected, pyarrow.json.read_json(folder / "metadata.jsonl").to_pylist())


def read_pandas(folder: Path, expected: Mapping[str, Any]) -> list[str]:
    import pandas

    frame = pandas.read_json(folder / "metadata.jsonl", lines=True, dtype=False, convert_dates=False)
    return differences(expected, frame.to_dict("records"))


def read_polars(folder: Path, expected: Mapping[str, Any]) -> list[str]:
    import polars

    frame = polars.read_ndjson(folder / "metadata.jsonl", infer_schema_length=None)
    return differences(expected, frame.to_dicts())


def read_duckdb(folder: Path, expected: Mapping[str, Any]) -> list[str]:
    import duckdb

    found = duckdb.sql(f"SELECT * FROM read_json('{folder / 'metadata.jsonl'}', sample_size = -1)")
    return differences(expected, [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()])


def read_webdataset(folder: Path, expected: Mapping[str, Any]) -> list[str]:
    """The images with their rows as samples of a tar shard, the form that this library reads."""
    import webdataset

    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n") if line]
    with tempfile.TemporaryDirectory() as shards:
        path = Path(shards) / "00000.tar"
        with tarfile.open(path, "w") as tar:
            for number, row in enumerate(rows):
                record = Path(shards) / "row.json"
                record.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
                tar.add(folder / row["file_name"], f"{number:06d}.jpg")
                tar.add(record, f"{number:06d}.json")
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil"))
        pictures = [{"image": sample["jpg"]} for sample in samples]
        return differences(expected, [sample["json"] for sample in samples]) + picture_differences(expected, pictures)


def main() -> None:
    """Loads the folder with each loader; one that raises has its error as the difference."""
    folder = Path(sys.argv[1]).resolve()
    expected = json.loads((folder.parent / "expected.json").read_text(encoding="utf-8"))
    named: dict[str, Callable[[], list[str]]] = {
        "datasets imagefolder": lambda: read_datasets(folder, expected, "imagefolder", data_dir=str(folder)),
    }
    placed: dict[str, Callable[[], list[str]]] = {
        "datasets": lambda: read_datasets(folder, expected, str(folder)),
        "pyarrow": lambda: read_pyarrow(folder, expected),
        "pandas": lambda: read_pandas(folder, expected),
        "polars": lambda: read_polars(folder, expected),
        "duckdb": lambda: read_duckdb(folder, expected),
        "webdataset": lambda: read_webdataset(folder, expected),
    }
    for name, load in (named if sys.argv[2] == "builder" else placed).items():
        try:
            found = load()
        except Exception as error:  # noqa: BLE001  # whatever a loader raises is the result
            found = [f"{type(error).__name__}: {error} {error.__cause__ or ''}"[:600]]
        print(json.dumps({"loader": name, "differences": len(found), "first": found[:SHOWN]}), flush=True)


if __name__ == "__main__":
    main()
