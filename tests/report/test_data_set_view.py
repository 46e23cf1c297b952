"""The section on the data set: what it shows of a record, and that it shows nothing that is not there."""

import json
from pathlib import Path

from msgspec.structs import replace

from batchproc.record.run_json import RunRecord, record_of
from batchproc.record.run_parts import DataSetRecord, ImageClass, ShardSize, ShardsRecord
from batchproc.report.items_view import SHARDS_SHOWN, view_data_set

GOLDEN = record_of(json.loads((Path(__file__).parents[1] / "record" / "golden.json").read_text(encoding="utf-8")))


def test_an_empty_data_set_has_no_section() -> None:
    assert [None, None] == [view_data_set(RunRecord(data_set=data)) for data in (None, DataSetRecord())]


def test_a_data_set_is_told_in_a_sentence() -> None:
    view = view_data_set(GOLDEN)

    assert view is not None
    assert (
        "9 images in 1 shard, 90.0 KB, 10.0 KB each. 1 item rejected on purpose, 10% of those seen, among them 1 "
        "duplicate."
    ) == view.sentence


def test_bars_are_in_proportion_to_the_most_frequent_class() -> None:
    view = view_data_set(GOLDEN)

    assert view is not None
    assert [("3:4", 4, 80.0, 4), ("1:1", 5, 100.0, 5)] == list(view.histograms[1].rows)


def test_originals_have_a_column_where_they_differ() -> None:
    sides = (ImageClass(name="a", images=2), ImageClass(name="b", images=0, originals=2))
    view = view_data_set(RunRecord(data_set=DataSetRecord(images=2, sides=sides)))

    assert view is not None
    assert [True] == [bars.has_originals for bars in view.histograms]


def test_the_first_of_many_shards_are_shown_and_the_others_counted() -> None:
    first = tuple(ShardSize(name=f"shards/{number:05d}.tar", images=10, size_bytes=1000) for number in range(50))
    shards = ShardsRecord(count=1000, size_bytes=990_000, least_bytes=500, most_bytes=1000, first=first)
    view = view_data_set(RunRecord(data_set=DataSetRecord(images=10_000, shards=shards)))

    assert view is not None
    assert SHARDS_SHOWN == len(view.shards)
    assert "From 500 bytes to 1 KB, 990 KB together; 988 more shards in manifest.json." == view.shards_sentence


def test_a_data_set_without_shards_says_nothing_of_them() -> None:
    assert GOLDEN.data_set is not None
    view = view_data_set(replace(GOLDEN, data_set=replace(GOLDEN.data_set, shards=None)))

    assert view is not None
    assert ([], "") == (view.shards, view.shards_sentence)
    assert "shard" not in view.sentence
