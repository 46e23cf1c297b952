"""The page's structure: what is on it, in which order, and that it needs nothing but itself."""

import re
import shutil
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchproc.explain.findings import explain
from batchproc.explain.words import CATEGORIES, seconds
from batchproc.record.run_json import read_run, record_of, write_text
from batchproc.report.html import make_report
from batchproc.report.run_charts import account_parts
from batchproc.report.svg import css_reference, role_of
from tests.explain.runs import cpu_bound
from tests.report.folder import Job, Parsed

ORDER = ["account", "ceilings", "timeline", "series", "data-set", "failures", "hosts", "slowest", "gallery", "trust",
         "provenance"]  # fmt: skip
CHARTS = {"account-download", "account-transform", "ceilings-download", "ceilings-transform", "timeline-wide",
          "timeline-narrow"}  # fmt: skip
STYLE = resources.files("batchproc.report").joinpath("page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"(--[a-z-]+):(#[0-9a-f]{6});", theme))
               for theme in STYLE.partition("@media print")[0].split("@media screen"))  # fmt: skip
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    copy = tmp_path_factory.mktemp("page") / "job"
    return Job(Path(shutil.copytree(finished, copy, symlinks=True))).page()


def test_the_sections_stand_in_the_agreed_order(page: Parsed) -> None:
    assert ORDER == [section.attributes["id"] for section in page.all("section")]
    assert page.source.index('id="verdict"') < page.source.index('id="account"')


@pytest.fixture
def judged(job: Job) -> Job:
    """A job whose last run did enough to be judged."""
    (job.run / "run.json").write_bytes(write_text(replace(explain(record_of(cpu_bound())), images_per_second=79.3)))
    return job


def test_the_page_begins_with_a_chart_of_the_modes_of_each_stage(judged: Job) -> None:
    page = judged.page()

    assert 0 < page.source.index('id="rates"') < page.source.index('id="verdict"') < page.source.index("<table")
    text = page.by_id("rates-download-desc").text
    assert text.startswith("download, images per second: serial 12.5 (11.2 to 13.7) predicted; ")
    assert "thread (used, best) 79.3 measured" in text
    assert "process (used) 79.3 measured" in page.by_id("rates-transform-desc").text
    assert "threads: 99% of a download is waiting" in page.by_id("rates").text


def test_spare_threads_and_a_silent_host_are_one_phrase(job: Job) -> None:
    job.change(lambda facts: facts["stages"]["download"].update(spare_workers=0))
    before = job.page().text
    job.change(lambda facts: facts["stages"]["download"].update(spare_workers=1))

    assert "silent" not in before
    assert "4 threads; 1 spare thread went on while a host was silent" in " ".join(job.page().text.split())


def test_a_check_that_failed_says_what_that_means_for_the_verdict(job: Job) -> None:
    check = {"name": "remainder.transform", "value": 0.08, "limit": 0.05, "passed": False, "text": "8% unexplained"}
    job.change(lambda facts: facts["checks"].append(check))

    assert "8% unexplained, so this stage's mode is not judged" in job.page().by_id("trust").text


def test_a_run_too_small_to_be_judged_has_no_such_chart(page: Parsed) -> None:
    assert 'id="rates"' not in page.source
    assert "too few to compare" in page.by_id("verdict").text


def test_the_verdict_is_three_sentences(page: Parsed) -> None:
    verdict = page.by_id("verdict").text

    assert 3 == len(re.findall(r"What held it back|Were the modes right|What to change next", verdict))


def test_every_link_inside_the_page_leads_somewhere(page: Parsed) -> None:
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    references = re.findall(r'(?:href="|url\()#([^")]+)', page.source)

    assert len(set(ids)) == len(ids)
    assert set(ids) >= set(references)
    assert set(ORDER) | {"content"} <= set(references)


def test_the_page_needs_nothing_but_itself(page: Parsed) -> None:
    policy = next(one for one in page.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")

    assert POLICY == policy.attributes["content"]
    assert [] == page.all("script", "link", "iframe", "object", "embed", "base", "form", "image", "foreignobject")
    assert all(image.attributes["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert {"a", "use"} >= {one.tag for one in page.elements if "href" in one.attributes}
    assert all(one.attributes["href"].startswith(("#", "http://", "https://")) for one in page.all("a", "use"))


def test_there_are_landmarks_and_a_skip_link(page: Parsed) -> None:
    assert [1, 1, 1, 1] == [len(page.all(tag)) for tag in ("header", "nav", "main", "footer")]
    assert "#content" == page.all("a")[0].attributes["href"]
    assert "en" == page.all("html")[0].attributes["lang"]


def test_headings_do_not_skip_a_level(page: Parsed) -> None:
    levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4", "h5", "h6")]

    assert 1 == levels.count(1) == levels[0]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_every_chart_has_a_title_and_a_sentence(page: Parsed) -> None:
    charts = page.all("svg")
    names = {chart.attributes["aria-labelledby"].split()[0].removesuffix("-title") for chart in charts}

    assert CHARTS <= names
    for chart in charts:
        title, sentence = (page.by_id(name).text for name in chart.attributes["aria-labelledby"].split())
        assert "img" == chart.attributes["role"]
        assert title
        assert re.search(r"\d|nknown", sentence), sentence
        assert "viewBox" in chart.attributes or "viewbox" in chart.attributes


def test_pictures_and_tables_can_be_heard(page: Parsed) -> None:
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.attributes.get("scope") in ("row", "col") for head in page.all("th"))


def test_no_colour_of_the_charts_is_fixed(page: Parsed) -> None:
    body = page.source.split("</style>")[1]

    assert [] == re.findall(r"#[0-9a-fA-F]{6}\b", body.split('id="gallery"')[0])
    assert LIGHT.keys() >= set(re.findall(r"var\((--[^)]*)\)", body))
    assert LIGHT.keys() == DARK.keys()


def test_the_rows_of_an_account_sum_to_the_whole(job: Job) -> None:
    for stage in read_run(job.run).stages.values():
        rows, small = account_parts(stage)
        told, whole = sum(row.seconds for row in rows), stage.whole_seconds
        tiny = 0.0005 * whole * (small.count(";") + 1) if small else 0.0

        assert abs(whole - told) <= tiny + 1e-9
        assert [*range(1, len(rows) + 1)] == [row.number for row in rows]


def test_the_figures_of_run_json_are_on_the_page(job: Job) -> None:
    facts = job.facts
    text = job.page().text

    assert f"{facts['counts']['done']:,} done" in text
    assert seconds(facts["line_seconds"]) in text
    assert seconds(facts["stages"]["transform"]["service_seconds"]["p95"]) in text
    for code, number in facts["failures"].items():
        assert re.search(rf"{re.escape(code)} +{number} items? in the list", " ".join(text.split()))
    for sentence in facts["verdict"]:
        assert sentence[1:] in text


def test_it_is_told_how_many_connections_were_opened_and_used_again(job: Job) -> None:
    told = job.facts["stages"]["download"]["connections"]
    text = " ".join(job.page().by_id("hosts").text.split())

    assert f"Downloads opened {told['opened']} connection" in text
    assert f"used them again {told['reused']} time" in text
    assert f"{told['hosts'][0]['host']} {told['opened']} {told['reused']} {told['dropped']}" in text


def test_a_run_of_an_earlier_version_has_no_connections_to_tell_of(job: Job) -> None:
    job.change(lambda facts: facts["stages"]["download"].pop("connections"))

    assert "Connections of this run" not in job.page().by_id("hosts").text


def test_the_same_files_give_the_same_page(job: Job) -> None:
    first = make_report(job.output).read_bytes()

    assert first == make_report(job.run).read_bytes()


def test_the_gallery_shows_pairs_of_this_run(page: Parsed) -> None:
    pictures = page.all("img")

    assert len(pictures) >= 2
    assert 0 == len(pictures) % 2
    assert pictures[0].attributes["alt"].endswith("/img/0000.webp, before") or "before" in pictures[0].attributes["alt"]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_can_be_read(theme: dict[str, str]) -> None:
    page, panel, on_fill, ink = (theme[name] for name in ("--page", "--panel", "--on-fill", "--ink"))
    fills = set(map(role_of, CATEGORIES)) - {"unstaffed"}

    for role in ("ink", "quiet", "link", "good", "bad", "unknown"):
        colour = theme[f"--{role}"]
        assert contrast(colour, page) >= 4.5, role
        assert contrast(colour, panel) >= 4.5, role
    for role in sorted(fills):
        colour = theme[css_reference(role)[4:-1]]
        assert contrast(colour, on_fill) >= 4.5, role
        assert contrast(colour, page) >= 3, role
    assert contrast(theme["--unstaffed"], ink) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours `#rrggbb`, 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_category_of_time_has_a_colour_of_the_palette() -> None:
    assert {"cpu", "gil_held", "blocked"} <= set(map(role_of, CATEGORIES))
    assert LIGHT.keys() >= {css_reference(role_of(one))[4:-1] for one in CATEGORIES}
    assert "unexplained" == role_of("of a later version")
