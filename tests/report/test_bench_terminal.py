"""The closing text of a bench tells speeds, as the page does."""

import re
from pathlib import Path

from batchproc.bench.bench_json import parse_bench
from batchproc.report.bench_terminal import WIDTH, summarise_bench
from tests.report.bench_folder import a_bench


def test_a_ratio_of_times_is_told_as_a_speed_with_its_interval_turned_round() -> None:
    facts = a_bench(["serial", "thread"])
    facts["comparisons"][0] |= {"ratio": 0.5, "interval": [0.4, 0.8]}
    name = facts["comparisons"][0]["pair"]

    text = summarise_bench(parse_bench(facts), Path("bench"))

    row = next(line for line in text.splitlines() if line.split()[:1] == [name])
    assert "x 2.00 (1.25 to 2.50)" in row
    assert "of its time" not in text
    assert re.search(r"serial\+serial +\S+ +x 1 ", text)


def test_predictions_and_their_errors_are_speeds_too() -> None:
    facts = a_bench(["serial", "thread"])
    for row in facts["predictions"][1:]:
        row |= {"ratio": 0.25, "error": 0.25}

    text = summarise_bench(parse_bench(facts), Path("bench"))

    assert "x 4.00" in text
    assert "the speeds were off by 20% (median), 20% (most)" in text


def test_the_noise_floor_is_a_speed_and_says_when_it_has_no_interval() -> None:
    facts = a_bench(["thread"])
    facts["noise_floor"] |= {"ratio": 0.8, "interval": None, "margin": 0.0953, "suspicious": True}

    words = " ".join(summarise_bench(parse_bench(facts), Path("bench")).split())

    assert "has x 1.25 the speed of the other (too few rounds for an interval); within 10% is a tie; the two" in words
    assert "differ by more than chance explains rounds" in words


def test_sentences_are_wrapped() -> None:
    facts = a_bench(["serial", "thread"])
    facts["notes"] = ["so many words " * 20]

    lines = summarise_bench(parse_bench(facts), Path("bench")).splitlines()

    assert [] == [line for line in lines if len(line) > WIDTH and line.startswith(("  images", "  rounds", "  note"))]
    assert 3 == sum("so many words" in line for line in lines)
