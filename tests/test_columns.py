"""Every column has one type over the whole list, and every row has every column."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.columns import EXACT, Columns, fit, merge, type_of


def learn(*values: Any) -> Columns:
    columns = Columns()
    for line, value in enumerate(values, start=1):
        columns.observe({"x": value}, line)
    return columns


def fitted(*values: Any) -> list[Any]:
    columns = learn(*values)
    return [columns.fit({"x": value})["x"] for value in values]


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ([7, "7b"], ["7", "7b"]),
        ([1, 1, 1.5], [1.0, 1.0, 1.5]),
        ([1.5, 1], [1.5, 1.0]),
        ([None, None, "late"], [None, None, "late"]),
        ([True, 1], ["true", "1"]),
        ([EXACT + 1, 2**63 - 1], [EXACT + 1, 2**63 - 1]),
        ([EXACT + 1, 0.5], [str(EXACT + 1), "0.5"]),
        ([1, 2**63], ["1", str(2**63)]),
        ([[], ["a"]], [[], ["a"]]),
        ([[1], [2.5, None]], [[1.0], [2.5, None]]),
        ([[1], ["a"]], [["1"], ["a"]]),
        ([{"a": 1}, {"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([{"a": 1}, [1]], ['{"a": 1}', "[1]"]),
        ([{"a": 1}, "ü"], ['{"a": 1}', "ü"]),
        ([{"a": "ü", "A": 1}], ['{"a": "ü", "A": 1}']),
        ([{"x_file_name": "a"}, {}], ['{"x_file_name": "a"}', "{}"]),
    ],
)
def test_values_come_out_as_one_type(values: list[Any], result: list[Any]) -> None:
    got = fitted(*values)

    assert result == got
    assert list(map(repr, result)) == list(map(repr, got))


def test_every_row_has_every_column_in_the_order_in_which_they_came() -> None:
    columns = Columns()
    columns.observe({"b": 1}, 1)
    columns.observe({"a": "x", "b": 2}, 2)

    assert [("b", 1), ("a", None)] == list(columns.fit({"b": 1}).items())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, 2, "x"], '"x" became text: it has whole numbers and text (on line 3)'),
        (["x", "y", 1, 2], '"x" became text: it has text and whole numbers (on line 3)'),
        ([2**70], '"x" became text: it has a whole number of more than 64 bits (on line 1)'),
        ([[1], {}], '"x" became text: it has lists and objects (on line 2)'),
        ([{"a": 1, "A": 2}], '"x" became text: it has nested values that loaders would not read alike (on line 1)'),
    ],
)
def test_a_column_that_becomes_text_is_remarked_once(values: list[Any], says: str) -> None:
    assert [says] == [str(remark) for remark in learn(*values, *values).remarks]


@pytest.mark.parametrize("values", [[1, 1.5, None], ["a", None], [None, 1], [[], [1]], [1, EXACT + 1]])
def test_a_column_that_keeps_its_kind_is_not_remarked(values: list[Any]) -> None:
    assert [] == learn(*values).remarks


def test_a_value_of_another_kind_in_a_row_of_known_shape_is_seen() -> None:
    assert "long" == learn(1, 2, EXACT + 1).types["x"]
    assert "text" == learn([1], [2], ["a"], [3], 2**64, [1]).types["x"]


def test_a_column_that_is_nested_too_deep_is_text() -> None:
    nested: Any = 1
    for _ in range(12):
        nested = [nested]

    columns = learn(nested)

    assert "[[[[[[[[\"[[[[1]]]]\"]]]]]]]]" == json.dumps(columns.fit({"x": nested})["x"])


def test_columns_come_back_from_their_text() -> None:
    columns = learn(1, "a", [2.5, {"k": None}])

    again = Columns.parse(columns.dump())

    assert columns.types == again.types
    assert columns.remarks == again.remarks
    assert columns.fit({"x": [1]}) == again.fit({"x": [1]})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e9, 1e9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "A", "file_name"]), inner),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_all_values_fit_the_type_whatever_their_order(values: list[Any]) -> None:
    columns = learn(*values)
    wanted = columns.types["x"]

    assert wanted == learn(*reversed(values)).types["x"]
    for value in values:
        made = columns.fit({"x": value})["x"]
        assert wanted == merge(wanted, type_of(made))
        assert made == fit(made, wanted)
