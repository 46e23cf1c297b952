"""The laboratory's part of the page: what is drawn, written and listed of tables whose numbers are known."""

import re
from collections.abc import Mapping

import pytest

from batchproc.bench.bench_json import Bench, parse_bench
from batchproc.lab.laboratory import add_predictions
from batchproc.lab.results import Number, ResultTable, counted
from batchproc.report.lab_section import LabChart, number_figure, number_name, view_lab
from tests.lab import tables
from tests.lab.tables import all_of_them, as_json


def bench(**keys: object) -> Bench:
    return parse_bench({"schema": 1, "rounds": [], **keys})


def charts(made: Mapping[str, ResultTable], others: float | None = 0.01) -> dict[str, LabChart]:
    """By experiment."""
    found = view_lab(bench(experiments=as_json(made, others))).charts
    return dict(zip(made, found, strict=True))


def marks(chart: LabChart) -> int:
    return len(re.findall(r'<path d="M[\d.]+ [\d.]+m', str(chart.svg)))


def sentence(name: str, made: Mapping[str, ResultTable]) -> str:
    return charts(add_predictions(made))[name].sentence.replace("\u00a0", " ")


@pytest.mark.parametrize("name", list(all_of_them()))
def test_every_experiment_has_its_chart_with_title_description_and_figures(name: str) -> None:
    chart = charts(all_of_them())[name]

    assert chart.svg is not None
    assert f"What of {name}?</title>" in chart.svg
    assert re.search(r"<desc [^>]*>[^<]{40,}", chart.svg)
    assert chart.rows
    assert {len(chart.heads)} == {len(row) for row in chart.rows}


def test_without_any_experiment_there_is_nothing() -> None:
    found = view_lab(bench())

    assert ([], [], []) == (found.charts, found.claims, found.notes)


def test_what_failed_is_not_measured_and_says_why() -> None:
    made = as_json({"steps": tables.steps()})
    made.append(made[0] | {"table": None, "failure": "it was ended after 240 s"})

    drawn, failed = view_lab(bench(experiments=made)).charts

    assert drawn.svg is not None
    assert (None, True) == (failed.svg, failed.sentence.endswith("it was ended after 240 s."))


def test_experiments_of_an_older_form_are_refused_in_words() -> None:
    old = {"name": "memory", "question": "?", "numbers": [{"name": "thread_pss_bytes", "value": 2e6}], "failure": None,
           "seconds": 1.0, "others_cpu_share": 0.0}  # fmt: skip

    found = view_lab(bench(experiments=[old], claims=[{"verdict": "?"}, 7]))

    assert ([], []) == (found.charts, found.claims)
    assert ["1 experiment", "2 claims"] == [note.partition(" of ")[0] for note in found.notes]


def test_steps_say_who_wins_and_from_how_many_cores_on() -> None:
    text = sentence("steps", {"steps": tables.steps(blur=1.0, median=0.5)})

    assert "MedianFilter × 0.50 (× 0.50 to × 0.51), processes faster" in text
    assert "GaussianBlur × 1.00 (× 0.99 to × 1.01), not told apart" in text
    assert re.search(r"at the earliest: GaussianBlur 10\.?0? cores", text)


def test_more_workers_are_held_against_their_ceilings() -> None:
    made = {"workers": tables.workers(), "steps": tables.steps(blur=0.9)}
    text, svg = sentence("workers", made), str(charts(add_predictions(made))["workers"].svg)

    assert "threads: 200 images/s at 1, 396 images/s at 2, 390 images/s at 8" in text.lower()
    assert "all cores 400 images/s" in text
    assert re.search(r"9\d ?% of the lowest was reached", text)
    assert ">all cores</text>" in svg
    assert ">the GIL, lowest</text>" in svg


def test_waiting_is_predicted_and_where_the_cpu_takes_over() -> None:
    text = sentence("latency", {"latency": tables.latency()})
    chart = charts({"latency": tables.latency()})["latency"]

    assert re.search(r"predicted is off by 0 ?% \(median\)", text)
    assert [21, 101] == [int(n) for n in re.findall(r"meets best without a wait at (\d+) threads", text)]
    assert ["2 threads", "1,000 replies/s", "95.2 replies/s", "19.8 replies/s", "95.2 replies/s"] == [
        cell.partition(" (")[0] for cell in chart.rows[1][:5]
    ]


def test_where_the_pipe_eats_the_gain_is_marked_measured_and_predicted() -> None:
    made = {"payload": tables.payload()}
    text, svg = sentence("payload", made), str(charts(made)["payload"].svg)

    assert "cross at 1.78 MB (predicted: 2 MB)" in text
    assert "work, threads ahead from 4 MB on, work, processes ahead up to 1 MB" in text
    assert "measured 1.78 MB" in svg
    assert "predicted 2 MB" in svg


def test_a_single_payload_out_of_line_is_no_from_there_on() -> None:
    text = sentence("payload", {"payload": tables.payload(processes_at_0=0.009)})

    assert "work, processes ahead up to" not in text


def test_when_a_start_is_repaid_is_marked_measured_and_predicted() -> None:
    made = add_predictions({"job_size": tables.job_size(), "steps": tables.steps(), "startup": tables.startup()})
    chart = charts(made)["job_size"]

    assert re.search(r"cross at 11 items \(predicted: 10 items\)", chart.sentence)
    assert "processes ahead from 16 items on" in chart.sentence
    assert "predicted 10" in str(chart.svg)


def test_a_job_that_never_repays_its_start_says_so() -> None:
    text = sentence("job_size", {"job_size": tables.job_size(start_seconds=1.0)})

    assert "do not cross up to 64 items (not predicted)" in text
    assert "threads ahead everywhere" in text


def test_curves_that_cross_twice_decide_nothing() -> None:
    assert "so where is not decided" in sentence("job_size", {"job_size": tables.job_size(last=9.0)})


def test_bars_show_every_round_and_their_ratio() -> None:
    found = charts({"memory": tables.memory(), "startup": tables.startup()})

    assert "2.5 times a thread" in found["memory"].sentence
    assert "21.0 times a thread" in found["startup"].sentence
    assert 6 == marks(found["memory"])
    assert 9 == marks(found["startup"])


def test_every_round_is_a_mark() -> None:
    drawn = charts({"payload": tables.payload()})["payload"]

    places, series, rounds, legend, rings = 3, 4, 3, 4, 2
    assert places * series * (rounds + 1) + legend + rings == marks(drawn)


def test_counts_alone_are_written_and_listed_but_not_drawn() -> None:
    seen = ResultTable(x="workers", series=(counted("seen", "changes", {"threads": 10}),))
    chart = charts({"own_memory": seen})["own_memory"]

    assert (None, [["threads", "10 changes"]]) == (chart.svg, list(chart.rows))
    assert "10 changes" in chart.sentence


@pytest.mark.parametrize(("others", "words"), [(0.01, "1"), (0.4, "too much to read"), (None, "not known")])
def test_what_else_used_the_machine_stands_under_the_chart(others: float | None, words: str) -> None:
    noise = charts({"steps": tables.steps()}, others)["steps"].noise

    assert words in noise
    assert "rounds made again 2" in noise


def test_a_claims_figure_has_its_place_and_interval() -> None:
    number = Number(name="gain at 20 ms", value=7.1, unit="x", x=8.0, x_unit="threads", low=7.0, high=7.4)

    assert "gain at 20 ms, 8 threads" == number_name(number)
    assert "× 7.10 (× 7.00 to × 7.40)" == number_figure(number).replace("\u00a0", " ")
    assert "7.2 MB per worker" == number_figure(Number(name="weight", value=7.2e6, unit="bytes/worker"))


def test_a_sign_is_drawn_as_it_is_and_a_formula_keeps_its_letter() -> None:
    made = add_predictions({"latency": tables.latency(), "steps": tables.steps()})

    assert "\\x" not in str(charts(made)["steps"].svg)
    assert "By the model n/(W + c), 20 ms meets" in charts(made)["latency"].sentence
