"""The page of a bench: its sections, what each shows, what it says of what is not known, and what strangers put in."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.lab.results import Crossing, computed, measured
from batchproc.report.html import BENCH_PAGE_BYTES
from tests.lab import tables
from tests.report.bench_folder import a_bench, page_of
from tests.report.folder import Parsed
from tests.report.test_hostile import BIDI, ESCAPE, MARKUP, assert_harmless
from tests.report.test_page import POLICY

ORDER = ["modes", "points", "accounts", "forecast", "workers", "costs", "causes", "trust", "comparisons", "provenance"]
NUMBERS = [
    {"name": "threads_8_gain", "value": 7.1, "unit": "x", "x": 20.0, "x_unit": "ms latency", "low": 7.0, "high": 7.4},
    {"name": "process_pss_bytes", "value": 7.2e6, "unit": "bytes/worker"},
]
CLAIMS = [
    {"id": at, "statement": f"statement {at}", "verdict": verdict, "meaning": "it matters", "numbers": NUMBERS}
    for at, verdict in enumerate(("holds", "holds_here_not_there", "refuted", "not_measured"), 1)
]


def words(page: Parsed, part: str) -> str:
    return " ".join(page.by_id(part).text.split()).replace("\u00a0", " ")


def cells(page: Parsed) -> list[str]:
    """The cells of the heat maps."""
    return [" ".join(one.text.split()) for one in page.all("td") if "--tint" in one.attributes.get("style", "")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    facts = a_bench(disturbed=[7], again=[4], alone=True) | {"claims": CLAIMS}
    return page_of(facts, tmp_path_factory.mktemp("bench"))


def test_the_sections_stand_in_their_order(page: Parsed) -> None:
    before, after = ORDER[:7], ORDER[7:]

    assert [*before, "claims", *after] == [section.attributes["id"] for section in page.all("section")]


def test_every_link_inside_the_page_leads_somewhere(page: Parsed) -> None:
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    references = set(re.findall(r'(?:href="|url\()#([^")]+)', page.source))

    assert len(set(ids)) == len(ids)
    assert set(ids) >= references >= {*ORDER, "claims", "content"}


def test_the_page_needs_nothing_but_itself(page: Parsed) -> None:
    policy = next(one for one in page.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")

    assert POLICY == policy.attributes["content"]
    assert [] == page.all("script", "link", "iframe", "img", "form")
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert_harmless(page)


def test_the_verdict_is_three_sentences_with_the_winner_why_and_what_to_do(page: Parsed) -> None:
    verdict = words(page, "verdict")

    first = r"Which mode wins thread\+thread wins: × \d\.\d\d \(.*faster in 10 of 10 rounds, as predicted"
    assert re.match(first, verdict)
    assert "waiting for the network, where thread+thread lets 2 threads wait at once" in verdict
    assert "so threads can compute side by side on 2 cores" in verdict
    assert 'What to do Set transform.mode = "thread"; to be sure, repeat it' in verdict


def test_the_page_begins_with_how_fast_each_mode_of_each_stage_was(page: Parsed) -> None:
    told = words(page, "rates")

    assert page.source.index('id="rates"') < page.source.index('id="verdict"') < page.source.index("<table")
    assert "download, images per second thread is best, 1.5" in told
    assert "threads: 80% of a download is waiting" not in told
    assert "transform, images per second thread is best" in told
    assert "threads: only 3% of the CPU holds the GIL" in told
    assert 3 == words(page, "rates-download-desc").count(" measured")


def test_a_bench_of_one_mode_begins_without_such_a_chart(tmp_path: Path) -> None:
    assert 'id="rates"' not in page_of(a_bench(["thread"]), tmp_path).source


def test_each_cell_of_the_heat_map_has_speed_interval_and_verdict_in_words(page: Parsed) -> None:
    found = cells(page)

    assert 18 == len(found)  # nine pairs, against the baseline and against the favourite
    assert 2 == sum("reference" in cell for cell in found)
    proven = [cell for cell in found if "reference" not in cell]
    assert all(re.fullmatch(r"× \d\.\d\d \d\.\d\d to \d\.\d\d (▲ faster|▼ slower)", cell) for cell in proven)
    assert 8 == sum("faster" in cell for cell in found) == sum("slower" in cell for cell in found)


def test_every_round_is_drawn_and_what_became_of_it_is_told_by_shape(page: Parsed) -> None:
    drawing = page.source[page.source.index('id="points-0-wide-title"') :].partition("</svg>")[0]
    marks = re.findall(r'<path d="M[\d.]+ [\d.]+(m[^"]+)', drawing)

    # 8 cases and the baseline again: 9 quiet rounds, 1 disturbed, 1 set aside, a median, and an interval's two ends
    assert [9, 9, 9, 81] == sorted(marks.count(mark) for mark in set(marks))
    assert 18 == drawing.count("v8")
    assert "set aside and run again" in words(page, "points")


def test_accounts_share_one_scale_and_one_numbering(page: Parsed) -> None:
    text = words(page, "accounts")

    assert {"accounts-download-title", "accounts-transform-title"} <= {
        one.attributes.get("id") for one in page.elements
    }
    assert "1computing 2waiting for the network 3idle: nothing to work on 4starting up" in text
    assert "in serial+serial 50% is computing" in text
    assert "−1 ms" in text  # a remainder below zero is told as it is


def test_predictions_stand_beside_what_was_measured(page: Parsed) -> None:
    text = words(page, "forecast")

    assert "8 of 8 predictions within 10%" in text
    assert "The predicted winner was thread+thread, which also had the fastest median." in text
    assert "All 2 cores are busy." in text


def test_the_honesty_panel_counts_noise_rounds_and_disturbances(page: Parsed) -> None:
    text = words(page, "trust")

    assert "4 of 5 self-checks passed, 1 failed, 0 could not be made." in text
    assert "2 of the 11 made were disturbed, 1 run again" in text
    assert "round 4, attempt 1 other programs used 40.0% of the CPU" in text
    assert "round 7, attempt 1" in text
    assert "covers 97.9%" in text


def test_every_comparison_is_in_the_table_with_its_adjusted_p(page: Parsed) -> None:
    pair = re.compile(r"\w against (serial|thread|process|download|transform)")
    rows = [one for one in page.all("tr") if pair.search(one.text)]

    assert 8 + 7 + 3 + 3 == len(rows)
    assert all("10 of 10" in row.text or "0 of 10" in row.text or "undecided" in row.text for row in rows)
    assert "0.002 0.041 ▲ faster" in " ".join(rows[0].text.split())


def test_claims_have_verdict_numbers_and_meaning(page: Parsed) -> None:
    text = words(page, "claims")

    assert "1 · statement 1 ✓ holds threads 8 gain, 20 ms latency × 7.10 (× 7.00 to × 7.40)" in text
    assert "process pss bytes 7.2 MB per worker It matters." in text
    signs = [one.text for one in page.all("td") if one.attributes.get("class", "").startswith("mark")]
    assert ["✓ holds", "◐ holds here, not there", "✗ refuted", "? not measured"] == signs[:4]


def test_a_bench_without_claims_has_no_such_section(tmp_path: Path) -> None:
    page = page_of(a_bench(["thread+thread"]), tmp_path)

    assert ORDER == [section.attributes["id"] for section in page.all("section")]
    assert "#claims" not in page.source


def test_experiments_alone_have_claims_and_no_empty_sections(tmp_path: Path) -> None:
    whole = a_bench(["thread+thread"])
    facts = {key: whole[key] for key in ("schema", "version", "job", "started", "host", "config", "ended", "complete")}
    facts |= {"rounds": [], "cases": [], "comparisons": [], "predictions": [], "notes": [], "claims": CLAIMS}
    facts["experiments"] = tables.as_json({"memory": tables.memory()}, 0.5)

    page = page_of(facts, tmp_path)

    assert ["causes", "claims", "trust", "provenance"] == [section.attributes["id"] for section in page.all("section")]
    told = "Of 4 claims of the textbook 1 hold, 1 hold in part, 1 are refuted, 1 were not measured"
    assert told in words(page, "verdict")
    assert "What of memory?" in words(page, "causes")


def test_experiments_stand_with_their_charts_and_in_the_honesty_panel(tmp_path: Path) -> None:
    made = tables.as_json(tables.all_of_them())
    made[0]["others_cpu_share"] = 0.4

    page = page_of(a_bench(["thread"]) | {"experiments": made}, tmp_path)

    assert 7 == page.source.count("<summary>The figures</summary>")
    assert "in 1 of 7 experiments other programs used more than 10% of the CPU, at most 40%; 2 rounds made again" in (
        words(page, "trust")
    )
    assert "other programs 1%, the hypervisor 0% of the CPU in the worst run" in words(page, "trust")


def test_a_bench_without_experiments_says_that_causes_were_not_measured(page: Parsed) -> None:
    assert "Not measured: this bench was made without experiments." in words(page, "causes")


def test_a_speed_is_told_in_one_direction_everywhere(tmp_path: Path) -> None:
    facts = a_bench(["thread"])
    facts["noise_floor"] |= {"ratio": 0.8, "interval": [0.5, 1.25]}
    facts["predictions"][1]["error"] = 0.25

    page = page_of(facts, tmp_path)

    assert "has × 1.25 (0.80 to 2.00) the speed of the other" in words(page, "trust")
    assert "−20%" in words(page, "forecast")  # a time that is 25% too long is a speed that is 20% too low
    assert "of the time" not in words(page, "trust").replace("of the time is", "")


def test_each_stage_has_a_roofline_of_its_modes_and_workers(page: Parsed) -> None:
    text = words(page, "workers")

    assert "Whole runs by the mode and workers of download, transform in thread mode: " in text
    assert "Lowest ceiling of the best: " in text
    assert {"roof-download-title", "roof-transform-title"} <= {one.attributes.get("id") for one in page.elements}


def test_a_single_case_has_a_page(tmp_path: Path) -> None:
    page = page_of(a_bench(["serial"], favourite=""), tmp_path)

    assert "Nothing was compared: serial+serial is the only case." in words(page, "verdict")
    assert ["× 1 by definition reference"] == cells(page)
    assert "Unknown: nothing has been compared." in words(page, "comparisons")


def test_36_cases_stay_small_and_are_swept_with_ceilings(tmp_path: Path) -> None:
    vary = {"transform.workers": [1, 2, 3, 4], "download.workers": [4, 8]}
    facts = a_bench(vary=vary, favourite="thread+thread transform.workers=2 download.workers=8")

    page = page_of(facts, tmp_path)

    assert 36 <= len(facts["cases"])
    assert len(page.source.encode()) < BENCH_PAGE_BYTES
    assert 12 == page.source.count('<table class="heat">')
    assert "more maps left out" in words(page, "modes")
    assert "Lowest ceiling there: " in words(page, "workers")
    assert "workers of transform" in words(page, "workers")


def test_a_bench_that_did_not_vary_says_how_to(tmp_path: Path) -> None:
    page = page_of(a_bench(["thread+thread"]), tmp_path)

    told = "nothing was measured: each of the 2 cases ran with one number of workers. [bench] vary"
    assert told in words(page, "workers")


def test_few_rounds_are_called_undecided_with_the_number_that_could_decide(tmp_path: Path) -> None:
    page = page_of(a_bench(rounds=5, disturbed=range(1, 6)), tmp_path)

    verdict = words(page, "verdict")
    assert "Undecided: thread+thread has the fastest median" in verdict
    assert "5 rounds can prove no win in 15 comparisons: it takes at least 10." in verdict
    assert "run the bench again without --quick, on a machine with nothing else to do (5 of 5 rounds" in verdict
    assert {"no interval"} == {cell[7:18] for cell in cells(page) if "reference" not in cell}
    assert "faster" not in " ".join(cells(page))


def test_ties_name_the_lightest(tmp_path: Path) -> None:
    facts = a_bench(["serial", "thread"])
    facts["winner"] |= {"case": "thread+serial", "beats": ["serial+serial"], "ties": ["thread+thread"]}
    facts["winner"] |= {"not_told_apart": ["serial+thread"], "predicted": False}

    verdict = words(page_of(facts, tmp_path), "verdict")

    assert "thread+serial wins:" in verdict
    assert "as fast as thread+thread, but not heavier; not told apart from serial+thread." in verdict
    assert 'Set transform.mode = "serial".' in verdict


def drop_rounds(facts: dict[str, Any]) -> None:
    """As it is saved when it is stopped in its warm-up."""
    for key in ("noise_floor", "contamination", "winner", "outputs", "ended"):
        facts.pop(key)
    facts |= {"rounds": [], "cases": [], "comparisons": [], "complete": False, "claims": []}


def drop_calibration(facts: dict[str, Any]) -> None:
    facts |= {"calibration": None, "favourite": ""}
    names = ("rate_per_second", "seconds", "ratio", "low", "high", "bound", "error")
    facts["predictions"] = [row | dict.fromkeys(names) for row in facts["predictions"]]


def drop_what_is_not_linux(facts: dict[str, Any]) -> None:
    for case in facts["cases"]:
        case["memory"] = {"peak_pss_bytes": None, "per_worker_pss_bytes": None}
        case["startup_seconds"] = None
        for stage in case["stages"].values():
            stage |= {"cpu_per_item_seconds": None, "startup_per_worker_seconds": None, "account": {"blocked": 1.0}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop_rounds, ["Unknown: no round is complete yet", "interrupted: the same command continues it"]),
        (drop_calibration, ["nothing was predicted", "The ceilings are unknown", "prediction error unknown"]),
        (drop_what_is_not_linux, ["does not tell PSS", "blocked, cause unknown"]),
    ],
    ids=["no rounds", "no calibration", "no Linux"],
)
def test_what_is_missing_is_unknown(tmp_path: Path, change: Callable[[dict[str, Any]], None], told: list[str]) -> None:
    facts = a_bench(["thread", "process"])
    change(facts)

    page = page_of(facts, tmp_path)

    text = " ".join(page.text.split())
    assert [] == [one for one in told if one not in text]
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_hostile_texts_stay_text_wherever_they_come_from(tmp_path: Path) -> None:
    nasty = f"{MARKUP}{ESCAPE}{BIDI} http://u:hunter2@h.test/?sig=SECRETVALUE $x^2$ \u4e2d {'long ' * 60}"
    facts = a_bench(["thread+thread"], vary={"download.user_agent": ["plain", nasty]})
    number = {"name": nasty, "value": 1, "unit": nasty, "x": nasty, "x_unit": nasty}
    facts["claims"] = [{"id": 1, "statement": nasty, "verdict": "holds", "meaning": nasty, "numbers": [number]}]
    facts["claims"].append(facts["claims"][0] | {"id": nasty})
    strange = replace(tables.memory(), x=nasty, x_unit=nasty, y=nasty, facts={nasty: 1.0}, series=(
        measured(nasty, nasty, {nasty: [1.0, 2.0]}), computed(nasty, nasty, {nasty: 1.0})
    ))  # fmt: skip
    curve = replace(tables.payload(), x=nasty, x_unit=nasty, y=nasty, series=(
        measured(nasty, nasty, {1.0: [1.0, 2.0], 2.0: [3.0]}), computed(nasty, nasty, {1.0: 1.0})
    ), crossings=(Crossing(first=nasty, second=nasty, measured=(1.5,)),))  # fmt: skip
    made = tables.as_json({nasty: strange, "curve": curve})
    facts["experiments"] = [{**one, "question": nasty} for one in made]
    facts["experiments"].append({**made[0], "table": None, "failure": nasty})
    facts |= {"job": nasty, "started": nasty, "notes": [nasty], "fingerprint": nasty}
    facts["material"]["text"] = facts["calibration"]["text"] = facts["makespan"]["because"] = nasty
    facts["contamination"]["text"] = nasty
    facts["predictions"][0]["because"] = nasty
    facts["host"]["name"] = nasty
    facts["config"]["job"] = {"input": nasty}
    facts["cases"][0]["stages"]["download"]["account"][nasty] = 9.0

    page = page_of(facts, tmp_path)

    assert_harmless(page)
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "\\x1b[2Jgone" in page.text


def test_the_same_facts_give_the_same_page(tmp_path: Path) -> None:
    facts = a_bench(["thread"])

    assert page_of(facts, tmp_path).source == page_of(facts, tmp_path).source
