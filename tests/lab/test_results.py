"""A cell is the median of its repeats, with the exact interval and all of them behind it."""

import json

import pytest
from msgspec import convert, to_builtins

from batchproc.lab.results import Cell, ResultSeries, ResultTable, counted, gained, measured, read_results
from tests.lab import tables


def only(series: ResultSeries) -> Cell:
    (cell,) = series.cells
    return cell


def test_nine_repeats_leave_out_the_slowest_and_the_fastest() -> None:
    cell = only(measured("time", "s", {1.0: [5, 1, 2, 3, 4, 6, 7, 8, 900]}))

    assert (5, 2, 8) == (cell.value, cell.low, cell.high)
    assert 9 == len(cell.values)


def test_too_few_repeats_have_no_interval_and_their_ends_stand_for_it() -> None:
    cell = only(measured("time", "s/item", {1.0: [2.0, 4.0, 6.0]}, per=2))

    assert (2.0, None, None) == (cell.value, cell.low, cell.high)
    assert (1.0, 3.0) == cell.ends


def test_a_gain_is_the_median_of_the_rounds_own_ratios() -> None:
    drifting = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]

    cell = only(gained("gain", {"here": (drifting, [2 * each for each in drifting])}))

    assert 2.0 == pytest.approx(cell.value)
    assert (2.0, 2.0) == pytest.approx((cell.low, cell.high))


def test_a_place_without_repeats_is_left_out_and_a_count_has_no_interval() -> None:
    assert () == measured("time", "s", {"here": []}).cells
    assert None is only(counted("items", "items", {"here": 12})).low


@pytest.mark.parametrize("name", list(tables.all_of_them()))
def test_a_table_survives_json(name: str) -> None:
    table = tables.all_of_them()[name]

    assert table == convert(to_builtins(table), ResultTable)


def test_what_is_no_experiment_of_this_form_is_counted() -> None:
    good = tables.as_json({"memory": tables.memory()})
    old = {"name": "memory", "question": "?", "numbers": [], "failure": None, "seconds": 1.0, "others_cpu_share": 0.0}
    no_number = json.loads(json.dumps(good[0]).replace("2000000.0", "NaN"))

    results, unreadable = read_results([old, *good, 7, no_number])

    assert (["memory"], 3) == ([one.name for one in results], unreadable)
    assert ([], 0) == read_results(None)
