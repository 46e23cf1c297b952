"""`README.md` of an output folder: its head says which files are the data set, so that loaders take no others.

Hugging Face `datasets` counts the endings of all files of a folder to find out what is in it, and after a few runs the
logs outnumber the images. It reads the configuration in the YAML head of this file first
(https://huggingface.co/docs/datasets/repository_structure). A README.md that is not exactly as we wrote it is the
user's own and stays.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchproc.columns import Scalar, Type
from batchproc.errors import DiskError
from batchproc.sink.atomic import renewing

# The loader reads 10 MiB of metadata.jsonl, and takes the types that it sees there for those of the whole column: one
# that is null so far would stay null. From a little less on, it is told the types.
INFERRED_BYTES = 8 << 20
_MOST_HEAD_BYTES = 1 << 16  # of a file of the user's own
OURS = re.compile(r"---\n# batchproc ([0-9a-f]{32}): [^\n]*\n")
DTYPES: Mapping[str, str] = {
    Scalar.NULL: "null",
    Scalar.BOOL: "bool",
    Scalar.INT: "int64",
    Scalar.LONG: "int64",
    Scalar.FLOAT: "float64",
    Scalar.TEXT: "string",
}
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # YAML takes them as escapes only


@dataclass(frozen=True, slots=True, kw_only=True)
class CardColumn:
    """A column of `metadata.jsonl`; `own` is its name in the list, None for a fact of ours."""

    name: str
    type: Type
    own: str | None = None


def write_data_card(path: Path, metadata_path: Path, columns: Sequence[CardColumn]) -> bool:
    """Writes the file, unless one of the user's own is there; returns whether loaders find the data set by it.

    Raises `DiskError`.
    """
    try:
        if not _is_ours(path):
            return _names_data_set(path)
        is_large = metadata_path.stat().st_size > INFERRED_BYTES
        card = _sign(_describe(path.parent.name, columns, is_large=is_large))
        with renewing(path) as renewal:
            renewal.write(card.encode())
        return True
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}. The next run writes it.") from error


def _is_ours(path: Path) -> bool:
    """Whether the file is as we wrote it, or not there at all."""
    if path.is_symlink() or not path.is_file():
        return not (path.is_symlink() or path.exists())
    text = path.read_bytes().decode("utf-8", "replace")
    head = OURS.match(text)
    return head is not None and head[1] == _hash(text[head.end() :])


def _names_data_set(path: Path) -> bool:
    """Whether the YAML head of a file of the user's own names the manifest among its data files."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        text = file.read(_MOST_HEAD_BYTES)
    return text.startswith(b"---") and b"metadata.jsonl" in text[3:].partition(b"\n---")[0]


def _sign(rest: str) -> str:
    return f"---\n# batchproc {_hash(rest)}: written anew by each run, until somebody edits it\n{rest}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _describe(title: str, columns: Sequence[CardColumn], *, is_large: bool) -> str:
    features = [_feature(column) for column in columns]
    types = f"  features: {_yaml(features)}\n" if is_large else ""
    renamed = [column for column in columns if column.own not in (None, column.name)]
    lines = [f"| {_cell(column.own or '')} | {_cell(column.name)} |\n" for column in renamed]
    table = "\nColumns of the list under another name here:\n\n| in the list | here |\n|---|---|\n" if renamed else ""
    return (
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path:\n    - metadata.jsonl\n"
        f"    - images/**\n{types}---\n\n# {title}\n\nImages, and a row for each in `metadata.jsonl`, made by "
        '`batchproc`. `datasets.load_dataset("path/of/this/folder")` loads them together.\n'
        f"{table}{''.join(lines)}"
    )


def _feature(column: CardColumn) -> dict[str, Any]:
    if column.name == "file_name":  # the loader puts the picture in its place
        return {"name": "image", "dtype": "image"}
    return {"name": column.name, **_dtype(column.type)}


def _dtype(known: Type) -> dict[str, Any]:
    if isinstance(known, dict):
        return {"struct": [{"name": name, **_dtype(entry)} for name, entry in known.items()]}
    if isinstance(known, list):
        element = _dtype(known[0])
        return {"list": element.get("dtype", element.get("struct", element))}
    return {"dtype": DTYPES[known]}


def _yaml(value: object) -> str:
    """A value as YAML: JSON is, but for characters that YAML calls unprintable."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _cell(text: str) -> str:
    return f"`{' '.join(text.split())}`".replace("|", "\\|")
