#!/usr/bin/env bash
# An imagefolder with the splits train and test, a metadata.jsonl in each, and a column that is text in one of them and
# null in all rows of the other; its types are declared in `features`; read by datasets 5.2.0.
# Expected: both splits load, since null is a value of every declared type.
# Seen: ValueError, "have different features": the types that are guessed from each file's first rows are compared, and
# what was declared is not asked. The same rows in one split load.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pillow==13.0.0
HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" "$folder/venv/bin/python" - "$folder/sets" <<'PYTHON'
import json
import sys
from pathlib import Path

from datasets import Features, Image, Value, disable_progress_bars, load_dataset
from PIL import Image as Pictures


def make(place: Path, notes: list[str | None]) -> None:
    place.mkdir(parents=True)
    rows = [{"file_name": f"{number}.png", "note": note} for number, note in enumerate(notes)]
    for row in rows:
        Pictures.new("RGB", (4, 3)).save(place / row["file_name"])
    (place / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def load(name: str) -> str:
    features = Features({"image": Image(), "note": Value("string")})
    try:
        loaded = load_dataset("imagefolder", data_dir=str(folder / name), features=features)
    except ValueError as error:
        return f"ValueError: ... {'have different features' if 'have different features' in str(error) else error}"
    return str({split: loaded[split]["note"][:] for split in loaded})


folder = Path(sys.argv[1])
make(folder / "two/train", ["a", "b"])
make(folder / "two/test", [None])
make(folder / "one/train", ["a", "b", None])
disable_progress_bars()
two, one = load("two"), load("one")
print(f"two splits   {two}\none split    {one}")
as_noted = "have different features" in two and one == "{'train': ['a', 'b', None]}"
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
