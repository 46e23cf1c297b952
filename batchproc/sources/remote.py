"""Lists at an address: a local copy of each, made again when the list there has changed."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from posixpath import basename
from typing import NoReturn
from urllib.parse import urlsplit

from batchproc.errors import StoreError, UsageError
from batchproc.redact import printable, redact_text, redact_url
from batchproc.sources.lines import refuse
from batchproc.stores import Bucket
from batchproc.version import VERSION

TIMEOUTS_SECONDS = (10.0, 60.0)  # to connect, and between two pieces
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
    import requests

    asked = {VALIDATORS[name]: value for name, value in known.items() if name in VALIDATORS}
    headers = {"User-Agent": f"batchproc/{VERSION}", **asked}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUTS_SECONDS) as reply:
            if reply.status_code == requests.codes.not_modified and asked:
                return None
            if reply.status_code != requests.codes.ok:
                _refuse(address, f"the server answers {reply.status_code} {reply.reason}.")
            with path.open("wb") as file:
                for piece in reply.iter_content(PIECE_BYTES):
                    file.write(piece)
            wanted = reply.headers.get("Content-Length", "")
            if wanted.isdigit() and not reply.headers.get("Content-Encoding") and int(wanted) != path.stat().st_size:
                _refuse(address, "the list breaks off.")
            return {name: reply.headers[name] for name in VALIDATORS if name in reply.headers}
    except requests.RequestException as error:
        _refuse(address, f"cannot be fetched: {type(error).__name__}: {_shorten(str(error))}")


def _refuse(address: str, message: str) -> NoReturn:
    refuse(printable(redact_url(address)), message)


def _shorten(text: str) -> str:
    return printable(redact_text(text.splitlines()[0] if text else ""))[:200]


def _read_note(path: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError):
        note = json.loads(path.read_text())
        if isinstance(note, dict) and all(isinstance(value, str) for value in note.values()):
            return note
    return {}
