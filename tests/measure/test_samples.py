"""A series keeps peaks, last counts and means, in a bounded number of rows."""

from hypothesis import given
from hypothesis import strategies as st

from batchproc.measure.samples import Series, merge


@given(st.integers(0, 2000), st.integers(4, 50))
def test_a_long_run_fits_and_loses_neither_peak_nor_last_count(looks: int, capacity: int) -> None:
    series = Series(capacity)
    for look in range(looks):
        series.add({"t_seconds": float(look), "pss_bytes": float(look % 97), "done_total": float(look)})
    columns = series.columns()

    assert len(series) <= capacity
    assert len(columns.get("t_seconds", [])) == len(series)
    if looks:
        assert columns["t_seconds"][0] == 0.0
        assert columns["t_seconds"][-1] == columns["done_total"][-1] == looks - 1
        assert max(value for value in columns["pss_bytes"] if value is not None) == min(looks - 1, 96)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=500))
def test_times_only_grow(values: list[float]) -> None:
    series = Series(8)
    for index, value in enumerate(values):
        series.add({"t_seconds": float(index), "in_flight": value})
    times = [time for time in series.columns()["t_seconds"] if time is not None]

    assert times == sorted(set(times))


def test_a_level_is_averaged_by_the_looks_behind_it() -> None:
    merged, weight = merge(({"in_flight": 4.0}, 3), ({"in_flight": 8.0}, 1))

    assert merged == {"in_flight": 5.0}
    assert weight == 4


def test_a_figure_that_was_not_read_does_not_count_as_zero() -> None:
    merged, _ = merge(({"pss_bytes": None, "in_flight": 2.0}, 1), ({"pss_bytes": 7.0}, 1))

    assert merged == {"pss_bytes": 7.0, "in_flight": 2.0}
