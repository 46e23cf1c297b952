"""What strangers put into URLs, headers and names stays text, on one line, without secrets."""

import json
from itertools import cycle
from typing import Any

import pytest

from batchproc.report.items_view import host_of, link_to
from tests.report.folder import Job, Parsed

MARKUP = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
BIDI = "cod\u202eexe.gpj"
ESCAPE = "\x1b[2Jgone"
URLS = [
    "javascript:alert(1)//http://h.test/",
    "data:text/html,<script>alert(1)</script>",
    'http://h.test/"onmouseover="alert(1)',
    "http://user:hunter2@h.test/a.jpg?token=SECRETVALUE&w=1",
    "http://h.test/" + BIDI,
    "http://h.test/" + ESCAPE,
    "http://h.test/\ud800.jpg",
    "http://[broken/a.jpg",
    " http://h.test/a.jpg",
    "vbscript:x",
    "http://h.test/" + "a" * 200_000,
    "a" * 200_000 + "://h",
]


def name_of(url: str) -> str:
    return ascii(url[:40])


def failure(url: str, **changes: object) -> dict[str, object]:
    row = {"url": url, "line": 1, "key": "00" * 16, "stage": "download", "outcome": "failed", "code": "http.404",
           "message": "no", "hint": "", "attempts": 1}  # fmt: skip
    return row | changes


def assert_harmless(page: Parsed) -> None:
    assert [] == page.all("script", "iframe", "object", "embed", "form")
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")], element
        assert element.attributes.get("href", "#").startswith(("#", "http://", "https://"))
        assert element.attributes.get("src", "data:image/jpeg;").startswith("data:image/jpeg;")
    assert not set(page.source) & set("\x00\x07\x1b\x7f\u202e\u2066\u2028\ud800")
    for secret in ("SECRETVALUE", "hunter2"):
        assert secret not in page.source


def test_hostile_urls_are_shown_and_do_no_harm(job: Job) -> None:
    keys = [json.loads(line)["key"] for line in (job.run / "spans.jsonl").read_text().splitlines()]
    codes = [f"http.4{at:02}" for at in range(len(URLS))]
    job.change(lambda facts: facts.update(failures=dict.fromkeys(codes, 1)))
    job.write_rows("failures.jsonl", [failure(url, code=code) for url, code in zip(URLS, codes, strict=True)])
    job.write_rows("metadata.jsonl", [{"url": url, "key": key} for url, key in zip(cycle(URLS), keys, strict=False)])

    page = job.page()

    assert_harmless(page)
    assert [] == [code for code in codes if code not in page.by_id("failures").text]
    assert len(page.source) < 600_000


def test_hostile_texts_stay_text_wherever_they_come_from(job: Job) -> None:
    nasty = f"{MARKUP}{ESCAPE}{BIDI} http://u:hunter2@h.test/?sig=SECRETVALUE $x^2$ \u4e2d"

    def spoil(facts: dict[str, Any]) -> None:
        facts["job"] = facts["run_id"] = facts["started"] = nasty
        facts["verdict"] = [nasty] * 3
        facts["failures"] = {nasty: 3}
        facts["failures_this_run"] = {nasty: 3}
        facts["hints"] = [{"text": nasty, "evidence": nasty, "gain": 1.5}]
        facts["host"] |= {"name": nasty, "libraries": {nasty: nasty}}
        facts["config"]["job"]["input"] = nasty
        facts["samples"] = {"unknown": nasty}
        facts["checks"] = [{"name": nasty, "value": 1, "limit": 1, "passed": True, "text": nasty}]
        facts["stages"]["download"]["account_notes"] = [nasty]
        facts["stages"]["download"]["parts"] = {nasty: 1.0}
        facts["stages"]["download"]["connections"]["hosts"] = [{"host": nasty, "opened": 1}]
        facts["ceilings"] = {"download": [{"name": nasty, "rate_per_second": 9.0, "binds": True, "because": nasty}]}
        facts["measured_rate_per_second"] = {"download": 5.0}

    job.change(spoil)
    span = {"stage": "download", "worker": nasty, "enqueued": 0, "started": 0, "ended": 1, "parts": {}}
    line = {"index": 0, "key": nasty, "outcome": nasty, "code": nasty, "spans": [span]}
    (job.run / "spans.jsonl").write_text(json.dumps(line) + "\n")
    job.write_rows("failures.jsonl", [failure(nasty, code=nasty, message=nasty, hint=nasty)])

    page = job.page()

    assert_harmless(page)
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "\\x1b[2Jgone" in page.text
    assert "\\u202e" in page.text


@pytest.mark.parametrize("url", ["http://h.test/a.jpg", "HTTPS://h.test/?w=1"])
def test_a_harmless_url_can_be_clicked(url: str) -> None:
    link = link_to(url)

    assert (url, url) == (link.text, link.href)


@pytest.mark.parametrize("url", [url for url in URLS if "onmouseover" not in url and "[broken" not in url], ids=name_of)
def test_a_hostile_url_cannot_be_clicked(url: str) -> None:
    assert "" == link_to(url).href


def test_a_url_without_a_host_is_counted_as_such() -> None:
    assert "no host" == host_of("http://[broken/") == host_of("javascript:x") == host_of(None)
    assert "this machine" == host_of("file:///srv/a.jpg")


def test_broken_lines_cost_nothing_but_themselves(job: Job) -> None:
    with (job.output / "failures.jsonl").open("ab") as file:
        file.write(b'{"url": "http://half\n[1, 2]\n\xff\xfe\n')
    with (job.run / "spans.jsonl").open("ab") as file:
        file.write(b'{"index": 3, "spa')

    assert "http.404" in job.page().by_id("failures").text


def test_a_file_in_the_gallery_that_is_no_jpeg_is_passed_over(job: Job) -> None:
    first, second, _third, *rest = sorted((job.run / "gallery").glob("*-before.jpg"))
    for path in rest:
        path.unlink()
    first.write_bytes(b"<svg onload=alert(1)>")
    second.rename(job.output / "elsewhere.jpg")
    second.symlink_to(job.output / "elsewhere.jpg")

    assert 2 == len(job.page().all("img"))
