"""`[output] layout = "parquet"`: images and rows in Parquet files of one schema."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import UsageError
from batchproc.pipeline import opening
from batchproc.pipeline.types import RunOptions
from batchproc.sink import Column
from batchproc.sink.parquet import write_rows
from tests.jobs import MakeJob

from .site import Site
from .test_job import rows
from .test_modes import images, run
from .test_shard_maker import SHARDS, manifest, members, shards, write_csv

__all__ = ["write_csv"]

pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.extra

PARQUET = (*SHARDS, 'output.layout="parquet"')


def table(output: Path) -> Any:
    """All shards that the manifest names, as one table; their schemas must be the same."""
    tables = [parquet.read_table(output / shard["name"]) for shard in manifest(output)["shards"]]
    return pyarrow.concat_tables(tables)


def test_rows_and_images_are_those_of_the_other_layouts(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12, faults=True)
    run(config, *SHARDS, 'job.output="tar"')
    run(config, *PARQUET)

    made = table(tmp_path / "out")
    packed = {name: content for name, content in members(tmp_path / "tar").items() if name.endswith(".jpg")}
    assert packed == {image["path"]: image["bytes"] for image in made["image"].to_pylist()}
    assert rows(tmp_path / "tar/metadata.jsonl") == made.drop_columns(["image"]).to_pylist()
    assert [] == images(tmp_path / "out")


def test_the_schema_says_that_images_are_images(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=3), *PARQUET)

    schema = table(tmp_path / "out").schema
    told = json.loads(schema.metadata[b"huggingface"])
    assert {"image": {"_type": "Image"}} == told["info"]["features"]
    assert pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]) == schema.field("image").type


def test_images_have_no_statistics_and_rows_have(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=3), *PARQUET)

    (shard,) = manifest(tmp_path / "out")["shards"]
    group = parquet.ParquetFile(tmp_path / "out" / shard["name"]).metadata.row_group(0)
    found = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    assert {"image.bytes": False, "image.path": False, "width": True, "url": True} == {
        name: found[name].is_stats_set for name in ("image.bytes", "image.path", "width", "url")
    }
    assert ("UNCOMPRESSED", "ZSTD") == (found["image.bytes"].compression, found["url"].compression)


def test_columns_keep_their_types_through_all_shards(
    write_csv: Callable[[str], Path], site: Site, tmp_path: Path
) -> None:
    config = write_csv("url\n")
    lines = [
        {"url": "/a.png", "n": 1, "f": 1, "late": None, "list": [], "nested": {"a": 1, "b": {}}, "text": "é"},
        {"url": "/b.png", "n": None, "f": 1.5, "late": "x", "list": [1, None], "nested": None, "text": ""},
    ]
    (tmp_path / "list.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    run(config, *PARQUET, 'job.input="list.jsonl"', "output.shard_items=1")

    made = table(tmp_path / "out")
    kinds = {name: str(made.schema.field(name).type) for name in ("n", "f", "late", "list", "nested")}
    assert {
        "n": "int64", "f": "double", "late": "string", "list": "list<element: int64>",
        "nested": "struct<a: int64, b: string>",
    } == kinds  # fmt: skip
    assert [1.0, 1.5] == made["f"].to_pylist()
    assert [None, "x"] == made["late"].to_pylist()
    assert [[], [1, None]] == made["list"].to_pylist()
    assert [{"a": 1, "b": "{}"}, None] == made["nested"].to_pylist()
    assert ["é", ""] == made["text"].to_pylist()


def test_interruptions_and_changes_of_layout_change_no_byte(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12)
    run(config, *PARQUET)
    expected = shards(tmp_path / "out")

    run(config, *PARQUET, 'job.output="again"', options=RunOptions(limit=4))
    run(config, *PARQUET, 'job.output="again"')
    assert expected == shards(tmp_path / "again")
    for layout in ("webdataset", "files", "parquet"):
        assert 0 == run(config, *PARQUET, f"output.layout={layout}").counts.processed

    assert expected == shards(tmp_path / "out")


def test_a_row_of_an_earlier_list_that_no_longer_fits_is_dropped_and_not_its_shard(
    write_csv: Callable[[str], Path], site: Site, tmp_path: Path
) -> None:
    config = write_csv("url\n")
    path = tmp_path / "list.jsonl"
    path.write_text('{"url": "/a.png", "n": "text"}\n{"url": "/b.png", "n": "x"}\n')
    run(config, *PARQUET, 'job.input="list.jsonl"')
    path.write_text('{"url": "/b.png", "n": 2}\n')

    result = run(config, *PARQUET, 'job.input="list.jsonl"')

    assert [2] == table(tmp_path / "out")["n"].to_pylist()
    assert (1, 1) == (result.counts.done, result.counts.absent)


def test_without_pyarrow_the_install_line_is_told(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _: None)

    with pytest.raises(UsageError, match=r"\[output\] layout = \"parquet\".*pip install 'batchproc\[parquet\]'"):
        run(make_job(images=1), *PARQUET)


def test_a_damaged_shard_is_made_again_on_demand(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7)
    run(config, *PARQUET)
    before = shards(tmp_path / "out")
    path = tmp_path / "out" / next(iter(before))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    run(config, *PARQUET, options=RunOptions(repair=True))

    assert before == shards(tmp_path / "out")


def test_rows_are_in_a_parquet_file_too_when_asked(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7, faults=True)
    path = tmp_path / "out/metadata.parquet"
    run(config)
    assert not path.exists()

    run(config, "output.metadata_parquet=true")

    assert rows(tmp_path / "out/metadata.jsonl") == parquet.read_table(path).to_pylist()
    before = path.stat().st_mtime_ns
    run(config, "output.metadata_parquet=true")
    assert before == path.stat().st_mtime_ns
    path.unlink()
    run(config, "output.metadata_parquet=true")
    assert path.exists()


def test_what_does_not_fit_its_column_is_null_in_a_table_of_rows() -> None:
    columns = [Column(name="n", type="int"), Column(name="t", type="text")]
    file = io.BytesIO()

    write_rows(file, columns, [{"n": 1, "t": "a"}, {"n": "x", "t": "b"}, {"n": 2**70, "t": None}])

    assert [1, None, None] == parquet.read_table(file)["n"].to_pylist()
    assert ["a", "b", None] == parquet.read_table(file)["t"].to_pylist()
