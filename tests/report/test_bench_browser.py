"""The page of a bench in a real browser: both themes, a desk and a phone."""

from pathlib import Path

import pytest

from tests.lab import tables
from tests.report.bench_folder import a_bench, page_of
from tests.report.browser import Browser
from tests.report.test_bench_page import CLAIMS
from tests.report.test_browser import LOOKS, NAMES, axe, browser  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proven and unproven cells, disturbed rounds, a sweep, claims."""
    folder = tmp_path_factory.mktemp("bench")
    facts = a_bench(
        vary={"transform.workers": [1, 2]},
        disturbed=[7],
        again=[4],
        alone=True,
        favourite="thread+thread transform.workers=2",
    )
    for one, verdict in zip(facts["comparisons"], ("tie", "undecided"), strict=False):
        one |= {"verdict": verdict, "winner": ""}
    page_of(facts | {"claims": CLAIMS, "experiments": tables.as_json(tables.all_of_them())}, folder)
    return folder / "report.html"


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=NAMES)
def test_the_page_of_a_bench_is_whole_in_a_browser(
    browser: Browser,  # noqa: F811
    axe: str,  # noqa: F811
    page: Path,
    width: int,
    dark: bool,
) -> None:
    browser.open(page, width=width, dark=dark)
    assert [] == browser.complaints()
    assert [page.as_uri()] == browser.requested()
    assert width >= browser.evaluate("document.documentElement.scrollWidth")
    seen = "[...document.querySelectorAll('svg')].filter(e => e.checkVisibility())"
    assert 3 == browser.evaluate(f"{seen}.filter(e => e.closest('#points')).length")  # one width of each
    assert 7 == browser.evaluate(f"{seen}.filter(e => e.closest('#causes')).length")
    assert min(browser.evaluate(f"{seen}.map(e => e.getScreenCTM().a)")) > 0.85

    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    browser.evaluate(f"{axe}; 1")
    passed, violations = browser.evaluate(
        "axe.run().then(r => [r.passes.map(p => p.id), r.violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)])])"
    )

    assert [] == violations
    assert {"color-contrast", "svg-img-alt", "landmark-one-main", "region"} <= set(passed)
    assert width >= browser.evaluate("document.documentElement.scrollWidth")  # with all details open


def test_the_heat_map_is_tinted_and_its_text_stays_readable_when_printed(browser: Browser, page: Path) -> None:  # noqa: F811
    browser.open(page, width=1280, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")

    grounds = browser.evaluate(
        "[...new Set([...document.querySelectorAll('.heat td')].map(e => getComputedStyle(e).backgroundColor))]"
    )
    ink = browser.evaluate("getComputedStyle(document.querySelector('.heat td')).color")
    browser.call("Emulation.setEmulatedMedia", media="")

    assert len(grounds) > 4
    assert "rgb(22, 24, 29)" == ink
