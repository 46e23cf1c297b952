"""bench.json is checked when it is read, and what an older or an interrupted bench lacks has a default."""

import json
import re
from pathlib import Path

import pytest
from msgspec import to_builtins

from batchproc.bench.bench_json import parse_bench, read_bench, to_json
from batchproc.errors import UsageError
from tests.report.bench_folder import a_bench


@pytest.mark.parametrize(
    ("facts", "where"),
    [([], "got `array`"), ({"schema": 1}, "`rounds`"), ({"schema": 1, "rounds": [{"number": "one"}]}, "[0].number`")],
    ids=["a list", "no rounds", "no number"],
)
def test_what_is_no_bench_is_refused_with_its_place(tmp_path: Path, facts: object, where: str) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(facts))

    with pytest.raises(UsageError, match=rf"bench\.json: is not the .* bench: .*{re.escape(where)}"):
        read_bench(tmp_path)


def test_a_bench_comes_back_with_the_types_that_made_it() -> None:
    facts = a_bench(["thread"], disturbed=[3])

    bench = parse_bench(facts)

    assert facts["comparisons"] == json.loads(json.dumps([to_builtins(one) for one in bench.comparisons]))
    assert bench.noise_floor is not None
    assert facts["noise_floor"] == json.loads(json.dumps(to_builtins(bench.noise_floor)))
    assert [one["number"] for one in facts["rounds"]] == [one.number for one in bench.rounds]


def test_keys_that_are_missing_or_more_do_not_matter() -> None:
    bench = parse_bench({"schema": 1, "rounds": [], "of_a_later_version": 7})

    assert (False, "", None, ()) == (bench.complete, bench.baseline, bench.winner, bench.cases)
    assert bench.contamination.rounds is None


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    bench = parse_bench(a_bench(["thread"], disturbed=[3], again=[2], alone=True))

    assert bench == parse_bench(json.loads(json.dumps(to_json(bench))))
