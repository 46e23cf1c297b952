#!/usr/bin/env bash
# An imagefolder whose metadata.jsonl has a text column, declared as string in `features`: notes, and later on dates as
# 2024-01-01; read by datasets 5.2.0.
# Expected: a column that is declared as string comes back as the text that it is.
# Seen: each 10 MiB of the file are read by themselves and without the declared types; where all texts of such a part are
# dates they become timestamps, and then "2024-01-01 00:00:00". The same text comes back in two spellings.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pillow==13.0.0
HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" "$folder/venv/bin/python" - "$folder/set" <<'PYTHON'
import json
import sys
from pathlib import Path

from datasets import Features, Image, Value, disable_progress_bars, load_dataset
from PIL import Image as Pictures

folder = Path(sys.argv[1])
folder.mkdir()
Pictures.new("RGB", (4, 3)).save(folder / "one.png")
texts = ["2024-01-01", *["a note"] * 11_000, *["2024-01-01"] * 11_000]
with (folder / "metadata.jsonl").open("w") as file:
    for text in texts:
        file.write(json.dumps({"file_name": "one.png", "text": text, "padding": "x" * 1000}) + "\n")
disable_progress_bars()
features = Features({"image": Image(), "text": Value("string"), "padding": Value("string")})
loaded = load_dataset("imagefolder", data_dir=str(folder), features=features, split="train")
first, last = loaded[0]["text"], loaded[len(texts) - 1]["text"]
print(f"in the file  {texts[0]!r}, {texts[-1]!r}\nloaded       {first!r}, {last!r}")
as_noted = (first, last) == ("2024-01-01", "2024-01-01 00:00:00")
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
