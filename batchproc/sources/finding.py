"""What the names of a job's input mean: lists of URLs, or image files that are the sources themselves.

Decided by how the files are named that are there. Both at once are refused, for nobody could say what was meant.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from batchproc.sniff import is_image_name
from batchproc.sources.arrow import ARROW_SUFFIXES
from batchproc.sources.entries import Entry, ItemMaker
from batchproc.sources.lines import refuse

TABLES = {".csv": ",", ".tsv": "\t"}  # and what stands between their cells


class Found(Struct, frozen=True, kw_only=True):
    """Lists, or image files; one of both is empty."""

    lists: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def find_sources(names: Sequence[str]) -> Found:
    """What these names mean, each file once: of a folder what is in it, of a pattern what matches, both by name.

    Raises `UsageError` for a folder or a pattern without any list or image, and for lists beside images.
    """
    lists, images = [], []
    for name in names:
        files = _files_of(name)
        shown = [path for path in files if is_image_name(path)]
        listed = [path for path in files if is_list_name(path)]
        if not shown and not Path(name).is_dir():
            listed = files  # whatever it is called: reading it says what is wrong
        if shown and listed:
            _refuse_both(name, listed, shown)
        if not shown and not listed:
            _refuse_empty(name)
        lists += listed
        images += shown
    if lists and images:
        _refuse_both(", ".join(names), lists, images)
    return Found(lists=tuple(dict.fromkeys(lists)), images=tuple(dict.fromkeys(images)))


def _files_of(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        return sorted(entry.path for entry in os.scandir(path) if entry.is_file())
    if is_pattern(name):
        return sorted(filter(os.path.isfile, glob.iglob(name, recursive=True)))  # noqa: PTH207 (absolute)
    return [name]


def is_pattern(name: str) -> bool:
    """Whether a name stands for what matches it: one of a file that is there does not."""
    return glob.has_magic(name) and not Path(name).exists()


def _refuse_both(name: str, lists: Sequence[str], images: Sequence[str]) -> None:
    both = f"lists ({Path(lists[0]).name}) and images ({Path(images[0]).name})"
    refuse(name, f'means {both}; name one kind, as input = "photos/*.jpg" or input = "lists/*.csv".')


def _refuse_empty(name: str) -> None:
    if not Path(name).is_dir():
        refuse(name, "no file matches.")
    below = f'; input = "{Path(name).name}/**/*.jpg" takes in the folders below it'
    refuse(name, f"no list and no image is in it{below if any(Path(name).glob('*/')) else ''}.")


def is_list_name(name: str) -> bool:
    """Whether a name says by its ending that it is a list's."""
    return suffix_of(name) in (".txt", ".jsonl", *TABLES, *ARROW_SUFFIXES)


def suffix_of(path: str) -> str:
    """The ending that says how a list is read, in lower case; of a packed one that of what is packed."""
    return "" if path == "-" else Path(path.removesuffix(".gz")).suffix.lower()


def may_mean_images(name: str) -> bool:
    """Whether image files could be meant; of a list in their place none is read that the list does not allow."""
    return Path(name).is_dir() or is_pattern(name) or is_image_name(name)


def folder_of(name: str) -> str:
    """The folder with all the files that a name of the input means."""
    path = Path(name)
    if path.is_dir():
        return name
    while is_pattern(str(path)):
        path = path.parent
    return str(path if path.is_dir() else path.parent)


def file_url(folder: Path) -> str:
    """The URL of a folder, with a slash at its end."""
    return f"file://{quote(os.fsencode(folder)).rstrip('/')}/"


def list_images(paths: Sequence[str], root: Path) -> Iterator[Entry]:
    """The entries of image files. One below `root` is known by its path from there: both can be moved together."""
    maker, above = ItemMaker(file_url(root), local=True), os.fsencode(root).rstrip(b"/") + b"/"
    for number, path in enumerate(paths, start=1):
        yield maker.make(number, quote(os.fsencode(path).removeprefix(above)))
