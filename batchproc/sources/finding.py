"""What the names of a job's input mean: lists of URLs, or image files that are the sources themselves.

Decided by how the files are named that are there. Both at once are refused, for nobody could say what was meant.

Of a list at an address there is a local copy, made again when the list there has changed.
"""

import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from posixpath import basename
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, urlsplit

from msgspec import Struct

from batchproc.errors import StoreError, UsageError
from batchproc.lifecycle import result_within
from batchproc.redact import printable, redact_text, redact_url
from batchproc.sniff import is_image_name
from batchproc.sources.arrow import ARROW_SUFFIXES
from batchproc.sources.lines import Entry, ItemMaker, refuse
from batchproc.stores import Bucket
from batchproc.version import VERSION

if TYPE_CHECKING:
    import requests

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


TIMEOUTS_SECONDS = (10.0, 60.0)  # to connect, and of silence; both begin anew with every byte
WHOLE_SECONDS = 3600.0  # for a list to come, its name to be resolved and all
PIECE_BYTES = 1 << 20
VALIDATORS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


def fetch_list(address: str, folder: Path) -> Path:
    """The local copy, in `folder`, of the list at an address, which is asked whether it has changed.

    Raises `UsageError` where it is not there or cannot be read whole; an older copy stays then, and is not used.
    """
    copy = folder / hashlib.sha256(address.encode()).hexdigest()[:16] / basename(urlsplit(address).path)
    fetch = _fetch_from_web if address.startswith(("https://", "http://")) else _fetch_from_bucket
    partial, note = copy.with_name(f"{copy.name}.part"), copy.with_name(f"{copy.name}.version")
    known = _read_note(note) if copy.exists() else {}
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        version = fetch(address, partial, known)
        if version is not None:
            note.unlink(missing_ok=True)  # first: a note that is too old costs a download, one that is too new a list
            partial.replace(copy)
            note.write_text(json.dumps(version))
    except OSError as error:
        refuse(str(folder), f"the copy of a list cannot be written: {error.strerror}.")
    return copy


def _fetch_from_bucket(address: str, path: Path, known: Mapping[str, str]) -> Mapping[str, str] | None:
    """Writes the list to `path` and returns what tells its state; None where it still has the known one."""
    parent, _, name = address.rpartition("/")
    bucket = Bucket(parent)
    try:
        standing = bucket.version(name)
        if standing is not None and known and standing.condition() == known:
            return None
        fetched = bucket.download(name, path) if standing is not None else None
    except StoreError as error:
        raise UsageError(str(error)) from error
    if fetched is None:
        refuse(address, "no such list.")
    return fetched.condition()


def _fetch_from_web(address: str, path: Path, known: Mapping[str, str]) -> Mapping[str, str] | None:
    fetch = _WebFetch(address, path, known)
    try:
        return result_within(WHOLE_SECONDS, fetch.run)  # no socket's time-out covers names, or what trickles
    except TimeoutError:
        _refuse_address(address, f"did not come within {WHOLE_SECONDS:g} s: fetch it otherwise, and name the file.")
    finally:
        fetch.cut_off()


class _WebFetch:
    """One request for a list; `cut_off` ends it from another thread."""

    def __init__(self, address: str, path: Path, known: Mapping[str, str]) -> None:
        self._address = address
        self._path = path
        self._known = {VALIDATORS[name]: value for name, value in known.items() if name in VALIDATORS}
        self._reply: requests.Response | None = None
        self._is_cut_off = False

    def run(self) -> Mapping[str, str] | None:
        """Writes the list to the path, and returns what tells its state; None where it still has the known one."""
        import requests

        headers = {"User-Agent": f"batchproc/{VERSION}", **self._known}
        try:
            with requests.get(self._address, headers=headers, stream=True, timeout=TIMEOUTS_SECONDS) as reply:
                self._reply = reply
                if reply.status_code == requests.codes.not_modified and self._known:
                    return None
                if reply.status_code != requests.codes.ok:
                    _refuse_address(self._address, f"the server answers {reply.status_code} {reply.reason}.")
                self._write(reply)
                return {name: reply.headers[name] for name in VALIDATORS if name in reply.headers}
        except requests.RequestException as error:
            _refuse_address(self._address, f"cannot be fetched: {type(error).__name__}: {_shorten(str(error))}")

    def _write(self, reply: "requests.Response") -> None:
        with self._path.open("wb") as file:
            for piece in reply.iter_content(PIECE_BYTES):
                if self._is_cut_off:
                    return
                file.write(piece)
        wanted = reply.headers.get("Content-Length", "")
        if wanted.isdigit() and not reply.headers.get("Content-Encoding") and int(wanted) != self._path.stat().st_size:
            _refuse_address(self._address, "the list breaks off.")

    def cut_off(self) -> None:
        """Nobody waits for it any more: what is still to come is not asked for."""
        self._is_cut_off = True
        if self._reply is not None:
            with suppress(OSError, ValueError, AttributeError), _socket_of(self._reply) as connection:  # it has ended
                connection.shutdown(socket.SHUT_RDWR)


def _socket_of(reply: "requests.Response") -> socket.socket:
    return socket.socket(fileno=os.dup(reply.raw.fileno()))


def _refuse_address(address: str, message: str) -> NoReturn:
    refuse(printable(redact_url(address)), message)


def _shorten(text: str) -> str:
    return printable(redact_text(text.splitlines()[0] if text else ""))[:200]


def _read_note(path: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError):
        note = json.loads(path.read_text())
        if isinstance(note, dict) and all(isinstance(value, str) for value in note.values()):
            return note
    return {}
