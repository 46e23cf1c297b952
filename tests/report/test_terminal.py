"""The closing summary: the time breakdown in words, and how it looks on a terminal."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchproc.explain.findings import explain
from batchproc.record.run_json import RunCounts, RunRecord, record_of
from batchproc.report.terminal import styled, summarise, wrapped
from batchproc.transform import resampler
from tests.explain.runs import all_serial, cpu_bound, held
from tests.jobs import MakeJob
from tests.pipeline.test_job import rows
from tests.pipeline.test_modes import run


def test_the_summary_says_where_each_stages_time_went(make_job: MakeJob) -> None:
    result = run(make_job(images=6))

    text = summarise(result.record, result.folder, verbose=True)

    assert 2 == text.count("    time went ")
    assert "idle: nothing to work on" in text
    assert "time went" not in summarise(result.record, result.folder)


def of(stages: dict[str, Any]) -> RunRecord:
    """A run of those stages that made 79.3 images per second."""
    return explain(record_of(stages | {"images_per_second": 79.3, "line_seconds": stages["line_seconds"]}))


def test_the_summary_begins_with_how_fast_each_mode_is() -> None:
    lines = summarise(of(cpu_bound()), Path("runs/1")).splitlines()

    assert ["  images/s", "  serial  ", "  thread  ", "  process "] == [line[:10] for line in lines[1:5]]
    assert "download: 32 threads           transform: 2 processes" in lines[1]
    assert "█ 79.3 used, best " in lines[3]
    assert "█ 79.3 used" in lines[4]
    assert lines[5].startswith("  download    threads: 99% of a download is waiting")
    assert lines[6].startswith("  transform   threads: only ")


def test_a_terminal_without_unicode_gets_the_same_chart_in_ascii() -> None:
    record = of(cpu_bound())
    plain = summarise(record, Path("runs/1"), unicode=False)

    assert plain.isascii()
    assert plain == summarise(record, Path("runs/1")).replace("█", "#").replace("░", "-")


@pytest.mark.parametrize("facts", [cpu_bound(), cpu_bound("thread"), held(), all_serial()], ids=range(4))
def test_a_summary_has_at_most_14_lines_of_80_columns_with_that_of_its_page(facts: dict[str, Any]) -> None:
    counts = RunCounts(items=240, processed=240, done=232, failed=8)
    failures = {"http.404": 3, "not_image": 2, "truncated": 2, "image.corrupt": 1}
    record = replace(of(facts), job="demo", counts=counts, failures=failures)

    lines = wrapped(summarise(record, Path("outputs/demo/runs/20261128T070509Z"))).splitlines()

    assert len(lines) <= 13  # the command adds where the page is
    assert [] == [line for line in lines if len(line) > 80]


def test_other_programs_are_told_once_as_the_reason() -> None:
    facts = cpu_bound()
    machine = {"cores": 2, "busy_share": 0.95, "others_cpu_share": 0.5}
    check = {"name": "others", "value": 0.5, "passed": False, "text": "other programs used 50% of the CPU"}
    disturbed = facts | {"samples": facts["samples"] | {"machine": machine}, "checks": [check]}
    disturbed["line_seconds"] = 2 * facts["line_seconds"]

    text = summarise(of(disturbed), Path("runs/1"))

    assert "  transform   undecided: other programs used 50% of the machine" in text
    assert "  hint  " not in text
    assert "  hint        measure again on a quiet machine" in summarise(of(disturbed), Path("runs/1"), verbose=True)


def test_modes_that_are_not_predicted_have_no_bar() -> None:
    facts = cpu_bound()

    text = summarise(of(facts | {"line_seconds": 2 * facts["line_seconds"]}), Path("runs/1"))

    assert 4 == text.count("not predicted")
    assert "  download    unknown: the model misses this run by " in text


def test_a_model_that_misses_a_disturbed_run_names_what_disturbed_it() -> None:
    facts = cpu_bound()
    facts["samples"]["machine"] |= {"others_cpu_share": 0.5, "busy_share": 0.99}

    text = summarise(of(facts | {"line_seconds": 4 * facts["line_seconds"]}), Path("runs/1"))

    assert "  download    unknown: other programs used 50% of the machine" in text


def test_spare_threads_and_a_silent_host_are_one_phrase() -> None:
    record = of(cpu_bound())
    download = replace(record.stages["download"], spare_workers=3)

    text = summarise(replace(record, stages=record.stages | {"download": download}), Path("runs/1"))

    assert "\n  silent host 3 spare threads went on while a host was silent\n" in text
    assert "silent" not in summarise(record, Path("runs/1"))


def test_lines_break_between_words_at_80_columns_and_never_inside_a_path() -> None:
    path = f"/{'long/' * 20}outputs"
    text = wrapped(f"  bottleneck  {'seven words that go on and on ' * 5}\n  outputs     {path}\n  next        none")

    first, *_ = lines = text.splitlines()
    assert first.startswith("  bottleneck  seven words")
    assert all(len(line) <= 80 or path in line for line in lines)
    assert all(line.startswith(" " * 14) for line in lines[1:3])
    assert path in text


def test_styles_change_no_word_of_the_summary(make_job: MakeJob) -> None:
    result = run(make_job(images=2))
    text = summarise(result.record, result.folder)

    lines = styled(text)

    assert text == lines.plain
    assert lines.spans


@pytest.mark.parametrize(
    ("stopped_by", "pending", "words"),
    [
        ("signal", 5, "no item finished in this run; interrupted"),
        ("duration", 5, "no item finished in this run; stopped by max_duration"),
        (None, 5, "no item finished in this run"),
        (None, 0, "nothing to do"),
    ],
)
def test_a_run_that_finished_nothing_says_whether_there_was_something_to_do(
    make_job: MakeJob, stopped_by: str | None, pending: int, words: str
) -> None:
    config = make_job(images=5)
    run(config)
    result = run(config)
    counts = replace(result.record.counts, done=5 - pending, pending=pending)

    record = replace(result.record, stopped_by=stopped_by, counts=counts)

    assert summarise(record, result.folder).splitlines()[0].endswith(f"; {words}")


def test_a_run_without_a_new_image_does_not_speak_of_the_unknown(make_job: MakeJob) -> None:
    result = run(make_job(lines=["/no/such.jpg", "/nor/this.jpg"]))

    text = summarise(result.record, result.folder, verbose=True)

    assert "0 done, 2 failed; no new image in " in text
    assert "transform   process, 2 processes; no image came so far" in text
    assert "0 images/s" not in text
    assert "unknown" not in text
    assert 1 == text.count("    parts  ")
    assert "--retry-failed tries 2 items again" in text


def test_bad_lines_alone_are_not_to_be_tried_again(make_job: MakeJob) -> None:
    result = run(make_job(lines=["http://", "ftp://example.org/a.jpg"]))

    text = summarise(result.record, result.folder)

    assert "--retry-failed" not in text
    assert "see failures.jsonl, and mend 2 lines of the list" in text


def test_the_quarantined_are_named_with_their_way_back(make_job: MakeJob) -> None:
    result = run(make_job(images=1))
    record = replace(result.record, counts=replace(result.record.counts, done=0, quarantined=1))

    assert "--retry-failed tries 1 item again, the quarantined too" in summarise(record, result.folder)


def test_a_missing_resampler_is_told_once_and_named_in_every_row(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampler, "_problem", "cykooz-resizer cannot be imported (ImportError)")

    result = run(make_job(images=2), "transform.mode=serial")

    assert 1 == summarise(result.record, result.folder).count("cykooz-resizer cannot be imported (ImportError)")
    assert result.facts["recipe"].startswith("3 pillow ")
    written = rows(Path(result.facts["config"]["job"]["output"]) / "metadata.jsonl")
    assert [(result.facts["recipe"], "")] * 2 == [(row["image_recipe"], row["image_notes"]) for row in written]
