#!/usr/bin/env bash
# Parquet as pyarrow 26.0.1 writes it with data_page_version="2.0": rows of images with a flag that is sometimes null, and
# with a list of tags; read by fastparquet 2026.9.0, polars and DuckDB.
# Expected: the rows, as polars and DuckDB read them, and fastparquet too from pages of version 1.0: a data page v2 may hold
# nulls and lists of any type (parquet.thrift, DataPageHeaderV2).
# Seen: the flags are not readable, ValueError: they are written over all rows, not over those that are not null. Nor are the
# tags, UnboundLocalError: levels are looked for that were never read. Flags without nulls, and lists of numbers, are right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1 \
    polars==2.1.0 duckdb==2.0.1
"$folder/venv/bin/python" - "$folder/rows.parquet" <<'PYTHON'
import sys

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.parquet
from fastparquet import ParquetFile

path = sys.argv[1]
COLUMNS = {
    "flags": [True, False, True],
    "flags or null": [True, None, False, True],
    "numbers": [[1, 2], [], None, [3]],
    "tags": [["cat"], ["dog", "red"]],
}
errors = {"flags or null": "ValueError", "tags": "UnboundLocalError"}


def by_fastparquet() -> object:
    try:
        values = ParquetFile(path).to_pandas()["value"].to_list()
    except (ValueError, UnboundLocalError) as error:
        return type(error).__name__
    return [None if value is pandas.NA else value for value in values]


as_noted = True
for version in ("1.0", "2.0"):
    for name, values in COLUMNS.items():
        pyarrow.parquet.write_table(pyarrow.table({"value": values}), path, data_page_version=version)
        others = [
            polars.read_parquet(path)["value"].to_list(),
            [row for (row,) in duckdb.sql(f"SELECT value FROM '{path}'").fetchall()],
        ]
        seen = by_fastparquet()
        print(f"pages {version}, {name}: polars and DuckDB {others[0]}, fastparquet {seen}")
        as_noted &= others == [values, values]
        as_noted &= seen == (errors.get(name, values) if version == "2.0" else values)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
