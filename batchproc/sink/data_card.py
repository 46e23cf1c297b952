"""`README.md` of an output folder: its head says which files are the data set, so that loaders take no others.

Hugging Face `datasets` counts the endings of all files of a folder to find out what is in it, and after a few runs the
logs outnumber the images. It reads the configuration in the YAML head of this file first
(https://huggingface.co/docs/datasets/repository_structure). A README.md that is not exactly as we wrote it is the
user's own and stays.

The small pictures that it shows are files beside it, copies of those that runs make of some of their images.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct, field

from batchproc.columns import Scalar, Type
from batchproc.errors import file_errors
from batchproc.kinds import kind_of
from batchproc.sink.atomic import renewing, replacing
from batchproc.sink.shard_samples import Column

# The loader reads 10 MiB of metadata.jsonl, and takes the types that it sees there for those of the whole column: one
# that is null so far would stay null. From a little less on, the card has the types.
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
LICENCE_NAMES = frozenset({"license", "licence", "licenses", "licences", "rights"})
Feature: TypeAlias = "dict[str, object]"
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # YAML takes them as escapes only


class DataFiles(Struct, frozen=True, kw_only=True):
    """Which files are the data set, and what one sample of it is. No types: loaders are to find them out."""

    patterns: tuple[str, ...]  # of all images; with splits, beside the rows of each
    content: str  # a sentence
    features: Callable[[Sequence[Column]], list[Feature]] | None
    place: str = "  features"  # of the features in the head: imagefolder takes them as a setting, others as facts
    splits: Mapping[str, str] = field(default_factory=dict)  # the file with the rows of each; without any, all is train


def files_of_images(metadata_path: Path, splits: Mapping[str, str]) -> DataFiles:
    """A file for each image, and a manifest; `splits` has the names of those of the splits."""
    is_large = metadata_path.is_file() and metadata_path.stat().st_size > INFERRED_BYTES
    return DataFiles(
        patterns=("metadata.jsonl", "images/**"),
        content="Images, and a row for each in `metadata.jsonl`,",
        features=_row_features if is_large else None,
        splits=splits,
    )


def tar_shards(field_name: str, *, has_caption: bool) -> DataFiles:
    """Tar shards; `field_name` is how the names of their images end, empty where that differs from image to image.

    A loader takes the types of the first five samples for those of all.
    """

    def features(columns: Sequence[Column]) -> list[Feature]:
        row = [_feature(column.name, column.type) for column in columns]
        texts = ("txt", "__key__", "__url__") if has_caption else ("__key__", "__url__")
        known: list[Feature] = [{"name": field_name, "dtype": "image"}, {"name": "json", "struct": row}]
        return known + [{"name": name, "dtype": "string"} for name in texts]

    return DataFiles(
        patterns=("shards/*.tar",),
        content="Images with their rows in tar shards, which `manifest.json` names,",
        features=features if field_name else None,
        place="dataset_info:\n  features",
    )


def parquet_shards() -> DataFiles:
    """Parquet shards, which know their types."""
    return DataFiles(
        patterns=("shards/*.parquet",),
        content="Images with their rows in Parquet shards, which `manifest.json` names,",
        features=None,
    )


class Contents(Struct, frozen=True, kw_only=True):
    """What there is to say of the images of a job, the most frequent first where there are many."""

    images: int
    size_bytes: int
    shards: int = 0
    left: Mapping[str, int] = field(default_factory=dict)  # items without an image, by code
    licences: Sequence[tuple[str, int]] = ()
    licence_column: str = ""
    hosts: Sequence[tuple[str, int]] = ()  # images by host; those of further hosts are the rest
    hosts_total: int = 0
    sides: Sequence[tuple[str, int]] = ()  # images by longer side
    settings: str = ""  # what decides how an image looks, as TOML
    pictures: Sequence[str] = ()  # paths beside the card


def licence_column(columns: Iterable[str]) -> str:
    """The list's column that says under which licence an image stands; empty where none is called so."""
    return next((column for column in columns if column.lower() in LICENCE_NAMES), "")


def write_data_card(path: Path, columns: Sequence[Column], files: DataFiles, contents: Contents) -> bool:
    """Writes the file, unless one of the user's own is there; returns whether loaders find the data set by it.

    Raises `DiskError`.
    """
    with file_errors(path):
        if not is_ours(path):
            return _names_data_set(path, files.patterns[0])
        card = _sign(_describe(path.parent.name, columns, files, contents))
        with renewing(path) as renewal:
            renewal.write(card.encode())
    return True


def is_ours(path: Path) -> bool:
    """Whether the file is as we wrote it, or not there at all."""
    if path.is_symlink() or not path.is_file():
        return not (path.is_symlink() or path.exists())
    text = path.read_bytes().decode("utf-8", "replace")
    head = OURS.match(text)
    return head is not None and head[1] == _hash(text[head.end() :])


def _names_data_set(path: Path, pattern: str) -> bool:
    """Whether the YAML head of a file of the user's own names what loaders have to read among its data files."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        text = file.read(_MOST_HEAD_BYTES)
    return text.startswith(b"---") and pattern.encode() in text[3:].partition(b"\n---")[0]


def _sign(rest: str) -> str:
    return f"---\n# batchproc {_hash(rest)}: written anew by each run, until somebody edits it\n{rest}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _describe(title: str, columns: Sequence[Column], files: DataFiles, contents: Contents) -> str:
    types = f"{files.place}: {_yaml(files.features(columns))}\n" if files.features else ""
    splits = {name: (rows, *files.patterns[1:]) for name, rows in files.splits.items()} or {"train": files.patterns}
    named = f"  metadata_filenames: {_yaml(list(files.splits.values()))}\n" if files.splits else ""
    renamed = [column for column in columns if column.own not in (None, column.name)]
    lines = [f"| {_cell(column.own or '')} | {_cell(column.name)} |\n" for column in renamed]
    table = "\nColumns of the list under another name here:\n\n| in the list | here |\n|---|---|\n" if renamed else ""
    return (
        f"pretty_name: {_yaml(title)}\nsize_categories:\n- {_size_category(contents.images)}\n"
        "configs:\n- config_name: default\n  data_files:\n"
        f"{''.join(map(_split, splits, splits.values()))}{named}{types}---\n\n# {title}\n\n{files.content} made by "
        '`batchproc`. `datasets.load_dataset("path/of/this/folder")` loads them together.\n'
        f"\n{_figures(contents)}{table}{''.join(lines)}{_how_made(contents)}"
    )


def _split(name: str, patterns: Iterable[str]) -> str:
    return f"  - split: {name}\n    path:\n" + "".join(f"    - {pattern}\n" for pattern in patterns)


def _size_category(images: int) -> str:
    """The Hub's word for how many there are."""
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B")
    power = max(3, len(str(images)))
    if power == 3:
        return "n<1K"
    return f"{bounds[power - 4]}<n<{bounds[power - 3]}" if power - 3 < len(bounds) else f"n>{bounds[-1]}"


def _figures(contents: Contents) -> str:
    """The figures, as Markdown."""
    shards = f" in {contents.shards:,} shard{'s' * (contents.shards != 1)}" if contents.shards else ""
    text = f"{contents.images:,} images{shards}, {contents.size_bytes / 1e6:,.1f} MB.\n"
    if contents.pictures:
        text += "\n" + " ".join(f"![]({path})" for path in contents.pictures) + "\n"
    if contents.left:
        rows = (f"`{code}` | {number:,} | {kind_of(code).meaning}" for code, number in contents.left.items())
        text += _table("Items of the list without an image, by reason:", "reason | items | meaning", rows)
    if contents.sides:
        rows = (f"{name} | {number:,}" for name, number in contents.sides if number)
        text += _table("Images by their longer side:", "px | images", (row.replace(" px", "") for row in rows))
    if contents.hosts:
        sources = [f"{_cell(name) if name else 'files'} | {number:,}" for name, number in contents.hosts]
        if rest := contents.images - sum(number for _, number in contents.hosts):
            sources.append(f"{contents.hosts_total - len(contents.hosts):,} others | {rest:,}")
        text += _table(f"Sources, {contents.hosts_total:,} in all:", "host | images", sources)
    if contents.licences:
        title = f"Licences, as the list's column {_cell(contents.licence_column)} tells them:"
        rows = (f"{_cell(name) if name else 'none'} | {number:,}" for name, number in contents.licences)
        text += _table(title, "licence | images", rows)
    return text


def _table(title: str, head: str, rows: Iterable[str]) -> str:
    line = "|---" * (head.count("|") + 1)
    return f"\n{title}\n\n| {head} |\n{line}|\n" + "".join(f"| {row} |\n" for row in rows)


def _how_made(contents: Contents) -> str:
    """The settings, as Markdown."""
    title = "The settings that the images were made with:"
    return f"\n{title}\n\n```toml\n{contents.settings}```\n" if contents.settings else ""


def _row_features(columns: Sequence[Column]) -> list[Feature]:
    """The loader puts the image in the place of its file's name."""
    return [
        {"name": "image", "dtype": "image"} if column.name == "file_name" else _feature(column.name, column.type)
        for column in columns
    ]


def _feature(name: str, known: Type) -> Feature:
    return {"name": name, **_dtype(known)}


def _dtype(known: Type) -> Feature:
    if isinstance(known, dict):
        return {"struct": [_feature(name, entry) for name, entry in known.items()]}
    if isinstance(known, list):
        element = _dtype(known[0])
        return {"list": element.get("dtype", element.get("struct", element))}
    return {"dtype": DTYPES[known]}


def _yaml(value: object) -> str:
    """A value as YAML: JSON is, but for characters that YAML calls unprintable."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _cell(text: str) -> str:
    return f"`{' '.join(text.split())}`".replace("|", "\\|")


PICTURES = "thumbnails"
MOST_PICTURES = 8
PICTURE_NAME = re.compile(r"(?a:([0-9a-f]{32})\.jpg)")
MADE_BY_RUN = re.compile(r"(?a:([0-9a-f]{32})-after\.jpg)")


def keep_pictures(output: Path, gallery: Path, made: Callable[[Iterable[str]], set[str]]) -> list[str]:
    """Brings the pictures up to what there is; returns their paths below `output`. Raises `DiskError`.

    `gallery`: those of the run that ends; `made`: which of these keys have an image. A picture stays until its image
    goes, so that the card does not change with each run.
    """
    folder = output / PICTURES
    with file_errors(folder):
        there, fresh = _picture_keys(folder, PICTURE_NAME), _picture_keys(gallery, MADE_BY_RUN)
        known = made({*there, *fresh})
        chosen = sorted({*there} & known)[:MOST_PICTURES]
        chosen = sorted(chosen + sorted({*fresh} & known - {*chosen})[: MOST_PICTURES - len(chosen)])
        for key in chosen:
            if key in fresh:
                _copy_picture(fresh[key], folder / f"{key}.jpg")
        for key in {*there} - {*chosen}:
            there[key].unlink(missing_ok=True)
    return [f"{PICTURES}/{key}.jpg" for key in chosen]


def _picture_keys(folder: Path, name: re.Pattern[str]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = ((name.fullmatch(path.name), path) for path in folder.iterdir() if path.is_file())
    return {match[1]: path for match, path in found if match}


def _copy_picture(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(exist_ok=True)
        with replacing(target) as file:
            file.write(content)


def named_in(card: bytes) -> set[str]:
    """The pictures that a card of ours shows."""
    return {match.decode() for match in re.findall(rb"%s/[0-9a-f]{32}\.jpg" % PICTURES.encode(), card)}
