"""The section on the data set: what it shows of a record, and that it shows nothing that is not there."""

import json
import re
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchproc.record.run_json import record_of
from batchproc.record.run_parts import ShardsRecord
from batchproc.report.items_view import SHARDS_SHOWN, data_set_sentence, shards_sentence
from tests.report.folder import Job

FACTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "record/golden.json").read_text(encoding="utf-8"))
GOLDEN = record_of(FACTS).data_set
assert GOLDEN is not None


def section(job: Job, data: dict[str, Any] | None) -> str:
    """The section's source; empty where there is none."""
    job.change(lambda facts: facts.update(data_set=data))
    return job.page().source.partition('id="data-set"')[2].partition("</section>")[0]


def test_an_empty_data_set_has_no_section(job: Job) -> None:
    assert ["", ""] == [section(job, data) for data in (None, {})]


def test_a_data_set_is_told_in_a_sentence() -> None:
    assert (
        "9 images in 1 shard, 90.0 KB, 10.0 KB each. 1 item rejected on purpose, 10% of those seen, among them 1 "
        "duplicate."
    ) == data_set_sentence(GOLDEN)


def test_bars_are_in_proportion_to_the_most_frequent_class(job: Job) -> None:
    shapes = section(job, FACTS["data_set"]).partition("Shape, width to height")[2].partition("</table>")[0]

    assert [("3:4", "4", "80.0"), ("1:1", "5", "100.0")] == re.findall(
        r'"nowrap">([\d:]+)</th><td class="number">(\d)</td><td class="bar"><span style="width:([\d.]+)%">', shapes
    )


def test_originals_have_a_column_where_they_differ(job: Job) -> None:
    sides = [{"name": "a", "images": 2, "originals": 2}, {"name": "b", "images": 0, "originals": 2}]

    assert ">originals</th>" not in section(job, {"images": 2, "sides": sides[:1]})
    assert ">originals</th>" in section(job, {"images": 2, "sides": sides})


def test_the_first_of_many_shards_are_shown_and_the_others_counted(job: Job) -> None:
    first = [{"name": f"shards/{number:05d}.tar", "images": 10, "size_bytes": 1000} for number in range(50)]
    shards = {"count": 1000, "size_bytes": 990_000, "least_bytes": 500, "most_bytes": 1000, "first": first}
    source = section(job, {"images": 10_000, "shards": shards})

    assert SHARDS_SHOWN == source.count("shards/0")
    assert "From 500 bytes to 1 KB, 990 KB together; 988 more shards in manifest.json." in source


def test_a_data_set_without_shards_says_nothing_of_them(job: Job) -> None:
    assert "hard" not in section(job, FACTS["data_set"] | {"shards": None})
    assert "shard" not in data_set_sentence(replace(GOLDEN, shards=None))
    assert "" == shards_sentence(ShardsRecord(count=1))
