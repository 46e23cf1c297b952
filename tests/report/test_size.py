"""However large the job was, the page is small, and what it takes from samples it calls so."""

import json
import random
from pathlib import Path

from PIL import Image

from batchproc.report.html import PAGE_BYTES, figure_of, make_report, read_gallery
from tests.report.folder import Job, parse

ITEMS = 100_000


def noise(path: Path, seed: int) -> None:
    """A JPEG that compresses badly, about 40 KB."""
    picture = Image.frombytes("RGB", (256, 256), random.Random(seed).randbytes(3 * 256 * 256))
    picture.save(path, "JPEG", quality=75)


def span_line(number: int) -> str:
    start = number / 1000
    span = {"stage": "download", "worker": f"download-{number % 300}", "enqueued": start, "started": start,
            "ended": start + 0.2, "parts": {}}  # fmt: skip
    other = {**span, "stage": "transform", "worker": f"transform-{number % 64}"}
    outcome = "failed" if number % 3 == 0 else "done"
    return json.dumps({"index": number, "key": f"{number:032x}", "outcome": outcome, "spans": [span, other]}) + "\n"


def fill(job: Job) -> None:
    job.change(lambda facts: facts["counts"].update(items=ITEMS, done=ITEMS - 40, failed=40))
    job.change(lambda facts: facts["stages"]["download"].update(tasks=ITEMS, workers=300))
    job.change(lambda facts: facts["failures"].update({f"http.{code}": 1 for code in range(400, 600)}))
    with (job.run / "spans.jsonl").open("w") as file:
        file.writelines(map(span_line, range(20_000)))
    with (job.output / "metadata.jsonl").open("w") as file:
        for number in range(ITEMS):
            url = f"http://host-{number % 5000}.test/{'long/' * 20}{number}.jpg"
            file.write(json.dumps({"url": url, "key": f"{number:032x}"}) + "\n")
    for number in range(24):
        for word in ("before", "after"):
            noise(job.run / f"gallery/{number:032x}-{word}.jpg", number)


def test_a_page_of_100_000_items_stays_under_its_bound(job: Job) -> None:
    fill(job)

    made = make_report(job.output)

    page = parse(made.read_text())
    assert made.stat().st_size < PAGE_BYTES
    assert 20 == page.by_id("hosts").text.count("host-")
    assert "% of the lists" in page.by_id("hosts").text
    assert "workers are shown" in page.by_id("timeline").text
    assert "a gap need not be idle time" in page.by_id("timeline").text
    assert "more codes" in page.by_id("failures").text
    assert page.all("img")


def test_a_gallery_that_is_too_large_is_made_smaller_then_fewer(tmp_path: Path) -> None:
    for number in range(6):
        for word in ("before", "after"):
            noise(tmp_path / f"{number:032x}-{word}.jpg", number)

    whole = read_gallery(tmp_path, most=6, budget_bytes=10_000_000)
    smaller = read_gallery(tmp_path, most=6, budget_bytes=300_000)
    fewer = read_gallery(tmp_path, most=6, budget_bytes=60_000)

    assert [256] * 6 == [figure_of(pair.before)["width"] for pair in whole]
    assert [160] * 6 == [figure_of(pair.before)["width"] for pair in smaller]
    assert 1 <= len(fewer) < 6
    assert sum(len(str(figure_of(jpeg)["src"])) for pair in fewer for jpeg in (pair.before, pair.after)) <= 60_000


def test_the_pictures_shown_are_spread_over_those_there_are(tmp_path: Path) -> None:
    for number in range(10):
        for word in ("before", "after"):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{number:032x}-{word}.jpg")

    shown = read_gallery(tmp_path, most=5, budget_bytes=1_000_000)

    assert [0, 2, 4, 6, 8] == [int(pair.key, 16) for pair in shown]
