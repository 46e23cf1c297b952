"""Object stores (S3, Google Cloud, Azure) and web servers, as far as lists and shards need them, by `obstore`.

Nothing here is imported or made before a fork or in a worker: a client that a child inherits does not answer there.
Thread-safe. Objects are found by name, never by listing. Errors come out as `StoreError`, without secrets.
"""

import configparser
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from batchproc.errors import Problem, StoreError, UsageError
from batchproc.redact import printable, redact_text

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

T = TypeVar("T")

INSTALL = "pip install 'batchproc[cloud]'"
TRIES = 8
FIRST_PAUSE_SECONDS = 0.5  # doubled each time, with full jitter: two minutes in all at most
LONGEST_PAUSE_SECONDS = 30.0
REQUEST_SECONDS = 60.0  # of one request, its body included
PART_BYTES = 8 << 20  # of a request that sends or reads a part of an object


class Version(Struct, frozen=True, kw_only=True):
    """What a store says of one state of an object, to change it only if it still has that state."""

    etag: str | None
    version: str | None

    def condition(self) -> dict[str, str]:
        """The same as obstore takes it: without what is None."""
        parts = {"e_tag": self.etag, "version": self.version}
        return {name: value for name, value in parts.items() if value is not None}


class Bucket:
    """The objects below an address. Retries what may pass, with back-off; every wait has a bound."""

    def __init__(self, address: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.address = address.rstrip("/")
        self._pause = pause
        self._store = _open_store(self.address)

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """An object and its version; None where there is none."""
        import obstore

        def get() -> tuple[bytes, Version]:
            result = obstore.get(self._store, name)
            return bytes(result.bytes()), _version_of(result.meta)

        return self._ask(name, "read", get)

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """A range of an object's bytes. Raises `StoreError`, also where there is no such object."""
        import obstore

        found = self._ask(
            name, "read", lambda: bytes(obstore.get_range(self._store, name, start=offset, length=size_bytes))
        )
        if found is None:
            raise StoreError(f"{self._place(name)}: is not there.")
        return found

    def download(self, name: str, path: Path) -> Version | None:
        """Writes an object to a new file, piece by piece; returns its version, None where there is none."""
        found = self._look(name)
        if found is None:
            return None
        version, size_bytes = found
        with path.open("wb") as file:
            for piece in self._pieces(name, version, size_bytes):
                file.write(piece)
        return version

    def digest(self, name: str, size_bytes: int) -> bytes | None:
        """The SHA-256 of an object, read piece by piece; None where there is none of this size."""
        found = self._look(name)
        if found is None or found[1] != size_bytes:
            return None
        digest = hashlib.sha256()
        for piece in self._pieces(name, *found):
            digest.update(piece)
        return digest.digest()

    def _pieces(self, name: str, version: Version, size_bytes: int) -> Iterator[bytes]:
        """An object, in requests that each end in time on a slow line. Raises `StoreError` where it has changed."""
        import obstore

        def get(start: int, end: int) -> bytes:
            options: Any = {"range": (start, end), **({"if_match": version.etag} if version.etag else {})}
            return bytes(obstore.get(self._store, name, options=options).bytes())

        for start in range(0, size_bytes, PART_BYTES):
            end = min(start + PART_BYTES, size_bytes)
            piece = None
            with suppress(_ConditionError):
                piece = self._ask(name, "read", partial(get, start, end))
            if piece is None or len(piece) != end - start:
                raise StoreError(f"{self._place(name)}: changed while it was read.")
            yield piece

    def write(self, name: str, source: bytes | Path) -> None:
        """Writes an object, whether it is there or not: for names that stand for their content."""
        import obstore

        if self._ask(name, "written", lambda: obstore.put(self._store, name, source, chunk_size=PART_BYTES)) is None:
            raise StoreError(f"{self._place(name)}: the bucket is not there.")

    def replace(self, name: str, content: bytes, known: Version | None) -> bool:
        """Writes an object if it still has the known version, or, for None, if there is none. Returns whether it did.

        An answer that was lost, and the store's own repetition of a request that had been done, look like a refusal:
        what stands there then decides.
        """
        import obstore

        mode: Any = "create" if known is None else known.condition()
        with suppress(_ConditionError):
            written = self._ask(
                name, "written", lambda: obstore.put(self._store, name, content, mode=mode, use_multipart=False)
            )
            if written is None:
                raise StoreError(f"{self._place(name)}: the bucket is not there.")
            return True
        standing = self.read(name)
        return standing is not None and standing[0] == content

    def delete(self, name: str) -> None:
        """Removes an object, if it is there."""
        import obstore

        self._ask(name, "removed", lambda: obstore.delete(self._store, name) or True)

    def version(self, name: str) -> Version | None:
        """The state of an object; None where there is none."""
        found = self._look(name)
        return found and found[0]

    def _look(self, name: str) -> tuple[Version, int] | None:
        """The state of an object and its size; None where there is none."""
        import obstore

        meta = self._ask(name, "read", lambda: obstore.head(self._store, name))
        return (_version_of(meta), meta["size"]) if meta else None

    def _ask(self, name: str, done: str, ask: Callable[[], T]) -> T | None:
        """What comes of a request; None for an object that is not there. Raises `StoreError`, and
        `_ConditionError` where something else stands there than a condition asks for."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        for pause in (*_pauses(), None):
            try:
                return ask()
            except FileNotFoundError:
                return None
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise StoreError(f"{self._place(name)}: may not be {done}; are the credentials there?") from error
            except BaseError as error:
                if _STATUS_412.search(str(error)):
                    raise _ConditionError from error
                if pause is None or not _may_pass(error):
                    raise StoreError(f"{self._place(name)}: cannot be {done}: {_why(error)}") from error
                self._pause(pause)
        return None

    def _place(self, name: str) -> str:
        return f"{self.address}/{name}"


def _open_store(address: str) -> "ObjectStore":
    """The client of an address. Raises `UsageError` where obstore is missing, or refuses what the environment says."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        message = f"is reached by obstore, which is not installed: {INSTALL}."
        raise UsageError([Problem(where=address, message=message)]) from None
    config: Any = _aws_credentials(os.environ) if address.startswith("s3://") else {}
    try:
        return from_url(
            address,
            config=config or None,
            client_options={"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": True},
            retry_config={"max_retries": 0},  # its own repetitions hide what came of the first request
        )
    except (BaseError, ValueError) as error:
        raise UsageError([Problem(where=address, message=f"cannot be reached: {_why(error)}")]) from error


def _aws_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Keys and region of the profile in the files of AWS, where the environment has no keys; obstore reads no files."""
    if "AWS_ACCESS_KEY_ID" in environ or "AWS_WEB_IDENTITY_TOKEN_FILE" in environ:
        return {}
    profile, home = environ.get("AWS_PROFILE", "default"), environ.get("HOME", "")
    files = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error, OSError, UnicodeDecodeError):
        files.read(
            [
                environ.get("AWS_CONFIG_FILE", f"{home}/.aws/config"),
                environ.get("AWS_SHARED_CREDENTIALS_FILE", f"{home}/.aws/credentials"),
            ]
        )
    found: dict[str, str] = {}
    for section in (f"profile {profile}", profile):
        if files.has_section(section):
            found |= files[section]
    wanted = {
        "access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key",
        "token": "aws_session_token", "region": "region", "endpoint": "endpoint_url",
    }  # fmt: skip
    return {ours: found[theirs] for ours, theirs in wanted.items() if theirs in found}


def _version_of(meta: "ObjectMeta") -> Version:
    return Version(etag=meta["e_tag"], version=meta["version"])


_STATUS = re.compile(r"status code: (\d{3})")
_STATUS_412 = re.compile(r"status code: 412")


def _may_pass(error: Exception) -> bool:
    """Whether the same request may do better later: connection lost, overload, a conflict of two writers."""
    status = _STATUS.search(str(error))
    return status is None or int(status[1]) >= 500 or status[1] in ("408", "409", "425", "429")


def _why(error: Exception) -> str:
    """The first line of what obstore says, without what may be secret in its addresses."""
    return printable(redact_text(str(error).splitlines()[0]))[:300]


class _ConditionError(Exception):
    """A conditional write was refused, or looks so: see `Bucket.replace`."""


def _pauses() -> Iterator[float]:
    for number in range(TRIES - 1):
        yield random.uniform(0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number))
