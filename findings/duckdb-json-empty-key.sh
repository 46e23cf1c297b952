#!/usr/bin/env bash
# JSON Lines in which one key of each object is the empty text, which JSON allows (RFC 8259, section 4), as the unnamed
# index column of a table becomes; read by DuckDB 2.0.1.
# Expected: a column for each key, the one without a name under some name, as pyarrow and polars read it.
# Seen: all columns vanish into a single one, "json", that holds the objects; no error, and no warning.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder/rows.jsonl" <<'PYTHON'
import json
import sys

import duckdb
import polars
import pyarrow.json

path = sys.argv[1]
with open(path, "w") as file:
    for number in range(3):
        file.write(json.dumps({"url": "a", "": str(number), "caption": "b"}) + "\n")
names = ["url", "", "caption"]
by_duckdb = duckdb.sql(f"SELECT * FROM read_json('{path}')").columns
print(f"keys    {names}\npyarrow {pyarrow.json.read_json(path).column_names}\npolars  {polars.read_ndjson(path).columns}")
print(f"DuckDB  {by_duckdb}")
as_noted = by_duckdb == ["json"] and polars.read_ndjson(path).columns == names
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
