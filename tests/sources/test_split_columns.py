"""Which values of a column name a split."""

import json

import pytest

from batchproc.sources.split_columns import MOST_SPLITS, SplitCheck


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
