"""Lists in columns: what arrives of every type, and what is said of a file that cannot be read."""

import datetime
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchproc.columns import Columns
from batchproc.errors import UsageError
from batchproc.model import ListedItem
from batchproc.sources import ListFormat, read_sources
from batchproc.sources.arrow import BATCH_ROWS
from tests.sources.conftest import bad_of, good_of, rows_of

pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")
encryption = pytest.importorskip("pyarrow.parquet.encryption")

pytestmark = pytest.mark.extra

URL = "http://a.com/0"


def write_parquet(table: Any, path: Path) -> None:
    parquet.write_table(table, path, row_group_size=3)


def write_stream(table: Any, path: Path) -> None:
    """As the data sets of Hugging Face are cached."""
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


WAYS: dict[str, tuple[str, Callable[[Any, Path], None]]] = {
    "parquet": ("list.parquet", write_parquet),
    "feather": ("list.feather", lambda table, path: feather.write_feather(table, str(path))),
    "stream": ("list.arrow", write_stream),
}


def read_cells(folder: Path, **arrays: Any) -> tuple[list[Any], dict[str, Any], list[str]]:
    """The rows of a list with these columns beside its URLs, the types of its columns, and the remarks."""
    rows = len(next(iter(arrays.values())))
    table = pyarrow.table({"url": [f"http://a.com/{row}" for row in range(rows)], **arrays})
    write_parquet(table, folder / "list.parquet")
    columns = Columns()
    entries = [*read_sources(folder / "list.parquet", columns=columns)]
    rows_read = [json.loads(entry.extra_json) for entry in good_of(entries)]
    return rows_read, columns.types, [str(remark) for remark in columns.remarks]


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_file_gives_urls_ids_columns_and_rows_from_1(tmp_path: Path, way: str) -> None:
    name, write = WAYS[way]
    table = pyarrow.table(
        {
            "TEXT": ["a", "ü", None, "d"],
            "key": pyarrow.array([7, 8, 9, None], pyarrow.int64()),
            "URL": [URL, "http://a.com/1", "  ", "http://a.com/3"],
        }
    )
    write(table, tmp_path / name)

    entries = [*read_sources(tmp_path / name, ListFormat(url_column="URL", id_column="key"))]

    first, second = good_of(entries)
    assert (URL, 1, {"TEXT": "a", "key": 7}) == (first.url, first.line, json.loads(first.extra_json))
    assert ("http://a.com/1", 2, {"TEXT": "ü", "key": 8}) == (second.url, second.line, json.loads(second.extra_json))
    assert ['the column "URL" is empty', 'the column "key" is empty'] == [
        entry.message for entry in rows_of(entries)
    ]
    assert [3, 4] == [line for line, _ in bad_of(iter(entries))]


def test_numbers_texts_truths_and_nulls_keep_their_types(tmp_path: Path) -> None:
    rows, types, remarks = read_cells(
        tmp_path,
        i=pyarrow.array([1, None], pyarrow.int32()),
        long=pyarrow.array([2**60, 1], pyarrow.int64()),
        f=pyarrow.array([0.1, 1e300]),
        single=pyarrow.array([0.1, 2.0], pyarrow.float32()),
        b=pyarrow.array([True, None]),
        t=pyarrow.array(["100%", '"q"\n\x00😀'], pyarrow.large_string()),
        d=pyarrow.array(["x", "x"]).dictionary_encode(),
        n=pyarrow.nulls(2),
    )

    assert [
        {"i": 1, "long": 2**60, "f": 0.1, "single": 0.1, "b": True, "t": "100%", "d": "x", "n": None},
        {"i": None, "long": 1, "f": 1e300, "single": 2.0, "b": None, "t": '"q"\n\x00😀', "d": "x", "n": None},
    ] == rows
    assert {
        "i": "int", "long": "long", "f": "float", "single": "float", "b": "bool", "t": "text", "d": "text", "n": "null",
    } == types  # fmt: skip
    assert [] == remarks


def test_nested_values_keep_their_form(tmp_path: Path) -> None:
    rows, types, _ = read_cells(
        tmp_path,
        box=pyarrow.array([[1.5, 2.0], None]),
        meta=pyarrow.array([{"a": 1, "tags": ["x"]}, {"a": None, "tags": []}]),
        map=pyarrow.array([[("k", 1)], []], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    )

    assert [
        {"box": [1.5, 2.0], "meta": {"a": 1, "tags": ["x"]}, "map": {"k": 1}},
        {"box": None, "meta": {"a": None, "tags": []}, "map": {}},
    ] == rows
    assert {"box": ["float"], "meta": {"a": "int", "tags": ["text"]}, "map": {"k": "int"}} == types


def test_what_json_has_no_type_for_becomes_text(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    rows, types, remarks = read_cells(
        tmp_path,
        day=pyarrow.array([day]),
        at=pyarrow.array([1_709_210_096_000_000_001], pyarrow.timestamp("ns", tz="UTC")),
        price=pyarrow.array([Decimal("1.50")]),
        within=pyarrow.array([{"days": [day]}]),
    )

    assert [
        {
            "day": "2024-02-29",
            "at": "2024-02-29 12:34:56.000000001Z",
            "price": "1.50",
            "within": {"days": ["2024-02-29"]},
        }
    ] == rows
    assert {"day": "text", "at": "text", "price": "text", "within": {"days": ["text"]}} == types
    assert [] == remarks


def test_numbers_that_are_none_become_null_and_are_told(tmp_path: Path) -> None:
    rows, _, remarks = read_cells(
        tmp_path, f=pyarrow.array([float("nan"), 1.0, float("-inf")]), within=pyarrow.array([[float("inf")], None, []])
    )

    assert [{"f": None, "within": [None]}, {"f": 1.0, "within": None}, {"f": None, "within": []}] == rows
    assert ["NaN, Infinity or a number beyond all others became null (on 3 lines, first 1)"] == remarks


def test_pictures_in_a_column_are_left_out_and_told(tmp_path: Path) -> None:
    """As in a data set of Hugging Face."""
    picture = pyarrow.array(
        [{"bytes": b"x", "path": "a.jpg"}], pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    )
    rows, types, remarks = read_cells(tmp_path, image=picture, phash=pyarrow.array([b"\0"]), text=["t"])

    assert [{"text": "t"}] == rows
    assert {"text": "text"} == types
    assert ['"image" is left out', '"phash" is left out'] == [remark.partition(":")[0] for remark in remarks]


def test_a_column_with_a_dot_in_its_name_is_not_taken_for_a_way_into_another(tmp_path: Path) -> None:
    rows, _, _ = read_cells(tmp_path, **{"a": pyarrow.array([{"b": 1}]), "a.b": pyarrow.array(["dotted"])})

    assert [{"a": {"b": 1}, "a.b": "dotted"}] == rows


def test_rows_are_counted_over_batches_and_row_groups(tmp_path: Path) -> None:
    count = 2 * BATCH_ROWS + 5
    urls = [f"http://a.com/{row}" for row in range(count)]
    parquet.write_table(pyarrow.table({"url": urls}), tmp_path / "list.parquet", row_group_size=BATCH_ROWS - 1)

    sources = good_of(read_sources(tmp_path / "list.parquet"))

    assert list(enumerate(urls, start=1)) == [(one.line, one.url) for one in sources]
    assert {""} == {one.extra_json for one in sources}


def test_text_that_is_no_utf8_costs_a_character_and_as_a_url_the_row(tmp_path: Path) -> None:
    def text(*raw: bytes) -> Any:
        return pyarrow.array(raw, pyarrow.binary()).view(pyarrow.string())

    table = pyarrow.table({"url": text(b"http://a.com/0", b"http://a.com/\xff"), "t": text(b"caf\xe9", b"ok")})
    write_parquet(table, tmp_path / "list.parquet")
    columns = Columns()

    good, bad = read_sources(tmp_path / "list.parquet", columns=columns)

    assert isinstance(good, ListedItem)
    assert {"t": "caf\ufffd"} == json.loads(good.extra_json)
    assert isinstance(bad, ListedItem)
    assert 'the column "url" is not UTF-8' == bad.message


def refusal(path: Path, format: ListFormat | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        [*read_sources(path, format or ListFormat())]
    return str(caught.value)


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    write_parquet(pyarrow.table({"URL": [URL], "TEXT": ["t"]}), tmp_path / "list.parquet")

    assert 'no column "url"; its columns are URL, TEXT; did you mean [job] url_column = "URL"?' in refusal(
        tmp_path / "list.parquet"
    )


@pytest.mark.parametrize(("setting", "kind"), [("url_column", "int64"), ("id_column", "double")])
def test_a_column_that_cannot_be_a_url_or_an_id_is_refused(tmp_path: Path, setting: str, kind: str) -> None:
    write_parquet(pyarrow.table({"url": [URL], "n": [1], "x": [0.5]}), tmp_path / "list.parquet")
    format = ListFormat(url_column="n") if setting == "url_column" else ListFormat(id_column="x")

    assert f"holds {kind}, not text" in refusal(tmp_path / "list.parquet", format)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([URL])] * 2, names=["url", "url"])
    write_stream(table, tmp_path / "list.arrow")

    assert 'has the column "url" more than once' in refusal(tmp_path / "list.arrow")


@pytest.mark.parametrize("name", ["list.parquet", "list.arrow"])
@pytest.mark.parametrize("content", [b"", b"url\nhttp://a.com/0\n", b"PAR1"], ids=["empty", "text", "cut"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    assert f"{name}: cannot be read: " in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw, start: raw[:start] + bytes(len(raw) - 8 - start) + raw[-8:],
        lambda raw, start: raw[:-8] + b"\xff\xff\xff\x7f" + raw[-4:],
        lambda raw, start: raw[:-20],
    ],
    ids=["zeros", "length", "cut"],
)
def test_a_broken_footer_is_refused(tmp_path: Path, harm: Callable[[bytes, int], bytes]) -> None:
    path = tmp_path / "list.parquet"
    write_parquet(pyarrow.table({"url": [URL]}), path)
    raw = path.read_bytes()
    path.write_bytes(harm(raw, len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")))

    assert "list.parquet: cannot be read: " in refusal(path)


class Keys(encryption.KmsClient):  # type: ignore[misc]
    """Keeps keys as they are."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return b64encode(key_bytes)


@pytest.mark.parametrize("is_plain", [True, False], ids=["columns", "all"])
def test_an_encrypted_file_is_refused(tmp_path: Path, is_plain: bool) -> None:
    table = pyarrow.table({"url": [URL]})
    settings = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["url"]}, plaintext_footer=is_plain)
    factory = encryption.CryptoFactory(lambda _: Keys())
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    with parquet.ParquetWriter(tmp_path / "list.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)

    assert "list.parquet: is encrypted" in refusal(tmp_path / "list.parquet")


def test_a_file_that_is_not_there_is_told_like_any_other_list(tmp_path: Path) -> None:
    assert "list.parquet: no such file." in refusal(tmp_path / "list.parquet")


def test_a_row_group_that_cannot_be_read_ends_the_list_there(tmp_path: Path) -> None:
    path, rows = tmp_path / "list.parquet", BATCH_ROWS
    table = pyarrow.table({"url": [f"http://a.com/{row}" for row in range(2 * rows)]})
    parquet.write_table(table, path, row_group_size=rows, compression="gzip", use_dictionary=False)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    raw = bytearray(path.read_bytes())
    raw[start + 40 : start + 60] = bytes(20)
    path.write_bytes(raw)
    entries = read_sources(path)

    assert rows == len([next(entries) for _ in range(rows)])
    with pytest.raises(UsageError, match="cannot be read"):
        next(entries)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(pyarrow.table({"url": [URL]}), tmp_path / "list.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    assert "pip install 'batchproc[parquet]'" in refusal(tmp_path / "list.parquet")
