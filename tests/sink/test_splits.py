"""Each row in one split, whatever else is in the list."""

import json
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pytest

from batchproc.sink.manifests import MOST_SPLITS, SplitCheck, by_column, by_share, split_of, write_splits

RATIOS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def keys(number: int) -> list[str]:
    return [blake2b(b"%d" % place, digest_size=16).hexdigest() for place in range(number)]


def test_splits_have_their_shares() -> None:
    counts = Counter(split_of(key, RATIOS) for key in keys(10_000))

    assert [8, 1, 1] == [round(counts[split] / 1_000) for split in RATIOS]


@pytest.mark.parametrize(("key", "split"), [("0" * 32, "train"), ("f" * 32, "test"), ("cccccc" + "0" * 26, "train")])
def test_a_key_alone_chooses_the_split(key: str, split: str) -> None:
    assert split == split_of(key, RATIOS)


def test_every_row_is_in_the_file_of_its_split_in_order(tmp_path: Path) -> None:
    rows = [{"key": key, "place": place} for place, key in enumerate(keys(50))]

    write_splits(tmp_path, by_share(RATIOS), rows, RATIOS)

    found = {
        split: [json.loads(line) for line in (tmp_path / f"metadata-{split}.jsonl").read_text().splitlines()]
        for split in RATIOS
    }
    assert {split: [row for row in rows if split_of(str(row["key"]), RATIOS) == split] for split in RATIOS} == found


def test_a_share_without_rows_has_an_empty_file(tmp_path: Path) -> None:
    assert [*RATIOS] == write_splits(tmp_path, by_share(RATIOS), [], RATIOS)
    assert [b""] * 3 == [path.read_bytes() for path in tmp_path.iterdir()]


def test_a_column_names_the_splits_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [{"n": number, "part": part} for number, part in enumerate(["test", "train", None, "a/b", "test", 3])]

    assert ["test", "train"] == write_splits(tmp_path, by_column("part"), rows)
    found = {
        path.name: [json.loads(line)["n"] for line in path.read_text().splitlines()] for path in tmp_path.iterdir()
    }
    assert {"metadata-test.jsonl": [0, 4], "metadata-train.jsonl": [1]} == found


@pytest.mark.parametrize("value", ["train", "test_2", "Validation"])
def test_a_name_is_no_fault(value: str) -> None:
    assert "" == SplitCheck("split").find_fault(json.dumps({"split": value}))


@pytest.mark.parametrize("value", [None, "", "a/b", "../x", "a b", 1, ["train"], {"a": 1}, "*", "1st"])
def test_what_is_no_name_is_told_with_its_value(value: object) -> None:
    assert f"its split {json.dumps(value)} is no name" in SplitCheck("split").find_fault(json.dumps({"split": value}))


def test_a_row_without_columns_names_no_split() -> None:
    assert "null" in SplitCheck("split").find_fault("")


def test_a_split_too_many_is_a_fault_and_those_before_stay_names() -> None:
    check = SplitCheck("n")
    names = [f"s{number}" for number in range(MOST_SPLITS + 2)]
    faults = [check.find_fault(json.dumps({"n": name})) for name in (*names, names[0])]

    assert [MOST_SPLITS, MOST_SPLITS + 1] == [number for number, fault in enumerate(faults) if fault]
    assert f"one more than {MOST_SPLITS}" in faults[MOST_SPLITS]
