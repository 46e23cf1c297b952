#!/usr/bin/env bash
# A Parquet file of images as pyarrow 26.0.1 writes it with compression="lz4": a struct of bytes and path, whose path is null
# in every row, as where pictures are embedded; read by hyparquet 1.33.0 with hyparquet-compressors 1.1.2 (npm).
# Expected: the rows, as polars and DuckDB read them, and hyparquet too with other compressions. The dictionary of a column of
# nulls has no entries; compressed, no bytes are one byte 0 (LZ4 block format: a last sequence of literals alone, here none).
# Seen: "lz4 offset out of range 0": a last sequence without literals is not known for the last. The file cannot be read.
# Needs node and npm. Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --save-exact hyparquet@1.33.0 hyparquet-compressors@1.1.2
venv/bin/python - <<'PYTHON'
import duckdb
import polars
import pyarrow
import pyarrow.parquet

images = [{"bytes": f"picture {number}".encode(), "path": None} for number in range(3)]
kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
table = pyarrow.table({"image": pyarrow.array(images, kind)})
print("no bytes as a block of LZ4:", pyarrow.compress(b"", codec="lz4_raw", asbytes=True))
for compression in ("lz4", "snappy", "zstd"):
    path = f"{compression}.parquet"
    pyarrow.parquet.write_table(table, path, compression=compression)
    assert polars.read_parquet(path)["image"].to_list() == images
    assert [row for (row,) in duckdb.sql(f"SELECT image FROM '{path}'").fetchall()] == images
print("polars and DuckDB read all three")
PYTHON
cat > read.js <<'JAVASCRIPT'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const seen = {}
for (const compression of ['lz4', 'snappy', 'zstd']) {
  const file = await asyncBufferFromFile(`${compression}.parquet`)
  try {
    const rows = await parquetReadObjects({ file, compressors, utf8: false })
    seen[compression] = rows.map(({ image }) => [new TextDecoder().decode(image.bytes), image.path])
  } catch (error) {
    seen[compression] = error.message
  }
  console.log(`hyparquet, ${compression}: ${JSON.stringify(seen[compression])}`)
}
const right = JSON.stringify([0, 1, 2].map((number) => [`picture ${number}`, null]))
const asNoted =
  seen.lz4 === 'lz4 offset out of range 0' && JSON.stringify(seen.snappy) === right && JSON.stringify(seen.zstd) === right
console.log(asNoted ? 'as noted' : 'changed')
process.exit(asNoted ? 0 : 1)
JAVASCRIPT
node read.js
