"""The metrics file as Prometheus reads it: a strict reader of the text format, version 0.0.4, stands in for it."""

import re

import pytest
from msgspec.structs import replace

from batchproc.pipeline.monitoring import Metric, end_metrics, render, run_metrics
from batchproc.record.run_json import record_of

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*)\} (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')

RECORD = record_of({
    "started": "2026-11-22T08:15:30.000Z",
    "ended": "2026-11-22T08:15:34.100Z",
    "wall_seconds": 4.1,
    "exit_code": 3,
    "images_per_second": 55.125,
    "original_bytes": 32_300_000,
    "rendition_bytes": 8_480_000,
    "failures": {"http.404": 5, "truncated": 3},
    "deferrals": {"connect": 4},
    "counts": {
        "items": 240, "done": 226, "rejected": 6, "failed": 8, "quarantined": 0, "deferred": 0, "pending": 0,
        "processed": 238, "retried": 3, "absent": 2,
    },
})  # fmt: skip


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels. Raises AssertionError for what the format does not allow."""
    assert text.endswith("\n")
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    helped: set[str] = set()
    typed: set[str] = set()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            seen = {"HELP": helped, "TYPE": typed}[word]
            assert name not in seen, f"{word} twice for {name}"
            assert NAME.fullmatch(name)
            assert rest == "gauge" if word == "TYPE" else re.fullmatch(r"(?:[^\\]|\\[\\n])+", rest)
            seen.add(name)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line!r}"  # a timestamp would be one word more
        assert match[1] in helped & typed
        labels = tuple(
            (name, re.sub(r"\\(.)", _unescape, value)) for name, value in LABEL.findall(match[2])
        )
        assert (match[1], labels) not in samples, f"twice: {line}"
        samples[match[1], labels] = float(match[3])
    return samples


def _unescape(found: re.Match[str]) -> str:
    return {"n": "\n"}.get(found[1], found[1])


def test_every_fact_of_a_run_is_a_gauge_with_the_job() -> None:
    samples = read(render("demo", run_metrics(RECORD)))

    job = ("job", "demo")
    assert 3 == samples["batchproc_last_run_exit_code", (job,)]
    assert 4.1 == samples["batchproc_last_run_duration_seconds", (job,)]
    assert 1795335334.1 == samples["batchproc_last_run_end_timestamp_seconds", (job,)]
    assert 55.125 == samples["batchproc_last_run_images_per_second", (job,)]
    assert 32_300_000 == samples["batchproc_last_run_original_bytes", (job,)]
    assert 226 == samples["batchproc_items", (job, ("state", "done"))]
    assert 5 == samples["batchproc_failed_items", (job, ("code", "http.404"))]
    assert all(labels[0] == job for _, labels in samples)


def test_the_states_add_up_to_the_list() -> None:
    samples = read(render("demo", run_metrics(RECORD)))

    states = {dict(labels)["state"]: value for (name, labels), value in samples.items() if name == "batchproc_items"}
    assert samples["batchproc_list_items", (("job", "demo"),)] == sum(states.values()) - states["absent"]


@pytest.mark.parametrize(
    "job", ['with "quotes"', "back\\slash", "two\nlines", 'all \\"\n of \\n them', "Bücher ☃"], ids=ascii
)
def test_labels_come_back_as_they_were(job: str) -> None:
    samples = read(render(job, end_metrics(0, 1.5)))

    assert {job} == {dict(labels)["job"] for _, labels in samples}


def test_a_help_of_two_lines_stays_on_one() -> None:
    text = render("demo", [Metric(name="a", help="one\ntwo \\ three", values=[({}, 1.0)])])

    assert "# HELP batchproc_a one\\ntwo \\\\ three\n" in text
    read(text)


def test_a_run_without_failures_names_no_code() -> None:
    text = render("demo", run_metrics(replace(RECORD, failures={})))

    assert "batchproc_failed_items" not in text
    read(text)
