"""The page in a real browser: both themes, a desk and a phone."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchproc.explain.findings import explain
from batchproc.record.run_json import read_run, record_of, write_text
from batchproc.report.html import make_report
from tests.explain.runs import cpu_bound
from tests.report.browser import Browser, find_chromium

pytestmark = pytest.mark.browser
AXE = "axe-core@4.14.1"
LOOKS = [(1280, False), (1280, True), (390, False), (390, True)]
NAMES = ["wide-light", "wide-dark", "phone-light", "phone-dark"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from the npm registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=60)
    archives = [*folder.glob("*.tgz")]
    if done.returncode or not archives:
        pytest.skip(f"axe-core cannot be had: {done.stderr.strip()[:200]}")
    with tarfile.open(archives[0]) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run's page, with the chart of its modes that a longer run would have."""
    copy = Path(shutil.copytree(finished, tmp_path_factory.mktemp("page") / "job", symlinks=True))
    folder = (copy / "latest").resolve()
    choices = explain(record_of(cpu_bound())).choices
    (folder / "run.json").write_bytes(write_text(replace(read_run(folder), choices=choices)))
    return make_report(copy)


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=NAMES)
def test_the_page_is_shown_without_a_complaint_or_a_request(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)

    assert [] == browser.complaints()
    assert [page.as_uri()] == [url for url in browser.requested() if not url.startswith("data:")]


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=NAMES)
def test_nothing_sticks_out_of_the_window(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)

    assert width >= browser.evaluate("document.documentElement.scrollWidth")
    beyond = f"[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > {width + 1}"
    allowed = " && !e.closest('.scroll, pre')).map(e => e.tagName + ': ' + e.textContent.slice(0, 40))"
    assert [] == browser.evaluate(beyond + allowed)


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=NAMES)
def test_the_theme_reaches_the_charts(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)

    ink = browser.evaluate("getComputedStyle(document.querySelector('#timeline svg text')).fill")
    is_bright = max(map(int, ink.removeprefix("rgb(").removesuffix(")").split(","))) > 128
    seen = "[...document.querySelectorAll('svg')].filter(e => e.checkVisibility())"
    assert dark == is_bright
    assert 2 == browser.evaluate(f"{seen}.filter(e => e.closest('#rates')).length")
    assert 1 == browser.evaluate(f"{seen}.filter(e => e.closest('#timeline')).length")
    assert min(browser.evaluate(f"{seen}.map(e => e.getScreenCTM().a)")) > 0.85  # text of 11.5 px stays above 9.7


@pytest.mark.parametrize(("width", "dark"), LOOKS, ids=NAMES)
def test_axe_finds_nothing(browser: Browser, page: Path, axe: str, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    browser.evaluate(f"{axe}; 1")

    found = browser.evaluate(
        "axe.run().then(r => [r.passes.map(p => p.id), r.violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)])])"
    )

    passed, violations = found
    assert [] == violations
    assert {"color-contrast", "image-alt", "svg-img-alt", "landmark-one-main", "region", "skip-link"} <= set(passed)


def test_the_page_can_be_printed(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, width=1280, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")

    assert "rgb(255, 255, 255)" == browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert "none" == browser.evaluate("getComputedStyle(document.querySelector('nav')).display")
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.print_pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
