"""A file of facts that is nested too deeply to be read is refused in words."""

from pathlib import Path

import pytest

from batchproc.bench.bench_json import read_bench
from batchproc.errors import UsageError
from batchproc.record.run_json import read_run
from batchproc.report.run_files import read_attempts

DEEP = "[" * 100_000


def test_deeply_nested_facts_are_refused_and_such_lines_are_passed_over(tmp_path: Path) -> None:
    for name in ("run.json", "bench.json", "spans.jsonl"):
        (tmp_path / name).write_text(DEEP)

    with pytest.raises(UsageError, match=r"run\.json: cannot be read: RecursionError"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match=r"bench\.json: cannot be read: RecursionError"):
        read_bench(tmp_path)
    assert [] == read_attempts(tmp_path)
