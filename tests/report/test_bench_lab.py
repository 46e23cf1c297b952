"""The experiments' charts: what their sentences say of known numbers, and what is said where there are none."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from batchproc.report.bench_lab_chart import LabChart
from batchproc.report.bench_lab_view import VIEWS, view_lab
from tests.report import lab_facts
from tests.report.lab_facts import all_of_them, experiment, number

TITLES = {name: title for name, title, _ in VIEWS}


def charts(*made: Mapping[str, Any]) -> dict[str, LabChart]:
    """By experiment."""
    found = {chart.title: chart for chart in view_lab({"experiments": list(made)})}
    return {name: found[title] for name, title in TITLES.items()}


def said(name: str, *made: Mapping[str, Any]) -> str:
    return charts(*made)[name].sentence.replace("\u00a0", " ")


def test_every_experiment_has_its_chart_with_title_description_and_table() -> None:
    for name, chart in charts(*all_of_them()).items():
        assert chart.svg is not None, name
        assert f"{chart.title}</title>" in chart.svg
        assert re.search(r"<desc [^>]*>[^<]{40,}", chart.svg)
        assert chart.rows
        assert {len(chart.heads)} == {len(row) for row in chart.rows}


def test_without_any_experiment_there_is_no_chart() -> None:
    assert [] == view_lab({})


def test_what_was_not_made_or_failed_is_not_measured_and_says_why() -> None:
    found = charts(lab_facts.steps(), experiment("latency", [], failure="it was ended after 240 s"))

    assert found["steps"].svg is not None
    assert "Not measured: it was ended after 240 s." == found["latency"].sentence
    assert found["payload"].sentence.startswith("Not measured: the experiment payload was not made;")
    assert {None} == {chart.svg for name, chart in found.items() if name != "steps"}


def test_the_flip_chart_says_who_wins_and_where_it_flips() -> None:
    sentence = said("steps", lab_facts.steps(blur=1.0, median_filter=0.5))

    assert "GaussianBlur × 1.00 (× 0.99 to × 1.01), not told apart" in sentence
    assert "MedianFilter × 0.50 (× 0.49 to × 0.51), processes win" in sentence
    assert "flips beyond 9.9 cores at the earliest" in sentence
    assert "MedianFilter holds the GIL for 98 to 100 % of its CPU and flips beyond 1 core." in sentence


def test_one_core_cannot_flip() -> None:
    assert "Not measured: one usable core" in said("steps", lab_facts.steps(cores=1))


def test_the_workers_chart_names_its_ceilings() -> None:
    chart = charts(lab_facts.workers(), lab_facts.steps(blur=0.9))["workers"]

    assert "Threads 200/s with 1, 400/s with 2 and 396/s with 8" in chart.sentence
    assert "5 ms of CPU per picture allow 400/s on 2 cores" in chart.sentence
    assert "100 % of the cores' ceiling were reached" in chart.sentence
    assert "2 cores: 400/s" in str(chart.svg)
    assert "the GIL, lowest: " in str(chart.svg)


def test_the_latency_chart_predicts_n_over_w_plus_c_and_where_the_cpu_takes_over() -> None:
    chart = charts(lab_facts.latency())["latency"]

    assert "8 threads × 8.00 at 20 ms; 8 threads × 8.00 at 100 ms" in chart.sentence.replace("\u00a0", " ")
    assert "n/(W + c) is off by 0 % (median)" in chart.sentence
    assert "stops it at 1,000/s" in chart.sentence
    assert "from 21 threads at 20 ms, 101 threads at 100 ms on" in chart.sentence
    assert ">101</text>" in str(chart.svg)
    assert ["1", "1,000/s", "47.6/s", "9.9/s"] == [cell.partition(" (")[0] for cell in chart.rows[0]]
    assert ["8 processes", "8,000/s", "381/s", "79.2/s"] == [cell.partition(" (")[0] for cell in chart.rows[-1]]


def test_latencies_without_a_0_have_no_roof() -> None:
    made = lab_facts.latency()
    made["numbers"] = [one for one in made["numbers"] if one["x"]]

    assert "Not measured: without a latency of 0 ms" in said("latency", made)


def test_the_payload_chart_marks_where_the_pipe_eats_the_gain_measured_and_predicted() -> None:
    chart = charts(lab_facts.payload())["payload"]

    assert "by the medians processes are no longer ahead from 1.78 MB on" in chart.sentence
    assert "(predicted from the echo alone: 2 MB)" in chart.sentence
    assert "ahead up to 1 MB and behind from 4 MB on" in chart.sentence
    assert "measured 1.78 MB" in str(chart.svg)
    assert "predicted 2 MB" in str(chart.svg)


def test_a_single_payload_out_of_line_is_no_from_there_on() -> None:
    made = lab_facts.payload()
    numbers = {(one["name"], one["x"]): one for one in made["numbers"]}
    numbers["work_processes_seconds", 0.0] |= number("work_processes_seconds", 0.009, x=0.0)

    sentence = said("payload", made)

    assert sentence.endswith("With their whole interval processes are behind from 4 MB on.")


def test_the_job_size_chart_marks_the_break_even_measured_and_predicted() -> None:
    chart = charts(lab_facts.job_size(), lab_facts.steps(), lab_facts.startup())["job_size"]

    assert "repay their start from about 11 items on; predicted 10, from 20.0 ms more to start" in chart.sentence
    assert "From 16 items on the intervals are apart." in chart.sentence
    assert "measured 11" in str(chart.svg)
    assert "predicted 10" in str(chart.svg)


def test_a_job_that_never_repays_says_so_and_without_start_and_steps_nothing_is_predicted() -> None:
    sentence = said("job_size", lab_facts.job_size(start_seconds=1.0))

    assert "Processes are behind in the largest job measured; not predicted" in sentence
    assert "no gain is proven at any size" in sentence


def test_curves_that_cross_twice_decide_nothing() -> None:
    made = lab_facts.job_size()
    made["numbers"][-1] |= number("process_seconds", 9.0, x=64)

    assert "so where processes repay their start is not decided" in said("job_size", made)


def test_bars_of_workers_show_every_round() -> None:
    found = charts(lab_facts.memory(), lab_facts.startup())

    assert "That is 2.5 times as much." in found["memory"].sentence
    assert "That is 21.0 times as long." in found["startup"].sentence
    assert 6 == str(found["memory"].svg).count("<use ")
    assert 9 == str(found["startup"].svg).count("<use ")


def test_every_round_is_a_mark() -> None:
    svg = str(charts(lab_facts.payload())["payload"].svg)

    places, series, rounds, legend, rings = 3, 4, 3, 4, 2
    assert places * series * (rounds + 1) + legend + rings == svg.count("<use ")


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (0.01, "Other programs used 1 % of the CPU meanwhile, 2 rounds were made again."),
        (0.4, "2 rounds were made again: too much to read these figures closely."),
        (None, "What else used the machine meanwhile is not known."),
    ],
)
def test_what_else_used_the_machine_stands_under_the_chart(others: float | None, told: str) -> None:
    assert charts(lab_facts.steps() | {"others_cpu_share": others})["steps"].noise.endswith(told)


def test_numbers_that_are_none_are_left_out() -> None:
    made = lab_facts.payload()
    made["numbers"] += [7, {}, {"name": "work_threads_seconds", "value": "fast", "x": 1},
                        number("work_threads_seconds", -1.0, x=2.0), number("work_threads_seconds", 1.0, x=-2.0),
                        number("work_threads_seconds", float("nan"), x=3.0)]  # fmt: skip

    assert charts(made)["payload"].rows == charts(lab_facts.payload())["payload"].rows
