"""What is not known is called unknown, never zero; and what was not done is not told."""

import shutil
from typing import Any

import pytest

from tests.report.folder import Job


def drop_what_is_not_linux(facts: dict[str, Any]) -> None:
    """A run.json as a machine gives it that tells neither PSS nor run queue nor the GIL."""
    facts["memory"] = {"peak_pss_bytes": None, "peak_uss_bytes": None, "per_worker_pss_bytes": None}
    facts["samples"] = {"unknown": "the sampler did not start"}
    facts["startup_seconds"] = None
    for check in facts["checks"]:
        check |= {"value": None, "passed": None, "text": "not known: the system does not tell"}
    for stage in facts["stages"].values():
        account = stage["account"]
        blocked = account.pop("gil_wait", 0.0) + account.pop("disk_or_lock", 0.0) + account.pop("run_queue", 0.0)
        stage |= {"gil_method": "unknown", "gil_error_seconds": None, "account": {"blocked": blocked, **account}}
    for ceilings in facts["ceilings"].values():
        for ceiling in ceilings:
            ceiling |= {"rate_per_second": None, "binds": False}


def test_what_the_system_does_not_tell_is_unknown(job: Job) -> None:
    job.change(drop_what_is_not_linux)

    page = job.page()
    text = " ".join(page.text.split())

    assert "memory at most unknown" in text
    assert "first request after unknown" in text
    assert "The sampler saw nothing: the sampler did not start." in text
    assert "Waiting for the GIL: unknown" in text
    assert "✓ passed" not in page.by_id("trust").text
    assert "Unknown: nothing was sampled" in page.by_id("series").text
    assert "The rates are unknown." in page.by_id("ceilings").text
    assert [] == [svg for svg in page.all("svg") if "ceilings" in svg.attributes["aria-labelledby"]]


def test_a_run_json_without_an_explanation_is_explained_anew(job: Job) -> None:
    told = job.page().by_id("verdict").text
    job.change(lambda facts: [facts.pop(key) for key in ("verdict", "choices", "ceilings", "hints")])

    assert told == job.page().by_id("verdict").text


def test_a_run_that_did_nothing_has_a_page_that_says_so(job: Job) -> None:
    def empty(facts: dict[str, Any]) -> None:
        facts["counts"] = dict.fromkeys(facts["counts"], 0)
        facts |= {"stages": {}, "failures": {}, "failures_this_run": {}, "checks": [], "samples": {"unknown": ""}}
        for key in ("verdict", "choices", "ceilings", "hints", "crossover", "break_even"):
            facts.pop(key, None)

    job.change(empty)
    (job.run / "spans.jsonl").write_text("")
    job.write_rows("failures.jsonl", [])

    page = job.page()

    assert "Nothing was processed" in page.by_id("account").text
    assert "Nothing failed." in page.by_id("failures").text
    assert "Unknown: there are no spans" in page.by_id("timeline").text
    assert "CPU of both stages unknown" in " ".join(page.text.split())


def test_a_run_folder_alone_does_not_know_hosts(job: Job) -> None:
    alone = job.output.parent / "alone"
    shutil.copytree(job.run, alone)
    shutil.rmtree(job.output)
    from batchproc.report.html import make_report
    from tests.report.folder import parse

    page = parse(make_report(alone).read_text())

    assert "Unknown." in page.by_id("hosts").text
    assert "not at hand" in page.by_id("hosts").text
    assert "key " in page.by_id("slowest").text


def test_an_older_run_says_that_the_lists_are_of_today(job: Job) -> None:
    (job.output / "latest").unlink()

    from batchproc.report.html import make_report
    from tests.report.folder import parse

    assert "present state" in parse(make_report(job.run).read_text()).by_id("hosts").text


@pytest.mark.parametrize("missing", ["spans.jsonl", "gallery"])
def test_a_missing_file_costs_its_section_only(job: Job, missing: str) -> None:
    path = job.run / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    page = job.page()

    words = {"spans.jsonl": ("timeline", "no spans"), "gallery": ("gallery", "no images of this run")}[missing]
    assert words[1] in page.by_id(words[0]).text
    assert page.by_id("account-download-title")


def test_rejected_items_are_told_apart_from_failures(job: Job) -> None:
    page = job.page()

    assert "check.max_aspect 1 item rejected on purpose" in " ".join(page.by_id("data-set").text.split())
    assert "check.max_aspect" not in page.by_id("failures").text


def test_rejected_items_stay_among_the_failures_where_nothing_is_known_of_the_data_set(job: Job) -> None:
    job.change(lambda facts: facts.pop("data_set"))

    assert "check.max_aspect rejected on purpose" in " ".join(job.page().by_id("failures").text.split())
    assert "data-set" not in [element.attributes.get("id") for element in job.page().elements]
