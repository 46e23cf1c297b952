#!/usr/bin/env bash
# obstore 0.12.1: what head() returns cannot be given back to put() for a conditional write.
#
# Expected: UpdateVersion is declared with `e_tag: str | None` and `version: str | None`, and the documentation asks
#           programs to keep both; so put(..., mode={"e_tag": meta["e_tag"], "version": meta["version"]}) with the values of
#           head() writes where the object is unchanged.
# Seen:     stores without versions give version None, and put() then raises TypeError ('None' is not an instance of 'str');
#           the key has to be left out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q obstore==0.12.1 2> /dev/null
"$folder/venv/bin/python" - << 'PY'
import sys

import obstore
from obstore.store import MemoryStore

store = MemoryStore()
obstore.put(store, "a", b"1")
meta = obstore.head(store, "a")
print("head:", {"e_tag": meta["e_tag"], "version": meta["version"]})
try:
    obstore.put(store, "a", b"2", mode={"e_tag": meta["e_tag"], "version": meta["version"]})
    seen = "written"
except TypeError as error:
    seen = f"TypeError: {error}"
obstore.put(store, "a", b"2", mode={"e_tag": meta["e_tag"]})
print("with both keys:", seen)
print("without the key version: written,", bytes(obstore.get(store, "a").bytes()))
sys.exit(0 if meta["version"] is None and seen.startswith("TypeError") else "the behaviour has changed")
PY
