"""Parquet shards: a row per image with its bytes, in one schema for all shards of a job. Needs `pyarrow`, an extra.

The image is a struct of bytes and path, which Hugging Face `datasets` shows as an image when the schema's metadata say
so (https://huggingface.co/docs/datasets/about_dataset_features). Row groups are small, because a reader takes a whole
one into memory, and images have no statistics: each would be in the footer twice.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from batchproc.columns import Scalar, Type
from batchproc.remembered import Row
from batchproc.sink.shard_samples import ByteSink, Column, Read, Sample, ShardSettings, UnfitRowError

if TYPE_CHECKING:
    import pyarrow

ROW_GROUP_ROWS = 100
ROWS_AT_ONCE = 5_000  # without their images
T = TypeVar("T")
IMAGE = "image"
FEATURES = {"info": {"features": {IMAGE: {"_type": "Image"}}}}


def write_shard(file: ByteSink, settings: ShardSettings, samples: list[Sample], read: Read) -> None:
    """Writes a whole shard. Raises OSError, `UnfitRowError`, and what `read` raises."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = make_schema(settings.columns)
    facts = list(_leaves(schema, skip=IMAGE))
    image = list(_leaves(schema.empty_table().select([IMAGE]).schema))
    with ParquetWriter(
        file,
        schema,
        compression=dict.fromkeys(image, "NONE") | dict.fromkeys(facts, "ZSTD"),
        use_dictionary=facts,
        write_statistics=facts,
        write_page_checksum=True,
    ) as writer:
        for group in _groups(samples, ROW_GROUP_ROWS):
            contents = [{"bytes": read(sample), "path": sample.file_name} for sample in group]
            arrays = [pyarrow.array(contents, schema.field(IMAGE).type)]
            rows = [sample.row for sample in group]
            for column, field in zip(settings.columns, list(schema)[1:], strict=True):
                try:
                    arrays.append(_array(column, rows, field.type))
                except _UnfitValueError as error:
                    raise UnfitRowError(group[error.place].item, column.name) from None
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema), row_group_size=ROW_GROUP_ROWS)


def write_rows(file: ByteSink, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Writes a table of rows without their images. What does not fit its column, as of an earlier list, is null there.

    Raises OSError.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema(list(make_schema(columns))[1:])
    with ParquetWriter(file, schema, compression="ZSTD") as writer:
        for group in _groups(rows, ROWS_AT_ONCE):
            arrays = [_fitting(column, group, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def _fitting(column: Column, rows: Sequence[Row], kind: "pyarrow.DataType") -> "pyarrow.Array":
    rows = list(rows)
    while True:
        try:
            return _array(column, rows, kind)
        except _UnfitValueError as error:
            rows[error.place] = {}


class OpenedParquet:
    """A parquet shard whose images can be read, a row group at a time. Raises OSError and ValueError if damaged."""

    def __init__(self, file: BinaryIO) -> None:
        from pyarrow.parquet import ParquetFile

        self._file = file
        self._parquet = ParquetFile(file, page_checksum_verification=True)  # ArrowInvalid is a ValueError
        self._sizes: dict[str, tuple[int, int, int]] = {}  # size, row group and row, by file name
        for group in range(self._parquet.num_row_groups):
            table = self._parquet.read_row_group(group, columns=["file_name", "size_bytes"])
            names, sizes = table["file_name"].to_pylist(), table["size_bytes"].to_pylist()
            for row, (name, size) in enumerate(zip(names, sizes, strict=True)):
                self._sizes.setdefault(name, (size, group, row))
        self._group = -1
        self._contents: list[Mapping[str, Any]] = []

    def names(self) -> Iterable[str]:
        """The names of the images, and of whatever else is there."""
        return self._sizes

    def size_of(self, name: str) -> int | None:
        """The size of the image of this name; None where there is none."""
        known = self._sizes.get(name)
        return known[0] if known else None

    def read(self, name: str) -> bytes:
        """The image. Raises OSError and ValueError."""
        _, group, row = self._sizes[name]
        if group != self._group:
            self._contents = self._parquet.read_row_group(group, columns=[IMAGE])[IMAGE].to_pylist()
            self._group = group
        content: bytes = self._contents[row]["bytes"]
        return content

    def close(self) -> None:
        self._parquet.close()
        self._file.close()


def make_schema(columns: Sequence[Column]) -> "pyarrow.Schema":
    """The one schema of all shards."""
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    fields = [pyarrow.field(IMAGE, image), *(pyarrow.field(_safe(one.name), _arrow(one.type)) for one in columns)]
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps(FEATURES)})


def _arrow(known: Type) -> "pyarrow.DataType":
    import pyarrow

    if isinstance(known, list):
        return pyarrow.list_(_arrow(known[0]))
    if isinstance(known, dict):
        if not known:  # Parquet has no struct without fields
            return pyarrow.string()
        return pyarrow.struct([(_safe(name), _arrow(entry)) for name, entry in known.items()])
    return {
        Scalar.BOOL: pyarrow.bool_(),
        Scalar.INT: pyarrow.int64(),
        Scalar.LONG: pyarrow.int64(),
        Scalar.FLOAT: pyarrow.float64(),
    }.get(Scalar(known), pyarrow.string())


def _leaves(schema: "pyarrow.Schema", skip: str = "") -> Iterator[str]:
    """The paths of the columns that a file of this schema has, as Parquet names them."""
    for field in schema:
        if field.name != skip:
            yield from _leaf_paths(field.name, field.type)


def _leaf_paths(path: str, kind: "pyarrow.DataType") -> Iterator[str]:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        for field in kind:
            yield from _leaf_paths(f"{path}.{field.name}", field.type)
    elif pyarrow.types.is_list(kind):
        yield from _leaf_paths(f"{path}.list.element", kind.value_type)
    else:
        yield path


def _groups(entries: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting = iter(entries)
    while group := list(islice(waiting, size)):
        yield group


class _UnfitValueError(Exception):
    """A value is not of its column's type; `place` is that of its row."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def _array(column: Column, rows: Sequence[Row], kind: "pyarrow.DataType") -> "pyarrow.Array":
    """The values of a column. Raises `_UnfitValueError` for the first that is not of its type."""
    import pyarrow

    refused = (pyarrow.ArrowException, OverflowError, TypeError, AttributeError)
    values = [_value(row.get(column.name), column.type) for row in rows]
    try:
        return pyarrow.array(values, kind)
    except refused:
        for place, value in enumerate(values):
            try:
                pyarrow.array([value], kind)
            except refused:
                raise _UnfitValueError(place) from None
        raise


def _value(value: object, known: Type) -> object:
    """A value as Arrow takes it: text is UTF-8, and an object has the keys of its type."""
    if value is None:
        return None
    if isinstance(known, list) and isinstance(value, list):
        return [_value(entry, known[0]) for entry in value]
    if isinstance(known, dict) and isinstance(value, dict):
        return {_safe(name): _value(value.get(name), entry) for name, entry in known.items()} if known else "{}"
    return _safe(value) if isinstance(value, str) else value


def _safe(text: str) -> str:
    """The text; half of a surrogate pair, which UTF-8 does not hold, is written out as `\\udc80`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
