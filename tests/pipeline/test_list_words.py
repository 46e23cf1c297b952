"""What a list has besides its items is told: in the summary, in `status` and in run.json."""

import json
from pathlib import Path
from typing import Any

from batchproc.cli import load_job
from batchproc.report.status import describe_status, read_status
from batchproc.report.terminal import summarise
from tests.jobs import MakeJob

from .test_events import events
from .test_job import rows
from .test_modes import run


def with_table(config: Path, tmp_path: Path, lines: list[dict[str, Any]] | list[str]) -> None:
    """Gives the job a list of JSON Lines in place of its own."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (tmp_path / "list.jsonl").write_text(text)
    config.write_text(config.read_text().replace('input = "list.txt"', 'input = "list.jsonl"'))


def paths(tmp_path: Path) -> list[str]:
    return (tmp_path / "list.txt").read_text().split()


def told(config: Path) -> str:
    return describe_status(read_status(load_job(config, ())[0]))


def test_duplicates_bad_rows_and_remarks_are_told(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    first, second = paths(tmp_path)
    lines = [{"url": first, "id": 7}, {"url": second, "id": "7b"}, {"url": first}, {"id": 5}]
    with_table(config, tmp_path, lines)

    result = run(config)

    counts = result.facts["counts"]
    assert (2, 1, 1, 0) == tuple(counts[name] for name in ("done", "duplicates", "bad_rows", "pruned"))
    summary, status = summarise(result.record, result.folder), told(config)
    for text in (
        '1 further row of items listed before: duplicates = "rows" keeps their columns too',
        "1 bad row: see failures.jsonl",
        '"id" became text: it has whole numbers and text (on line 2)',
    ):
        assert f"  list        {text}\n" in summary
        assert f"list: {text}\n" in status
    assert 1 == len(events(tmp_path / "out")["list.imported"]["remarks"])


def test_remarks_are_made_once_in_runs_and_always_in_the_status(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    with_table(config, tmp_path, [f'{{"url": "{paths(tmp_path)[0]}", "n": NaN}}'])
    assert 1 == len(run(config).facts["list_remarks"])

    again = run(config)

    assert [] == again.facts["list_remarks"]
    assert "list: NaN, Infinity or a number beyond all others became null (on line 1)" in told(config)


def test_pruned_files_are_told(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    run(config)
    (tmp_path / "list.txt").write_text("\n".join(paths(tmp_path)[:1]) + "\n")

    result = run(config, "job.prune=true")

    assert 2 == result.facts["counts"]["pruned"]
    assert "  list        2 files pruned: their sources left the list\n" in summarise(result.record, result.folder)
    assert "list: 2 files pruned: their sources left the list\n" in told(config)


def test_a_plain_list_is_not_talked_about(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)

    result = run(config)

    assert "  list  " not in summarise(result.record, result.folder)
    assert "list:" not in told(config)


def test_each_row_of_an_image_has_its_columns_when_asked(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=2)
    first, second = paths(tmp_path)
    with_table(config, tmp_path, [{"url": url, "text": f"{n}"} for n, url in enumerate([first, second, first])])

    result = run(config, "job.duplicates=rows")

    assert ["0", "2", "1"] == [row["text"] for row in rows(tmp_path / "out/metadata.jsonl")]
    assert "each has its row in metadata.jsonl" in summarise(result.record, result.folder)
    assert 0 == run(config, "job.duplicates=rows").facts["counts"]["processed"]
    run(config)
    assert ["0", "1"] == [row["text"] for row in rows(tmp_path / "out/metadata.jsonl")]


def test_the_output_says_which_files_are_the_data_set(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=1)
    with_table(config, tmp_path, [{"url": paths(tmp_path)[0], "width": 3}])
    run(config)

    text = (tmp_path / "out/README.md").read_text()
    assert "    - images/**\n" in text
    assert "| `width` | `list_width` |" in text

    (tmp_path / "out/README.md").write_text("my own\n")
    with_table(config, tmp_path, [{"url": paths(tmp_path)[0], "width": 4}])
    run(config)

    assert "my own\n" == (tmp_path / "out/README.md").read_text()
    assert [4] == [row["list_width"] for row in rows(tmp_path / "out/metadata.jsonl")]
