"""Lists in columns: Parquet, Feather and Arrow files, read in batches by `pyarrow`, which is an extra.

Types that JSON lacks become text (dates, times, decimal numbers); columns of bytes, as an image's own, are left out.
Values are made JSON column by column, in Arrow where that can be: the way through Python's values took twice as long.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.redact import printable
from batchproc.sources.json_lines import NO_NUMBER, null_numbers
from batchproc.sources.lines import (
    LONGEST_LINE_BYTES,
    Entry,
    ItemMaker,
    ListFormat,
    bad_row,
    make_encoder,
    nearest,
    refuse,
)

if TYPE_CHECKING:
    import pyarrow

ARROW_SUFFIXES = (".parquet", ".arrow", ".feather")
INSTALL = "is read by pyarrow, which is not installed: pip install 'batchproc[parquet]'."
BATCH_ROWS = 4096
BUFFER_BYTES = 1 << 20  # of a column of Parquet; without it a whole row group is held
NO_UTF8 = "bytes that are not UTF-8 became U+FFFD"
NULL = "null"

Batches: TypeAlias = "Callable[[Sequence[str]], Iterator[pyarrow.RecordBatch]]"


def read_arrow(path: str, *, format: ListFormat, maker: ItemMaker, columns: Columns, line: int) -> Iterator[Entry]:
    """The entries of a Parquet, Feather or Arrow file; their `line` is the number of the row, counted on from `line`.

    Raises `UsageError` where `pyarrow` is missing, a wanted column is not there or holds no text, and where the file
    cannot be read further.
    """
    with _open(path) as (schema, read_batches):
        table = _Table(path, schema, format, columns, line)
        before, make, needs_no_id = line, maker.make, not format.id_column
        for batch in read_batches(table.names):
            rows = zip(table.urls(batch, before), table.ids(batch), table.further(batch, before), strict=True)
            for number, (url, item_id, extra_json) in enumerate(rows, start=before + 1):
                text = url.strip(" ") if url else ""
                if not text or "\ufffd" in text or not (item_id or needs_no_id) or len(extra_json) > LONGEST_LINE_BYTES:
                    yield bad_row(number, extra_json.encode(), _find_problem(text, item_id, extra_json, format))
                else:
                    yield make(number, text, item_id, extra_json)
            before += batch.num_rows


def _find_problem(url: str, item_id: str, extra_json: str, format: ListFormat) -> str:
    """Why a row is no item."""
    if not url:
        return f'the column "{format.url_column}" is empty'
    if "\ufffd" in url:
        return f'the column "{format.url_column}" is not UTF-8'
    if format.id_column and not item_id:
        return f'the column "{format.id_column}" is empty'
    return f"{len(extra_json)} bytes in one row, the limit is {LONGEST_LINE_BYTES}"


@contextmanager
def _open(path: str) -> "Iterator[tuple[pyarrow.Schema, Batches]]":
    """The file's schema, and what reads some of its columns batch by batch."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        refuse(path, INSTALL)
    try:
        if path.lower().endswith(".parquet"):
            with ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
                yield file.schema_arrow, lambda names: file.iter_batches(BATCH_ROWS, columns=_unambiguous(names))
        else:
            with pyarrow.memory_map(path) as mapped:
                reader = _open_ipc(mapped)
                yield reader.schema, lambda names: _slices(reader, names)
    except FileNotFoundError:
        refuse(path, "no such file.")
    except (pyarrow.ArrowException, OSError) as error:
        reason = printable(str(error).splitlines()[0])
        if "decrypt" in reason:
            refuse(path, "is encrypted, and there is no place for its keys: write it again without encryption.")
        refuse(path, f"cannot be read: {reason}")


class _Column(Struct, frozen=True, kw_only=True):
    """A column that is read, and the type of Arrow's that its values are converted to."""

    name: str
    carried: str  # its name from here on
    target: "pyarrow.DataType"

    def of(self, batch: "pyarrow.RecordBatch") -> "pyarrow.Array":
        """Its values in a batch."""
        array = batch.column(self.name)
        return array if array.type == self.target else array.cast(self.target)


class _Table:
    """Which columns of a file are read, and how their values become JSON. For one file."""

    def __init__(self, path: str, schema: "pyarrow.Schema", format: ListFormat, columns: Columns, line: int) -> None:
        for name in schema.names:
            if schema.names.count(name) > 1:
                refuse(path, f'has the column "{name}" more than once.')
        self._columns = columns
        self._encode = make_encoder()
        self._url = _wanted_column(path, schema, format.url_column, "url_column")
        self._id = _wanted_column(path, schema, format.id_column, "id_column") if format.id_column else None
        self._further: list[_Column] = []
        for name, new in format.carry(path, schema.names).items():
            kind = schema.field(name).type
            if (target := _json_type(kind)) is None:
                columns.remark(f'"{printable(name)}" is left out: JSON has no form for {kind}', line + 1)
            else:
                self._further.append(_Column(name=name, carried=new, target=target))
        columns.declare({column.carried: _sample(column.target) for column in self._further})
        read = [self._url, *filter(None, [self._id]), *self._further]
        self.names = list(dict.fromkeys(column.name for column in read))
        names = (self._encode(column.carried).replace("%", "%%") for column in self._further)
        self._form = "{" + ", ".join(f"{name}: %s" for name in names) + "}"

    def urls(self, batch: "pyarrow.RecordBatch", before: int) -> "Iterable[str | None]":
        """The URL of each row; `before` rows stand before this batch."""
        return self._read_texts(self._url.of(batch), before)

    def ids(self, batch: "pyarrow.RecordBatch") -> Iterable[str]:
        """The id of each row; empty where there is none."""
        if self._id is None:
            return repeat("", batch.num_rows)
        return ["" if value is None else str(value) for value in self._read_texts(self._id.of(batch), 0)]

    def further(self, batch: "pyarrow.RecordBatch", before: int) -> Iterable[str]:
        """The JSON of each row's further columns."""
        if not self._further:
            return repeat("", batch.num_rows)
        cells = [self._encode_column(column.of(batch), column.carried, before) for column in self._further]
        return map(self._form.__mod__, zip(*cells, strict=True))

    def _encode_column(self, array: "pyarrow.Array", name: str, before: int) -> Iterable[str]:
        """The values of a column as JSON; the columns learn what its type leaves open."""
        import pyarrow
        from pyarrow import compute, types

        if types.is_string(array.type) or types.is_large_string(array.type):
            texts = self._read_texts(array, before)
            return [NULL if text is None else encode_basestring_ascii(text) for text in texts]
        if types.is_nested(array.type):
            return self._encode_nested(array, name, before)
        if types.is_floating(array.type):
            is_number = compute.is_finite(array)
            for at in compute.indices_nonzero(compute.invert(is_number)).to_pylist():
                self._columns.remark(NO_NUMBER, before + 1 + at)
            array = compute.if_else(is_number, array, None)
        elif types.is_integer(array.type):
            for end in {*compute.min_max(array).as_py().values()} - {None}:
                self._columns.observe({name: end}, before + 1 + compute.index(array, end).as_py())
        return list(array.cast(pyarrow.string()).fill_null(NULL).to_pylist())

    def _encode_nested(self, array: "pyarrow.Array", name: str, before: int) -> Iterator[str]:
        for number, scalar in enumerate(array, start=before + 1):
            try:
                value = scalar.as_py(maps_as_pydicts="lossy")
            except UnicodeDecodeError:
                self._columns.remark(f"{NO_UTF8}, or the nested value null", number)
                value = None
            try:
                text = self._encode(value)
            except ValueError:  # NaN and the infinite
                self._columns.remark(NO_NUMBER, number)
                value = null_numbers(value)
                text = self._encode(value)
            self._columns.observe({name: value}, number)
            yield text

    def _read_texts(self, array: "pyarrow.Array", before: int) -> list[Any]:
        """The values of a column of texts, or of ids."""
        try:
            return list(array.to_pylist())
        except UnicodeDecodeError:
            import pyarrow

            contents = array.cast(pyarrow.binary()).to_pylist()
            return [self._decode_lossy(content, at) for at, content in enumerate(contents, before + 1)]

    def _decode_lossy(self, raw: bytes | None, number: int) -> str | None:
        text = None if raw is None else raw.decode("utf-8", "replace")
        if text is not None and text.encode() != raw:
            self._columns.remark(NO_UTF8, number)
        return text


def _sample(target: "pyarrow.DataType") -> Any:
    """A value of the kind that a column of this type has; None where its values decide."""
    from pyarrow import types

    kinds = ((types.is_boolean, True), (types.is_integer, 0), (types.is_floating, 0.0))
    text = "" if types.is_string(target) or types.is_large_string(target) else None
    return next((value for is_kind, value in kinds if is_kind(target)), text)


def _wanted_column(path: str, schema: "pyarrow.Schema", name: str, setting: str) -> _Column:
    """The column with the URLs or the ids. Raises `UsageError` where it is not there, or holds something else."""
    import pyarrow

    if name not in schema.names:
        near = nearest(name, schema.names)
        hint = f'; did you mean [job] {setting} = "{near}"?' if near else f"; set [job] {setting}."
        refuse(path, f'has no column "{name}"; its columns are {", ".join(schema.names[:20])}{hint}')
    target = _json_type(schema.field(name).type)
    is_id = setting == "id_column" and target is not None and pyarrow.types.is_integer(target)
    if target is None or not (is_id or pyarrow.types.is_string(target) or pyarrow.types.is_large_string(target)):
        refuse(path, f'the column "{name}" holds {schema.field(name).type}, not text; set [job] {setting}.')
    return _Column(name=name, carried=name, target=target)


def _json_type(kind: "pyarrow.DataType") -> "pyarrow.DataType | None":
    """The type whose values are JSON's that this one can be cast to; None where there is no such type."""
    import pyarrow

    target = _text_where_needed(kind)
    if target is not None and target != kind:
        try:
            pyarrow.array([], kind).cast(target)
        except (pyarrow.ArrowException, NotImplementedError):
            return None
    return target


def _text_where_needed(kind: "pyarrow.DataType") -> "pyarrow.DataType | None":
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        return _text_where_needed(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _text_where_needed(kind.value_type)
    if types.is_temporal(kind) or types.is_decimal(kind) or types.is_string_view(kind):
        return pyarrow.string()
    if types.is_float16(kind):
        return pyarrow.float32()
    if types.is_struct(kind):
        fields = {field.name: _text_where_needed(field.type) for field in kind}
        return pyarrow.struct(fields.items()) if all(fields.values()) and len(fields) == kind.num_fields else None
    if types.is_map(kind):
        inner = _text_where_needed(kind.item_type)
        return kind if inner == kind.item_type and types.is_string(kind.key_type) else None
    if types.is_nested(kind):  # a list of some kind, or a union
        inner = _text_where_needed(kind.value_type) if hasattr(kind, "value_type") else None
        return pyarrow.list_(inner) if inner is not None else None
    is_plain = types.is_primitive(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
    return kind if is_plain else None


def _open_ipc(file: "pyarrow.NativeFile") -> "pyarrow.RecordBatchFileReader | pyarrow.RecordBatchStreamReader":
    """A reader of either form of Arrow's files: with an index at the end, as Feather's, or a stream."""
    import pyarrow

    if file.read(6) == b"ARROW1":
        return pyarrow.ipc.open_file(file)
    file.seek(0)
    return pyarrow.ipc.open_stream(file)


def _slices(
    reader: "pyarrow.RecordBatchFileReader | pyarrow.RecordBatchStreamReader", names: Sequence[str]
) -> "Iterator[pyarrow.RecordBatch]":
    batches = map(reader.get_batch, range(reader.num_record_batches)) if hasattr(reader, "get_batch") else iter(reader)
    for batch in batches:
        part = batch.select(names)
        for start in range(0, part.num_rows, BATCH_ROWS):
            yield part.slice(start, BATCH_ROWS)


def _unambiguous(names: Sequence[str]) -> list[str] | None:
    """The names for a reader that takes a dot for a way into a nested column; None, all of them, where that matters."""
    return None if any("." in name for name in names) else list(names)
