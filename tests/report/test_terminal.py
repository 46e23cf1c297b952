"""The closing summary: the account in words, and its looks on a terminal."""

from batchproc.report.terminal import styled, summarise
from tests.jobs import MakeJob
from tests.pipeline.test_modes import run


def test_the_summary_says_where_each_stages_time_went(make_job: MakeJob) -> None:
    result = run(make_job(images=6))

    text = summarise(result.facts, result.folder)

    assert 2 == text.count("    time went ")
    assert "idle: nothing to work on" in text


def test_styles_change_no_word_of_the_summary(make_job: MakeJob) -> None:
    result = run(make_job(images=2))
    text = summarise(result.facts, result.folder)

    lines = styled(text)

    assert text == lines.plain
    assert lines.spans
